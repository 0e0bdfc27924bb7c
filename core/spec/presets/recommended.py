"""What suits a data set of a certain size: advice that the form or a preset may follow. No torch.

Flow: the number of pairs is known -> ``recommended`` -> shown beside the fields, applied by ``apply_recommended`` when
asked for.

The numbers of prototypes and the momentum on little data are those that lightly-train ships for distillation on data
sets of these sizes; for language-supervised training COSMOS holds the momentum at 0.999 with 1,024 pairs a batch and at
0.99 with 4,096.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from core.spec.config import RunConfig, override

PROTOTYPES = ((20_000, 1024), (50_000, 2048), (100_000, 4096), (200_000, 16384))
MOST_PROTOTYPES = 65536
SMALL = 20_000  # images; up to here the teacher starts at a momentum of 0.99
NEAR = 2.25  # within this factor one length of the average is as good as another: presets choose theirs there
WINDOWS = 10  # a training holds at least so many times the steps that the teacher averages over


@dataclass(frozen=True)
class Advice:
    """A value for a dotted field, and why."""

    field: str
    value: float | int
    reason: str


def prototypes_for(pairs: int) -> int:
    """How many prototypes a data set of ``pairs`` fills."""
    return next((count for most, count in PROTOTYPES if pairs <= most), MOST_PROTOTYPES)


def momentum_for(config: RunConfig, pairs: int) -> float:
    """The teacher's momentum for ``pairs``: by data size and batch, within what the length of training allows."""
    size = config.optim.batch_size
    wanted = 0.99 if pairs <= SMALL or size >= 4096 else 0.999
    steps = max(1, int(config.optim.epochs * (pairs // size)))
    longest = math.floor(1e4 * (1.0 - WINDOWS / steps)) / 1e4
    return max(0.5, min(wanted, longest))


def _far(momentum: float, wanted: float) -> bool:
    """Whether the teacher averages over so many more or fewer steps, 1 / (1 - momentum), that it matters."""
    ratio = (1.0 - momentum) / (1.0 - wanted)
    return not 1.0 / NEAR <= ratio <= NEAR


def recommended(config: RunConfig, pairs: int) -> list[Advice]:
    """Where ``config`` departs from what suits ``pairs`` pairs; empty when it fits."""
    found: list[Advice] = []
    count = prototypes_for(pairs)
    for name, objective in config.objectives:
        if objective.weight > 0 and objective.prototype_count() not in (0, count):
            reason = f"{pairs:,} images fill about {count:,} prototypes."
            found.append(Advice(f"objectives.{name}.prototypes", count, reason))
    if config.teacher.traits.averages:
        momentum = momentum_for(config, pairs)
        if _far(config.teacher.momentum, momentum):
            window = round(1.0 / (1.0 - momentum))
            reason = f"The teacher then averages over about {window:,} steps, which suits the length of this training."
            found.append(Advice("teacher.momentum", momentum, reason))
    return found


def apply_recommended(config: RunConfig, pairs: int) -> RunConfig:
    """``config`` with all of ``recommended`` applied."""
    return override(config, [f"{advice.field}={advice.value}" for advice in recommended(config, pairs)])
