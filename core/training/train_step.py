"""The losses of a training step: the teacher computes targets, the student its outputs, the objectives compare them.

Flow: the loop calls `StepLosses` with each batch and its step, and updates the student by the gradient of the losses.
No parameter is updated here; objectives update their own state (queues, centres).
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

STEP_STREAM = 1010  # stream id that keeps the random draws of a step independent of all others

Losses = dict[str, Tensor]
"""The weighted loss of each objective, by name."""
StepMetrics = dict[str, Tensor]
"""Unweighted losses and diagnostics by name, still on the device."""


@torch.no_grad()
def feature_std(features: Tensor) -> Tensor:
    """Standard deviation over the batch of unit-length ``features`` (B, D), averaged over D, times sqrt(D).

    About 1 for features spread over the sphere, 0 when all are equal: collapse (SimSiam, Chen and He 2021).
    """
    spread: Tensor = features.float().std(dim=0, correction=0).mean() * features.shape[1] ** 0.5
    return spread


class StepLosses:
    """Computes the losses of a batch, and metrics to log."""

    def __init__(self, config: RunConfig, parts: Assembly, schedules: Schedules) -> None:
        self._network, self._teacher, self._objectives = parts.network, parts.teacher, parts.objectives
        self._wrapped_student = parts.student  # its ``forward``, which FSDP wraps, calls ``_network``
        self._autocast, self._micro_batch = parts.runtime.autocast, config.optim.micro_batch
        self._schedules, self._seed, self._self_confidence = schedules, config.seed, config.noise.self_confidence

    def __call__(self, batch: Batch, step: int) -> tuple[Losses, StepMetrics]:
        """The weighted losses of ``batch`` in ``step`` (from 1), and its metrics."""
        teacher = self._teacher if self._schedules.teacher.is_active(step) else None
        skips_teacher = self._teacher is not None and teacher is None  # this step does not use the run's teacher
        objectives = self._objectives.active(skips_teacher)
        objectives.begin_step(self._network, self._schedules.at(step))
        shared_seed = seed_of(self._seed, step, STEP_STREAM)
        seed_step(shared_seed, rank_seed=seed_of(self._seed, step, STEP_STREAM, 1 + rank()))

        with in_chunks(self._network, self._micro_batch), self._teacher_in_chunks():
            target = self._target(teacher, objectives, batch)
            output = with_pair_weights(self._wrapped_student(batch, objectives), self._self_confidence)

        losses: Losses = {}
        metrics: StepMetrics = {FEATURE_STD: feature_std(output.clean.image)} if len(batch.rows) > 1 else {}
        for objective in objectives:
            loss, diagnostics = objective(output, target)
            losses[objective.name] = objective.step_values.weight * loss
            metrics[f"train/{objective.name}"] = loss.detach()
            metrics.update(diagnostics)
        return losses, metrics

    def _target(self, teacher: Teacher | None, objectives: Objectives, batch: Batch) -> Output | None:
        """The teacher's outputs for ``batch``, without gradient; None if no objective reads them."""
        if teacher is None or not objectives.need_teacher:
            return None
        self._unshard_teacher()
        # Autocast caches cast weights. If one context covered both passes, the student's pass would reuse casts that
        # the teacher's pass made without gradient, and weights that both share would get no gradient.
        with self._autocast():
            return teacher.targets(batch, objectives.teacher_head_outputs)

    def _unshard_teacher(self) -> None:
        """Gather the teacher's sharded weights, and the student's if both share towers: the teacher reads them without
        calling the wrapped ``forward``, which would gather them.
        """
        networks = self._teacher.networks if self._teacher is not None else ()
        shared = any(network.towers is self._network.towers for network in networks)
        for module in (*networks, *((self._wrapped_student,) if shared else ())):
            unshard: Callable[[], object] | None = getattr(module, "unshard", None)
            if unshard is not None:
                unshard()

    @contextmanager
    def _teacher_in_chunks(self) -> Iterator[None]:
        with ExitStack() as stack:
            for network in self._teacher.networks if self._teacher is not None else ():
                if network.towers is not self._network.towers:
                    stack.enter_context(in_chunks(network, self._micro_batch))
            yield
