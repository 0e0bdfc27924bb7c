"""Image-text matching with hard negatives from the batch.

Legend: B batch, F fused width, M pairs that are classified.
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
from core.objectives.weighting.self_confidence import weighted_mean
from core.ranks.collectives import all_gather_with_grad, fetch_rows, first_row, overall_mean, rank, world_size
from core.ranks.draws import shared_generator
from core.ranks.transfer import to_device
from core.spec.config import MatchingConfig

_MIN_PROBABILITY = 1e-4  # a sharp softmax must not leave a row without candidates


@dataclass(frozen=True)
class PairLogits:
    """Logits (M, 2) of "no" and "yes", the targets, and the batch row of each image."""

    logits: Tensor
    match: Tensor  # (M,) int64
    image_rows: Tensor  # (M,) int64; arbitrary for images of other ranks


def same_captions(tokens: Tensor) -> Tensor:
    """Which captions of ``tokens`` (B, T) are equal: (B, B) bool, including the diagonal."""
    _, caption_numbers = tokens.unique(dim=0, return_inverse=True)  # equal captions have equal numbers
    same: Tensor = caption_numbers[:, None] == caption_numbers[None]
    return same


def negative_probabilities(similarities: Tensor, never: Tensor) -> Tensor:
    """The unnormalised probability (B, B) of each column as the negative of a row, from logits (B, B).

    The softmax covers all columns; then the columns in ``never`` (B, B) bool, such as the true pair, get 0. (Masking
    first could result in a row of -inf, and a true pair masked with a large negative number could be drawn.) Rows
    without negatives are 0.
    """
    return (similarities.float().softmax(dim=1) + _MIN_PROBABILITY).masked_fill(never, 0.0)


def draw_columns(weights: Tensor) -> Tensor:
    """A column (B,) int64 for each row of ``weights`` (B, B), drawn with these weights; no row may be all 0.

    The column is the argmax of weights / exponential noise, as in torch's multinomial. The noise is drawn on the
    weights' device, from a seed that all ranks share: B x B draws on the host take a second for B = 4,096.
    """
    seed = int(torch.randint(1 << 62, (), generator=shared_generator))
    device = torch.device("cpu") if weights.is_meta else weights.device  # the meta device has no generator
    noise = torch.empty_like(weights, device=device).exponential_(generator=torch.Generator(device).manual_seed(seed))
    return (weights.detach() / to_device(noise, weights.device)).argmax(dim=1)


class Matching(Objective):
    """Two-way cross-entropy on the fused representation with hard negatives (ALBEF, Li et al. 2021, section 3.2).

    Each image is paired with its own caption, and with a caption drawn by the softmax of its similarities; each caption
    is paired with an image drawn in the same way. Equal captions are not negatives of each other. With c the logits,

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
            raise ValueError("matching needs image tokens and caption features")
        rows = len(batch.texts)
        images, captions = self._draw_pairs(output, batch)
        own_images = images[rank()]
        match = torch.zeros_like(own_images)
        match[:rows] = 1  # the own pairs come first
        if world_size() == 1:
            pair_text, pair_images = text.rows(captions[0]), image.tokens[own_images]
        else:
            # The only synchronisation of the step, since row numbers are needed on the host.
            caption_rows, image_rows = torch.stack([torch.stack(captions), torch.stack(images)]).cpu()
            pair_text = replace(text, words=None).map(lambda values: fetch_rows(values, caption_rows))
            pair_images = fetch_rows(image.tokens, image_rows)
        fused = network.join(replace(image, tokens=pair_images), pair_text).pooled
        return PairLogits(network.heads[self.name](fused), match, (own_images - first_row(rows)).clamp(0, rows - 1))

    def _draw_pairs(self, output: Output, batch: Batch) -> tuple[list[Tensor], list[Tensor]]:
        """The global rows (M,) of images and captions that each rank classifies: its own pairs, then negatives.

        Every rank draws for all ranks, with the same seed.
        """
        negatives = self._draw_negatives(output, all_gather_with_grad(batch.on_host.texts))
        all_rows = torch.arange(world_size() * len(batch.texts), device=output.text.device)
        negative_texts, negative_images = negatives if negatives is not None else (all_rows, all_rows)
        images, captions = [], []
        for rows_of_rank in all_rows.chunk(world_size()):
            with_negatives = rows_of_rank if negatives is not None else rows_of_rank[:0]
            images.append(torch.cat([rows_of_rank, with_negatives, negative_images[with_negatives]]))
            captions.append(torch.cat([rows_of_rank, negative_texts[with_negatives], with_negatives]))
        return images, captions

    def _draw_negatives(self, output: Output, tokens: Tensor) -> tuple[Tensor, Tensor] | None:
        """A mismatched caption for each image, and a mismatched image for each caption; None if all captions are equal.

        ``tokens`` (B, T) are in host memory, so that equal captions are found without synchronising.
        """
        same = same_captions(tokens)
        if same.all():
            return None
        with torch.no_grad():
            images, texts = output.clean.gathered_image.float(), output.gathered_text.float()
            similarities = output.logit_scale.float() * images @ texts.T  # (B, B)
            if self.negatives == "random":
                similarities = torch.zeros_like(similarities)
            never = to_device(same, similarities.device)
            texts_of_images = draw_columns(negative_probabilities(similarities, never))
            images_of_texts = draw_columns(negative_probabilities(similarities.T, never))
            return texts_of_images, images_of_texts

    def forward(self, student: Output, teacher: Output | None) -> tuple[Tensor, Report]:
        pairs: PairLogits = student.extra[self.name]
        with torch.autocast(pairs.logits.device.type, enabled=False):
            logits = pairs.logits.float()
            losses = F.cross_entropy(logits, pairs.match, reduction="none")
            weights = None
            if student.pair_weights is not None:  # negatives keep weight 1
                weights = torch.where(pairs.match == 1, student.pair_weights[pairs.image_rows], 1.0)
            loss = weighted_mean(losses, weights, equal_counts=False)
            accuracy = overall_mean((logits.detach().argmax(dim=1) == pairs.match).float())
        return loss, {"diag/matching_accuracy": accuracy}
