"""The losses of a step: the teacher makes targets, the student answers, the objectives compare.

Flow: the loop hands over each batch with the number of its step, and moves the student by the gradient of what comes
back. No parameter changes here; what objectives remember from step to step (queues, centres) does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

import torch
from torch import Tensor

from core.data.batch import Batch
from core.data.draws import seed_of
from core.model.outputs import Output
from core.objectives.build import Objectives
from core.objectives.weighting.self_confidence import with_pair_weights
from core.ranks.collectives import rank
from core.ranks.draws import seed_step
from core.spec.config import RunConfig
from core.spec.run.metric_names import FEATURE_STD
from core.teacher.teacher import Teacher
from core.training.accumulation import in_chunks
from core.training.assembly import Assembly
from core.training.schedules import Schedules

STEP = 1010  # what a draw is for

Losses = dict[str, Tensor]
"""The weighted loss of each objective, by name."""
Report = dict[str, Tensor]
"""Bare losses and diagnostics by name, on the device still."""


@torch.no_grad()
def feature_std(features: Tensor) -> Tensor:
    """Standard deviation over the batch of unit-length ``features`` (B, D), averaged over D, times sqrt(D).

    About 1 for features spread over the sphere, 0 when all are equal: collapse (SimSiam, Chen and He 2021).
    """
    spread: Tensor = features.float().std(dim=0, correction=0).mean() * features.shape[1] ** 0.5
    return spread


class TrainStep:
    """A batch and the number of its step in, losses and a report out."""

    def __init__(self, config: RunConfig, parts: Assembly, schedules: Schedules) -> None:
        self._network, self._teacher, self._objectives = parts.network, parts.teacher, parts.objectives
        self._student = parts.student
        self._autocast, self._micro = parts.runtime.autocast, config.optim.micro_batch
        self._schedules, self._seed, self._self_confidence = schedules, config.seed, config.noise.self_confidence

    def __call__(self, batch: Batch, step: int) -> tuple[Losses, Report]:
        """The losses of ``batch`` in ``step`` (the first is 1), and what to report: the bare ones and diagnostics."""
        teacher = self._teacher if self._schedules.teaching.taught(step) else None
        objectives = self._objectives.active(taught=teacher is not None or self._teacher is None)
        objectives.begin_step(self._network, self._schedules.at(step))
        seed_step(seed_of(self._seed, step, STEP), seed_of(self._seed, step, STEP, 1 + rank()))

        with in_chunks(self._network, self._micro), self._teacher_in_chunks():
            target = self._target(teacher, objectives, batch)
            output = with_pair_weights(self._student(batch, objectives), self._self_confidence)

        losses: Losses = {}
        report: Report = {FEATURE_STD: feature_std(output.clean.image)} if len(batch.rows) > 1 else {}
        for objective in objectives:
            loss, facts = objective(output, target)
            losses[objective.name] = objective.step_values.weight * loss
            report[f"train/{objective.name}"] = loss.detach()
            report.update(facts)
        return losses, report

    def _target(self, teacher: Teacher | None, objectives: Objectives, batch: Batch) -> Output | None:
        """The teacher's outputs for ``batch``, without gradient; None where nothing reads them."""
        if teacher is None or not objectives.need_teacher:
            return None
        self._make_whole()
        with self._autocast():  # apart: weights cast without a gradient would serve a student who shares them
            return teacher.targets(batch, objectives.teacher_head_outputs)

    def _make_whole(self) -> None:
        """Over ranks, gather what a teacher reads outside of a wrapped ``forward``: its own parts, shared towers."""
        networks = self._teacher.networks if self._teacher is not None else ()
        shared = any(network.towers is self._network.towers for network in networks)
        for module in (*networks, *((self._student,) if shared else ())):
            gather: Callable[[], object] | None = getattr(module, "unshard", None)
            if gather is not None:
                gather()

    @contextmanager
    def _teacher_in_chunks(self) -> Iterator[None]:
        with ExitStack() as entered:
            for network in self._teacher.networks if self._teacher is not None else ():
                if network.towers is not self._network.towers:
                    entered.enter_context(in_chunks(network, self._micro))
            yield
