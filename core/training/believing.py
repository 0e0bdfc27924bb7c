"""The belief in each training pair over a run: built with it, refreshed at intervals.

Flow: ``TrainStep`` records features and weighs losses with ``Belief.weigh``; after the optimiser's step the loop calls
``refresh``.
"""

from __future__ import annotations

from torch import Tensor

from core.objectives.weighting.belief import Belief
from core.objectives.weighting.rolling import AnyBelief, RollingBelief
from core.spec.config import RunConfig
from core.spec.errors import UserError
from core.training.assembly import Assembly
from core.training.schedules import Schedules


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
    pairs, width = len(parts.train), parts.network.towers.embed_dim
    belief: AnyBelief
    if parts.train.sharded:
        belief = RollingBelief(config.belief, pairs, width, taught)
    else:
        taught = taught and config.teacher.every == 1  # features of most pairs would be the student's
        belief = Belief(config.belief, pairs, width, taught, parts.loader.left_out)
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
