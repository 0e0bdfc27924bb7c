"""Masked words: predict masked words from the image and the other words.

Legend: B batch, T tokens, N masked words, F fused width, V vocabulary.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from core.data.batch import Batch
from core.model.heads import WordHead
from core.model.network import Network
from core.model.outputs import Output
from core.objectives.objective import Objective, Report, require, require_head, require_same_length
from core.objectives.parts.schedule import ObjectiveValues
from core.objectives.parts.vocabulary import word_cross_entropy, word_kl
from core.objectives.parts.words import WordLogits, WordPositions
from core.objectives.weighting.self_confidence import weighted_mean
from core.ranks.collectives import first_row, overall_mean, world_size
from core.ranks.draws import shared_generator
from core.ranks.transfer import to_device
from core.spec.config import MaskedWordsConfig


@dataclass(frozen=True)
class Masking:
    """Captions with some words masked."""

    tokens: Tensor  # (B, T) int64, some replaced by random words
    hidden: Tensor  # (B, T) bool, positions that get the mask token
    masked: Tensor  # (B, T) bool, positions to predict
    words: WordPositions  # the masked positions out of all B T, with the original words

    def to_device(self, device: torch.device) -> Masking:
        """A copy on ``device``."""
        masked = to_device(self.masked, device)
        return Masking(
            to_device(self.tokens, device), to_device(self.hidden, device), masked, self.words.to_device(device)
        )


def mask_words(tokens: Tensor, special: Tensor, vocabulary: int, rate: float) -> Masking:
    """Mask words of ``tokens`` (B, T) with probability ``rate`` (BERT, Devlin et al. 2019, section 3.1).

    Of the masked words, 80 % are hidden, 10 % are replaced by a random word, and 10 % are unchanged. ``special`` ids
    (start, end, padding) are never masked or inserted. All tensors are in host memory; every rank draws for all ranks.
    """
    global_shape = (world_size() * len(tokens), tokens.shape[1])
    own_rows = slice(first_row(len(tokens)), first_row(len(tokens)) + len(tokens))
    mask_draw, change_draw = torch.rand(2, *global_shape, generator=shared_generator)[:, own_rows]
    masked = (mask_draw < rate) & ~torch.isin(tokens, special)
    hidden = masked & (change_draw < 0.8)
    replaced = masked & (change_draw >= 0.9)
    all_ids = torch.arange(vocabulary)
    words = all_ids[~torch.isin(all_ids, special)]
    random_words = words[torch.randint(len(words), global_shape, generator=shared_generator)[own_rows]]
    places = masked.flatten().nonzero()[:, 0]
    positions = WordPositions(places, tokens[masked], places // max(1, tokens.shape[1]))
    return Masking(torch.where(replaced, random_words, tokens), hidden, masked, positions)


class MaskedWordHead(nn.Module):
    """The embedding of a hidden word, and logits over the vocabulary."""

    def __init__(self, text_width: int, fused_width: int, vocabulary: int) -> None:
        super().__init__()
        self.mask_token = nn.Parameter(torch.empty(1, 1, text_width).normal_(std=0.02))
        self.words = WordHead(fused_width, vocabulary)

    def forward(self, fused: Tensor) -> Tensor:
        """Logits (N, V) from fused states (N, F)."""
        logits: Tensor = self.words(fused)
        return logits


class MaskedWords(Objective):
    """Cross-entropy of masked words, given the image and the other words (ALBEF, Li et al. 2021, equation 4).

        loss = - 1/N sum_n log p(word_n | image, other words)

    If ``alpha`` > 0, the target is ``alpha * teacher_softmax + (1 - alpha) * one_hot(word)`` (ALBEF, equation 7); the
    teacher reads the same masked caption. In a fusion without attention between words, a word sees only the words that
    the text tower attends to; with a causal tower, these are the earlier words.
    """

    name = "masked_words"
    config_class = MaskedWordsConfig

    def __init__(self, config: MaskedWordsConfig) -> None:
        super().__init__(config)
        self.rate, self.alpha = config.rate, config.alpha
        self._masking: Masking | None = None  # the masking of this step, set when the teacher's outputs are computed

    def build_head(self, network: Network) -> nn.Module | None:
        return MaskedWordHead(network.towers.text_width, network.fused_width, network.towers.vocabulary)

    def check_teacher(self, student: Network, teacher: Network) -> None:
        if self.alpha > 0:
            require_same_length(f"{self.name}.alpha", student, teacher)
            require_head(self.name, student, teacher)

    def begin_step(self, network: Network, values: ObjectiveValues) -> None:
        super().begin_step(network, values)
        self._masking = None

    def teacher_head_outputs(self, network: Network, batch: Batch, output: Output) -> WordLogits | None:
        if self.alpha == 0:
            return None
        if self._masking is None:  # several teachers read the same masked caption
            self._masking = self._mask(network, batch)
        return self._predict(network, batch, output, self._masking)

    def head_outputs(self, network: Network, batch: Batch, output: Output) -> WordLogits:
        masking = self._masking or self._mask(network, batch)
        self._masking = None
        return self._predict(network, batch, output, masking)

    def _mask(self, network: Network, batch: Batch) -> Masking:
        towers, special = network.towers, torch.tensor(network.towers.special_ids)
        masking = mask_words(batch.on_host.texts, special, towers.vocabulary, self.rate)
        return masking.to_device(batch.texts.device)

    def _predict(self, network: Network, batch: Batch, output: Output, masking: Masking) -> WordLogits:
        head = network.heads[self.name]
        assert isinstance(head, MaskedWordHead)
        text = network.towers.encode_text(
            masking.tokens, all_tokens=True, hidden=masking.hidden, mask_token=head.mask_token
        )
        words = network.join(output.image_features[0], text, every_word=True).words
        assert words is not None
        logits = head(masking.words.select(words[:, : masking.tokens.shape[1]]))
        return WordLogits(logits, masking.words.labels, masking.words.pairs)

    def forward(self, student: Output, teacher: Output | None) -> tuple[Tensor, Report]:
        predicted: WordLogits = student.extra[self.name]
        count = torch.tensor(float(world_size() * len(predicted.labels)))
        if not len(predicted.labels) and world_size() == 1:  # short captions may have no masked word
            return predicted.logits.sum(), {"diag/masked_words": count}
        alpha = self.step_values.alpha
        with torch.autocast(predicted.logits.device.type, enabled=False):
            losses, is_correct = word_cross_entropy(predicted.logits, predicted.labels)
            if alpha > 0:
                kl, entropy = word_kl(predicted.logits, require(teacher, self.name).extra[self.name].logits)
                losses = (1 - alpha) * losses + alpha * (kl + entropy)  # kl + entropy = cross-entropy with the teacher
            weights = None if student.pair_weights is None else student.pair_weights[predicted.pairs]
            loss = weighted_mean(losses, weights, equal_counts=False)
        return loss, {"diag/masked_words": count, "diag/masked_word_accuracy": overall_mean(is_correct.float())}
