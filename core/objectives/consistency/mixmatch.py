"""MixMatch: labelled and pseudo-labelled images are interpolated with each other and classified.

Flow: predictions for the clean and additional views -> pseudo-labels -> ``interpolate`` -> predictions for the
interpolated images. ``Classification`` computes the loss for the labelled rows, and ``MixMatch`` computes it for the
unlabelled rows.

Legend: B batch, C classes, L labelled rows, U unlabelled rows, K weak views, S side.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from core.data.batch import Batch
from core.data.draws import seed_of
from core.data.labelling import NO_CLASS
from core.model.network import Network
from core.model.outputs import Output
from core.objectives.classification import HEAD_NAME as CLASSIFICATION
from core.objectives.classification import InterpolatedLabels, InterpolatedRows
from core.objectives.objective import Objective, Report
from core.ranks.collectives import all_gather_with_grad, fetch_rows, global_count_per_rank_of, rank, world_size
from core.ranks.transfer import to_device
from core.spec.config import ConsistencyConfig, ObjectiveConfig

MIXMATCH_STREAM = 1101  # stream id that keeps random draws independent
MIX_ALPHA = 0.75  # parameter of the Beta distribution of shares (section 4.2.1)


@dataclass(frozen=True)
class MixedBatch:
    """Interpolated images and their target distributions: L labelled rows, then K U unlabelled rows."""

    images: Tensor  # (L + K U, 3, S, S) normalised
    targets: Tensor  # (L + K U, C)
    labelled: int  # L


@dataclass(frozen=True)
class MixedOutputs(InterpolatedLabels):
    """The network's predictions for the interpolated rows, and their targets."""

    unlabelled: InterpolatedRows  # K U rows
    pseudo_labels: Tensor  # (U, C) sharpened


class MixMatch(Objective):
    """Match sharpened pseudo-labels on interpolated images (Berthelot et al. 2019, algorithm 1).

    The pseudo-label q is the mean prediction for the clean and additional views, sharpened to
    ``q^(1/T) / sum q^(1/T)``. Labelled and pseudo-labelled images are interpolated with partners drawn from all images.
    The share s is drawn from Beta(alpha, alpha), and replaced by 1 - s if it is below one half. Over the unlabelled
    rows,

        loss = mean_uc (p - q)^2
    """

    name = "consistency"
    config_class = ConsistencyConfig

    def __init__(self, config: ConsistencyConfig) -> None:
        super().__init__(config)
        self.sharpen = config.sharpen

    @classmethod
    def implements(cls, config: ObjectiveConfig) -> bool:
        return isinstance(config, ConsistencyConfig) and config.kind == "mixmatch"

    def head_outputs(self, network: Network, batch: Batch, output: Output) -> MixedOutputs:
        assert batch.labels is not None
        head = network.heads[CLASSIFICATION]
        with torch.no_grad():
            predictions = [head(features.before_projection).float().softmax(-1) for features in output.image_features]
            mean_prediction = torch.stack(predictions).mean(dim=0)  # (B, C)
            unlabelled_rows = _rows_by_label(batch, labelled=False)
            pseudo_labels = sharpen(mean_prediction.index_select(0, unlabelled_rows), self.sharpen)  # (U, C)
        views = [network.towers.normalise(view.images) for view in (batch.clean, *batch.student)]
        mixed = interpolate(batch, views, pseudo_labels, MIX_ALPHA)
        logits = head(network.towers.encode_image(mixed.images).before_projection)
        labelled = InterpolatedRows(logits[: mixed.labelled], mixed.targets[: mixed.labelled])
        unlabelled = InterpolatedRows(logits[mixed.labelled :], mixed.targets[mixed.labelled :])
        return MixedOutputs(labelled, unlabelled, pseudo_labels)

    def forward(self, student: Output, teacher: Output | None) -> tuple[Tensor, Report]:
        mixed: MixedOutputs = student.extra[self.name]
        with torch.autocast(student.text.device.type, enabled=False):
            logits, targets = mixed.unlabelled.logits.float(), mixed.unlabelled.targets
            loss = ((logits.softmax(dim=-1) - targets) ** 2).sum() / global_count_per_rank_of(
                targets.numel(), targets.device
            )
            confidence = mixed.pseudo_labels.amax(dim=-1).sum() / global_count_per_rank_of(
                len(mixed.pseudo_labels), targets.device
            )
        return loss, {"diag/pseudo_label_confidence": confidence}


