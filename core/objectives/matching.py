"""Matching: does this caption belong to this image? The negatives are the hardest of the batch.

Legend: B batch, D embed, F fused width, M pairs that are classified.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from core.data.batch import Batch
from core.model.network import Network
from core.model.outputs import Output
from core.objectives.objective import Objective, Report
from core.objectives.weighting.belief import weighted_mean
from core.ranks.collectives import first_row, gathered, overall_mean, rank, size, taken
from core.ranks.draws import shared
from core.ranks.transfer import sent
from core.spec.config import MatchingConfig

_FLOOR = 1e-4  # of each chance: a sharp softmax must not leave a row with nothing to draw


@dataclass(frozen=True)
class PairLogits:
    """Logits (M, 2) of "no" and "yes", the truth, and which pair of the batch each image is from."""

    logits: Tensor
    match: Tensor  # (M,) int64
    indices: Tensor  # (M,) int64; of an image that another rank has, any


def same_captions(tokens: Tensor) -> Tensor:
    """Which captions of ``tokens`` (B, T) are equal: (B, B) bool, the diagonal included."""
    _, kind = tokens.unique(dim=0, return_inverse=True)
    same: Tensor = kind[:, None] == kind[None]
    return same


def chances(similarities: Tensor, never: Tensor) -> Tensor:
    """How probable each column is as the negative of a row, of logits (B, B): (B, B).

    The softmax is taken over all columns, then those that are ``never`` negatives, the true pair among them, get 0.
    (The other way round, a row of -inf is needed, and a true pair that is masked to a large negative number can be
    drawn.) Rows without any negative are 0 throughout.
    """
    return (similarities.float().softmax(dim=1) + _FLOOR).masked_fill(never, 0.0)


def draw(weights: Tensor) -> Tensor:
    """A column (B,) int64 for each row of ``weights`` (B, B), with that probability; no row may be all 0.

    The largest of weights over exponential noise is so distributed, and is what torch's multinomial takes. The noise is
    drawn on the device of the weights, from a seed that all ranks have: B x B draws on the host take a second at 4,096.
    """
    seed = int(torch.randint(1 << 62, (), generator=shared))
    device = weights.device if weights.device.type != "meta" else torch.device("cpu")  # meta has none
    noise = torch.empty_like(weights, device=device).exponential_(generator=torch.Generator(device).manual_seed(seed))
    return (weights.detach() / sent(noise, weights.device)).argmax(dim=1)


class Matching(Objective):
    """Two-way cross-entropy on the fused representation, hard negatives of the batch (ALBEF, Li et al. 2021, 3.2).

    Each image is paired with its own caption and with one drawn by the softmax of its similarities; each caption
    with an image drawn alike. Captions that read the same are no negatives of each other. With c the logits,

        loss = mean of cross_entropy(c(i, t_i), yes), cross_entropy(c(i, t_j), no), cross_entropy(c(j, t_i), no)
    """

    name = "matching"
    config_class = MatchingConfig

    def __init__(self, config: MatchingConfig) -> None:
        super().__init__(config)
        self.negatives = config.negatives

    def build_head(self, network: Network) -> nn.Module | None:
        return nn.Linear(network.fused_width, 2)

    def head_outputs(self, network: Network, batch: Batch, output: Output) -> PairLogits:
        image, text = output.image_features[0], output.text_features
        if image.tokens is None or text is None:
            raise ValueError("matching needs the image's tokens and the caption's features")
        rows = len(batch.texts)
        images, captions = self._draw_pairs(output, batch)
        own = images[rank()]
        match = torch.zeros_like(own)
        match[:rows] = 1
        if size() == 1:
            captioned, shown = text.rows(captions[0]), image.tokens[own]
        else:
            wanted = torch.stack([*captions, *images]).cpu()  # the step's one wait: numbers of rows are the host's
            wanted_captions, wanted_images = wanted.unbind()[: size()], wanted.unbind()[size() :]
            captioned = replace(text, words=None).map(lambda values: taken(values, wanted_captions))
            shown = taken(image.tokens, wanted_images)
        fused = network.join(replace(image, tokens=shown), captioned).pooled
        return PairLogits(network.heads[self.name](fused), match, (own - first_row(rows)).clamp(0, rows - 1))

    def _draw_pairs(self, output: Output, batch: Batch) -> tuple[list[Tensor], list[Tensor]]:
        """The images and the captions (M,) that each rank classifies as pairs: its own, then negatives of both kinds.

        By their numbers in the global batch. Every rank draws for all, from the same generator.
        """
        wrong = self._negatives(output, gathered(batch.on_host.texts))
        every = torch.arange(size() * len(batch.texts), device=output.text.device)
        of_text, of_image = wrong if wrong is not None else (every, every)
        images, captions = [], []
        for own in every.chunk(size()):
            drawn = own if wrong is not None else own[:0]
            images.append(torch.cat([own, drawn, of_image[drawn]]))
            captions.append(torch.cat([own, of_text[drawn], drawn]))
        return images, captions

    def _negatives(self, output: Output, tokens: Tensor) -> tuple[Tensor, Tensor] | None:
        """A wrong caption for each image and a wrong image for each caption; None where all ``tokens`` are one.

        ``tokens`` (B, T) lie in the host's memory: which captions are the same is known without waiting.
        """
        same = same_captions(tokens)
        if same.all():
            return None
        with torch.no_grad():
            images, texts = output.clean.every_image.float(), output.every_text.float()
            similarities = output.logit_scale.float() * images @ texts.T  # (B, B)
            if self.negatives == "random":
                similarities = torch.zeros_like(similarities)
            never = sent(same, similarities.device)
            return draw(chances(similarities, never)), draw(chances(similarities.T, never))

    def forward(self, student: Output, teacher: Output | None) -> tuple[Tensor, Report]:
        pairs: PairLogits = student.extra[self.name]
        with torch.autocast(pairs.logits.device.type, enabled=False):
            logits = pairs.logits.float()
            losses = F.cross_entropy(logits, pairs.match, reduction="none")
            belief = None
            if student.belief is not None:  # a negative stays one, whatever the weight of its image's own pair
                belief = torch.where(pairs.match == 1, student.belief[pairs.indices], 1.0)
            loss = weighted_mean(losses, belief, alike=False)
            right = overall_mean((logits.detach().argmax(dim=1) == pairs.match).float())
        return loss, {"diag/matching_accuracy": right}
