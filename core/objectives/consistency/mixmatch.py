"""MixMatch: labelled and guessed images are interpolated with each other, and classified anew.

Flow: the answers to the clean and the further views -> guesses -> ``interpolate`` -> the network's answers to the
interpolated images. The labelled part becomes the loss of classification, the rest that of this objective.

Legend: B batch, C classes, L labelled rows, U rows without a label, K weak views, S side.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from core.data.batch import Batch
from core.data.draws import seed_of
from core.data.labelling import NONE
from core.model.network import Network
from core.model.outputs import Output
from core.objectives.classification import NAME as CLASSIFICATION
from core.objectives.classification import Interpolated, LabelledElsewhere
from core.objectives.objective import Objective, Report
from core.ranks.collectives import divisor_of, gathered, rank, size, taken
from core.ranks.transfer import sent
from core.spec.config import ConsistencyConfig, ObjectiveConfig

MIXMATCH = 1101  # what a draw is for


@dataclass(frozen=True)
class MixedBatch:
    """Interpolated images and the distributions that are wanted of them: the labelled rows, then K U others."""

    images: Tensor  # (L + K U, 3, S, S) normalised
    targets: Tensor  # (L + K U, C)
    labelled: int  # L


@dataclass(frozen=True)
class MixedAnswers(LabelledElsewhere):
    """The network's answers to the interpolated rows, with the labels that are wanted of them."""

    unlabelled: Interpolated  # K U rows
    guesses: Tensor  # (U, C) sharpened


class MixMatch(Objective):
    """Match sharpened guesses on interpolated images (Berthelot et al. 2019, algorithm 1).

    The guess q is the mean answer to the clean and the further views, sharpened to ``q^(1/T) / sum q^(1/T)``. Labelled
    and guessed images are interpolated with partners drawn from all of them, in shares from Beta(alpha, alpha) that
    are folded to at least one half. Over the part that had no label,

        loss = mean_uc (p - q)^2
    """

    name = "consistency"
    config_class = ConsistencyConfig

    def __init__(self, config: ConsistencyConfig) -> None:
        super().__init__(config)
        self.sharpen, self.mix_alpha = config.sharpen, config.mix_alpha

    @classmethod
    def serves(cls, config: ObjectiveConfig) -> bool:
        return isinstance(config, ConsistencyConfig) and config.kind == "mixmatch"

    def head_outputs(self, network: Network, batch: Batch, output: Output) -> MixedAnswers:
        assert batch.labels is not None
        head = network.heads[CLASSIFICATION]
        with torch.no_grad():
            answers = [head(features.before_projection).float().softmax(-1) for features in output.image_features]
            to_guess = _rows(batch, labelled=False)
            guesses = sharpened(torch.stack(answers).mean(dim=0).index_select(0, to_guess), self.sharpen)  # (U, C)
        views = [network.towers.normalise(view.images) for view in (batch.clean, *batch.student)]
        mixed = interpolate(batch, views, guesses, self.mix_alpha)
        logits = head(network.towers.encode_image(mixed.images).before_projection)
        labelled, unlabelled = (
            Interpolated(logits[part], mixed.targets[part])
            for part in (slice(0, mixed.labelled), slice(mixed.labelled, None))
        )
        return MixedAnswers(labelled, unlabelled, guesses)

    def forward(self, student: Output, teacher: Output | None) -> tuple[Tensor, Report]:
        mixed: MixedAnswers = student.extra[self.name]
        with torch.autocast(student.text.device.type, enabled=False):
            answers, wanted = mixed.unlabelled.logits.float(), mixed.unlabelled.targets
            loss = ((answers.softmax(dim=-1) - wanted) ** 2).sum() / divisor_of(wanted.numel(), wanted.device)
            confidence = mixed.guesses.amax(dim=-1).sum() / divisor_of(len(mixed.guesses), wanted.device)
        return loss, {"diag/guess_confidence": confidence}


def interpolate(batch: Batch, views: Sequence[Tensor], guesses: Tensor, alpha: float) -> MixedBatch:
    """The rows of ``batch`` in their ``views`` (B, 3, S, S), each blended with a partner drawn from all of them.

    ``guesses`` (U, C) are the labels of the rows without one. The draw depends on the numbers of the rows alone.
    """
    assert batch.labels is not None
    labelled, unlabelled = _rows(batch, labelled=True), _rows(batch, labelled=False)
    images = torch.cat([views[0].index_select(0, labelled), *(view.index_select(0, unlabelled) for view in views)])
    classes = torch.arange(guesses.shape[1], device=guesses.device)
    known = (batch.labels.index_select(0, labelled)[:, None] == classes).to(guesses.dtype)  # F.one_hot looks at them
    targets = torch.cat([known, guesses.repeat(len(views), 1)])
    host = batch.on_host
    assert host.labels is not None
    places = _places(gathered(host.labels.ne(NONE)), len(views))
    counts = [len(place) for place in places]
    where = torch.cat(places).argsort()  # of each image of all ranks, in their order: where it lies
    partner, share = draw_partners(gathered(host.rows), len(where), alpha)
    wanted = [where[partner[place]] for place in places]
    own = sent(share[places[rank()]].to(images.dtype), images.device)
    if size() == 1:
        wanted = [sent(wanted[0], images.device)]
    targets = torch.lerp(taken(targets, wanted, counts), targets, own[:, None])
    images = torch.lerp(taken(images, wanted, counts), images, own[:, None, None, None])
    return MixedBatch(images, targets, len(known))


def _places(has_label: Tensor, views: int) -> list[Tensor]:
    """For each rank the numbers of its labelled rows and ``views`` times its others, among those of all ranks.

    All labelled ones come first, then each view of all others; in one process that is the order in which they lie.
    ``has_label`` (B,) bool is of all ranks.
    """
    every = has_label.chunk(size())
    labelled = torch.tensor([int(one.sum()) for one in every])
    others = torch.tensor([len(one) for one in every]) - labelled
    first, first_other = labelled.cumsum(0) - labelled, others.cumsum(0) - others + labelled.sum()
    return [
        torch.cat(
            [
                first[one] + torch.arange(int(labelled[one])),
                *(first_other[one] + view * others.sum() + torch.arange(int(others[one])) for view in range(views)),
            ]
        )
        for one in range(size())
    ]


def _rows(batch: Batch, labelled: bool) -> Tensor:
    """The positions of the rows with or without a label, counted on the host, on the batch's device."""
    labels = batch.on_host.labels
    assert labels is not None
    return sent(((labels != NONE) == labelled).nonzero()[:, 0], batch.rows.device)


def sharpened(probabilities: Tensor, temperature: float) -> Tensor:
    """Rows (n, C) raised to 1 / temperature and made distributions again (MixMatch, equation 7)."""
    raised = probabilities ** (1.0 / temperature)
    return raised / raised.sum(dim=-1, keepdim=True)


def draw_partners(rows: Tensor, count: int, alpha: float) -> tuple[Tensor, Tensor]:
    """A permutation of ``count`` images and each one's own share (at least one half), by the numbers of ``rows``."""
    generator = np.random.default_rng(seed_of(*rows.tolist(), MIXMATCH))
    share = generator.beta(alpha, alpha, count)
    partner = torch.from_numpy(generator.permutation(count))
    return partner, torch.from_numpy(np.maximum(share, 1.0 - share))