def interpolate(batch: Batch, views: Sequence[Tensor], pseudo_labels: Tensor, alpha: float) -> MixedBatch:
    """Interpolate each image with a partner drawn from all images: labelled rows in the clean view, unlabelled rows in
    every view.

    ``views`` (B, 3, S, S) of ``batch``, clean view first. ``pseudo_labels`` (U, C) belong to the unlabelled rows. The
    random draws depend only on the row numbers.
    """
    assert batch.labels is not None
    labelled, unlabelled = _rows_by_label(batch, labelled=True), _rows_by_label(batch, labelled=False)
    images = torch.cat([views[0].index_select(0, labelled), *(view.index_select(0, unlabelled) for view in views)])
    classes = torch.arange(pseudo_labels.shape[1], device=pseudo_labels.device)
    # F.one_hot would synchronise with the device.
    one_hot = (batch.labels.index_select(0, labelled)[:, None] == classes).to(pseudo_labels.dtype)
    targets = torch.cat([one_hot, pseudo_labels.repeat(len(views), 1)])
    host = batch.on_host
    assert host.labels is not None
    positions = _global_positions(all_gather_with_grad(host.labels.ne(NO_CLASS)), len(views))  # per rank
    counts = [len(of_rank) for of_rank in positions]
    order = torch.cat(positions).argsort()  # global position -> row of the images of all ranks, concatenated
    partner, share = draw_partners(all_gather_with_grad(host.rows), len(order), alpha)
    partners = [order[partner[of_rank]] for of_rank in positions]
    own_share = to_device(share[positions[rank()]].to(images.dtype), images.device)
    if world_size() == 1:
        partners = [to_device(partners[0], images.device)]
    targets = torch.lerp(fetch_rows(targets, partners, counts), targets, own_share[:, None])
    images = torch.lerp(fetch_rows(images, partners, counts), images, own_share[:, None, None, None])
    return MixedBatch(images, targets, len(one_hot))


def _global_positions(has_label: Tensor, views: int) -> list[Tensor]:
    """For each rank, the global positions of its labelled rows and of ``views`` copies of its unlabelled rows.

    All labelled rows come first, then each view of all unlabelled rows, as in a single process. ``has_label`` (B,)
    bool covers all ranks.
    """
    by_rank = has_label.chunk(world_size())
    labelled = torch.tensor([int(part.sum()) for part in by_rank])
    unlabelled = torch.tensor([len(part) for part in by_rank]) - labelled
    first_labelled = labelled.cumsum(0) - labelled
    first_unlabelled = unlabelled.cumsum(0) - unlabelled + labelled.sum()
    return [
        torch.cat(
            [
                first_labelled[r] + torch.arange(int(labelled[r])),
                *(
                    first_unlabelled[r] + view * unlabelled.sum() + torch.arange(int(unlabelled[r]))
                    for view in range(views)
                ),
            ]
        )
        for r in range(world_size())
    ]


def _rows_by_label(batch: Batch, labelled: bool) -> Tensor:
    """Positions of the labelled or unlabelled rows, on the batch's device; computed without synchronising."""
    labels = batch.on_host.labels
    assert labels is not None
    return to_device(((labels != NO_CLASS) == labelled).nonzero()[:, 0], batch.rows.device)


def sharpen(probabilities: Tensor, temperature: float) -> Tensor:
    """``probabilities`` (n, C) raised to 1 / temperature and renormalised per row (MixMatch, equation 7)."""
    raised = probabilities ** (1.0 / temperature)
    return raised / raised.sum(dim=-1, keepdim=True)


def draw_partners(rows: Tensor, count: int, alpha: float) -> tuple[Tensor, Tensor]:
    """A permutation of ``count`` images, and the share (at least one half) of each image; seeded by ``rows``."""
    generator = np.random.default_rng(seed_of(*rows.tolist(), MIXMATCH_STREAM))
    share = generator.beta(alpha, alpha, count)
    partner = torch.from_numpy(generator.permutation(count))
    return partner, torch.from_numpy(np.maximum(share, 1.0 - share))
