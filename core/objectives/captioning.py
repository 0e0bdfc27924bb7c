"""Captioning: predict each next word from the image and the previous words; optionally distil a teacher's predictions.

Legend: B batch, T tokens of the longest caption, N words to predict (of all captions).
"""

from __future__ import annotations

import math
from typing import Literal, Self

import torch
from torch import Tensor, nn

from core.data.batch import Batch
from core.model.errors import ModelError
from core.model.heads import WordHead
from core.model.network import Network
from core.model.outputs import Output
from core.model.towers.image import ImageFeatures
from core.model.towers.text import TextFeatures
from core.objectives.objective import Objective, Report, require, require_head, require_same_length
from core.objectives.parts.vocabulary import word_cross_entropy, word_kl
from core.objectives.parts.words import WordLogits, next_word_positions
from core.objectives.weighting.self_confidence import weighted_mean
from core.ranks.collectives import overall_mean
from core.spec.config import CaptioningConfig, DistillCaptionsConfig, ObjectiveConfig, ObjectivesConfig

Through = Literal["decoder", "fusion"]


def next_words(
    network: Network, tokens: Tensor, image: ImageFeatures, text: TextFeatures, through: Through = "decoder"
) -> WordLogits:
    """The network's next-word logits for the captions ``tokens`` (B, T), from the features of images and captions.

    ``tokens`` must be in host memory, so that the number of words is known without synchronising. Raises ModelError if
    the network does not have the caption decoder or fusion.
    """
    if image.tokens is None or text.words is None:
        raise ValueError("captioning needs image tokens and the state of each word")
    words = next_word_positions(tokens, network.towers.pad_id).to_device(image.tokens.device)
    if through == "decoder":
        states = network.towers.decode(image.tokens, text.words[:, :-1])
        logits = network.towers.word_logits(words.select(states))
    else:
        fused = network.join(image, text, every_word=True, causal=True).words
        assert fused is not None
        logits = network.heads[Captioning.name](words.select(fused[:, : tokens.shape[1] - 1]))
    return WordLogits(logits, words.labels, words.pairs)


def _clean_features(output: Output) -> tuple[ImageFeatures, TextFeatures]:
    """The features of the clean view and of the captions."""
    if output.text_features is None:
        raise ValueError("captioning needs the features of the captions")
    return output.image_features[0], output.text_features


class Captioning(Objective):
    """Cross-entropy of each next word (CoCa, Yu et al. 2022, equation 4), averaged over all words of the batch.

        loss = - 1/N sum_n log p(word_n | words before it, image)

    Like in open_clip's CoCaLoss, the end token is predicted, but neither the start token nor padding. If pairs are
    weighted (``output.pair_weights``), each word has the weight of its pair in the mean.

    Through the fusion, a causal mask makes the matching network a language model with shared weights (BLIP's decoder,
    which shares all weights but self-attention; mPLUG's prefix language model, with the image as the prefix; BLIP-2's
    generation from queries).
    """

    name = "captioning"
    config_class = CaptioningConfig
    needs_text_tokens = True

    def __init__(self, config: CaptioningConfig) -> None:
        super().__init__(config)
        self.label_smoothing, self.through = config.label_smoothing, config.through

    def build_head(self, network: Network) -> nn.Module | None:
        if self.through == "decoder":
            network.towers.check_decoder()
            return None
        if not network.towers.causal_text:
            raise ModelError(
                "objectives.captioning.through is fusion, but this architecture's text tower is not causal; "
                "choose an architecture with a causal text tower, such as ViT-B-32."
            )
        return WordHead(network.fused_width, network.towers.vocabulary)

    def head_outputs(self, network: Network, batch: Batch, output: Output) -> WordLogits:
        return next_words(network, batch.on_host.texts, *_clean_features(output), self.through)

    def forward(self, student: Output, teacher: Output | None) -> tuple[Tensor, Report]:
        predicted: WordLogits = student.extra[self.name]
        with torch.autocast(predicted.logits.device.type, enabled=False):
            losses, is_correct = word_cross_entropy(predicted.logits, predicted.labels, self.label_smoothing)
            weights = None if student.pair_weights is None else student.pair_weights[predicted.pairs]
            loss = weighted_mean(losses, weights, equal_counts=False)
        return loss, {"diag/next_word_accuracy": overall_mean(is_correct.float())}


class DistillCaptions(Objective):
    """Match the teacher's distribution over each next word (Kim and Rush 2016, section 3.1), with teacher forcing.

    With the teacher's distribution q and the student's p, both softened by the temperature u,

        loss = u^2 / N sum_n KL(q_n || p_n)

    The factor u^2 keeps the gradient's magnitude independent of u (Hinton et al. 2015). An averaged teacher predicts
    mismatched captions poorly, so the student fits them less with soft targets than with hard targets.
    """

    name = "distill_captions"
    config_class = DistillCaptionsConfig
    needs_text_tokens = True

    def __init__(self, config: DistillCaptionsConfig, captioning: CaptioningConfig) -> None:
        """``captioning``: the settings of the captioning objective. If its weight is above 0, its logits are reused."""
        super().__init__(config)
        self.temperature = config.temperature
        self._source = Captioning.name if captioning.weight > 0 else self.name
        self.through: Through = captioning.through if captioning.weight > 0 else "decoder"

    @classmethod
    def build(cls, config: ObjectiveConfig, all_objectives: ObjectivesConfig) -> Self:
        assert isinstance(config, DistillCaptionsConfig)
        return cls(config, all_objectives.captioning)

    def build_head(self, network: Network) -> nn.Module | None:
        if self.through == "decoder":
            network.towers.check_decoder()
        return None

    def check_teacher(self, student: Network, teacher: Network) -> None:
        require_same_length(f"{self.name}.weight", student, teacher)
        if self.through == "fusion":
            require_head(Captioning.name, student, teacher)
            return
        try:
            teacher.towers.check_decoder()
        except ModelError as error:
            raise ModelError(f"the teacher cannot caption: {error}") from error

    def head_outputs(self, network: Network, batch: Batch, output: Output) -> WordLogits | None:
        return next_words(network, batch.on_host.texts, *_clean_features(output)) if self._source == self.name else None

    def teacher_head_outputs(self, network: Network, batch: Batch, output: Output) -> WordLogits:
        return next_words(network, batch.on_host.texts, *_clean_features(output), self.through)

    def forward(self, student: Output, teacher: Output | None) -> tuple[Tensor, Report]:
        predicted: WordLogits = student.extra[self._source]
        target: WordLogits = require(teacher, self.name).extra[self.name]
        with torch.autocast(predicted.logits.device.type, enabled=False):
            kl, entropy = word_kl(predicted.logits, target.logits, self.temperature)
        mean, vocabulary = overall_mean(kl), predicted.logits.shape[-1]
        return self.temperature**2 * mean, {
            "diag/caption_kl": mean.detach(),
            "diag/teacher_word_entropy_over_ln_vocabulary": overall_mean(entropy) / math.log(vocabulary),
        }
