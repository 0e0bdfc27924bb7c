"""The belief in each training pair over a run: judged before it, built with it, refreshed at intervals.

Flow: the training pictures, each looked at once, and their captions -> ``prior_of``, by which ``TrainStep`` multiplies
all other weights. ``TrainStep`` records features and weighs losses with ``Belief.weigh``; after the optimiser's step
the loop calls ``refresh``.
"""

from __future__ import annotations

from contextlib import closing

import torch
from torch import Tensor

from core.data.dataset import PairDataset
from core.data.loader import evaluation_batches
from core.objectives.weighting.belief import Belief
from core.objectives.weighting.descriptors import describe, unit_parts
from core.objectives.weighting.rolling import AnyBelief, RollingBelief
from core.objectives.weighting.words import chance_right
from core.spec.config import RunConfig
from core.spec.errors import UserError
from core.spec.reporter import Progress
from core.training.assembly import Assembly
from core.training.schedules import Schedules

_BATCH = 64
_SIDE = 96  # pixels of a picture that are looked at


def build_belief(config: RunConfig, parts: Assembly) -> AnyBelief | None:
    """The memory of the training pairs, on the run's device; None where ``belief.action`` is none.

    Of shards it keeps no features, as there may be too many pairs: UserError where these are to be the targets.
    """
    if config.belief.action == "none":
        return None
    if config.teacher.targets == "memory" and parts.train.sharded:
        raise UserError(
            "teacher.targets is memory, and shards hold too many pairs to keep the features of each; set it to pass."
        )
    taught = parts.teacher is not None and config.teacher.targets == "pass"  # else there is only what the student saw
    kind: type[AnyBelief] = RollingBelief
    if not parts.train.sharded:
        kind, taught = Belief, taught and config.teacher.every == 1  # features of most pairs would be the student's
    belief = kind(config.belief, len(parts.train), parts.network.towers.embed_dim, taught)
    return belief.to(parts.runtime.device)


class BeliefRefresh:
    """Refreshes ``belief`` every ``belief.refresh`` epochs."""

    def __init__(self, config: RunConfig, parts: Assembly, schedules: Schedules, belief: AnyBelief | None) -> None:
        self._belief, self._network, self._schedules = belief, parts.network, schedules
        self._every = max(1, round(config.belief.refresh * parts.loader.steps_per_epoch))

    def __call__(self, step: int) -> dict[str, Tensor]:
        """Diagnostics of a refresh after ``step``; nothing where none is due."""
        if self._belief is None or step % self._every:
            return {}
        return self._belief.refresh(self._network.logit_scale.detach(), self._schedules.progress(step))


def prior_of(config: RunConfig, parts: Assembly, progress: Progress) -> Tensor | None:
    """The weight (N,) float32 of each training row, on the run's device; None where ``belief.prior`` is none.

    It is the probability that the row's captions, in the mean, are its picture's; 1 of a picture that cannot be read.
    The same in each start of a run, and on each rank. UserError for shards, whose rows are never all at hand.
    """
    if config.belief.prior == "none":
        return None
    if not isinstance(parts.train, PairDataset):
        raise UserError("belief.prior is words, and of shards not all pairs are at hand; set it to none.")
    return row_chances(parts.train, progress).to(parts.runtime.device)


def row_chances(dataset: PairDataset, progress: Progress) -> Tensor:
    """As `prior_of`, of the rows (N,) of ``dataset``."""
    looks, readable, done = [], [], 0
    with closing(evaluation_batches(dataset, _SIDE, _BATCH)) as batches:
        for rows, pictures in batches:
            looks.append(describe(pictures))
            readable.append(rows)
            done += len(rows)
            progress("looking at the pictures", done, len(dataset))
    chance = torch.ones(len(dataset))
    if not looks:
        return chance
    rows = torch.cat(readable)
    position = torch.full((len(dataset),), -1)
    position[rows] = torch.arange(len(rows))
    seen = position[dataset.caption_rows]  # (C,) of each caption's picture
    captions = (seen >= 0).nonzero().squeeze(1).tolist()
    seen = seen[captions]
    found = chance_right(unit_parts(torch.cat(looks))[seen], [dataset.captions[i] for i in captions], rows[seen])
    total = torch.zeros(len(rows), dtype=torch.float64).index_add_(0, seen, found)
    chance[rows] = (total / torch.bincount(seen, minlength=len(rows)).clamp(min=1)).float()
    return chance
