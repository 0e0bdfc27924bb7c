"""Recommends settings for a number of pairs. No torch.

Flow: number of pairs -> ``recommendations`` -> shown next to the fields, and applied on request.

The numbers of prototypes and the momentum for small data sets are lightly-train's, for distillation on data sets of
these sizes. For language-supervised training, COSMOS uses a constant momentum: 0.999 with 1,024 pairs per batch and
0.99 with 4,096.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from core.spec.config import RunConfig

PROTOTYPES = ((20_000, 1024), (50_000, 2048), (100_000, 4096), (200_000, 16384))
MAX_PROTOTYPES = 65536
SMALL_DATA_PAIRS = 20_000  # up to this number of images, the recommended momentum is 0.99
EQUIVALENT_FACTOR = 2.25  # averaging lengths within this factor are equivalent; presets may choose any of them
MIN_AVERAGING_LENGTHS = 10  # minimum length of training, in averaging lengths of the teacher


@dataclass(frozen=True)
class Advice:
    """A recommended value for a dotted field, and the reason."""

    field: str
    value: float | int
    reason: str


def prototypes_for(pairs: int) -> int:
    """The recommended number of prototypes for a data set of ``pairs``."""
    return next((count for max_pairs, count in PROTOTYPES if pairs <= max_pairs), MAX_PROTOTYPES)


def momentum_for(config: RunConfig, pairs: int) -> float:
    """The recommended momentum for ``pairs``, from data size and batch size, limited by the length of training."""
    size = config.optim.batch_size
    by_size = 0.99 if pairs <= SMALL_DATA_PAIRS or size >= 4096 else 0.999
    steps = max(1, int(config.optim.epochs * (pairs // size)))
    longest = math.floor(1e4 * (1.0 - MIN_AVERAGING_LENGTHS / steps)) / 1e4
    return max(0.5, min(by_size, longest))


def _differs(momentum: float, advised: float) -> bool:
    """Whether the averaging lengths, 1 / (1 - momentum), differ by more than the factor `EQUIVALENT_FACTOR`."""
    ratio = (1.0 - momentum) / (1.0 - advised)
    return not 1.0 / EQUIVALENT_FACTOR <= ratio <= EQUIVALENT_FACTOR


def recommendations(config: RunConfig, pairs: int) -> list[Advice]:
    """Recommendations for settings of ``config`` that do not suit ``pairs`` pairs."""
    advice: list[Advice] = []
    count = prototypes_for(pairs)
    for name, objective in config.objectives:
        if objective.weight > 0 and objective.prototype_count() not in (0, count):
            reason = f"About {count:,} prototypes suit {pairs:,} images."
            advice.append(Advice(f"objectives.{name}.prototypes", count, reason))
    if config.teacher.traits.averages:
        momentum = momentum_for(config, pairs)
        if _differs(config.teacher.momentum, momentum):
            window = round(1.0 / (1.0 - momentum))
            reason = f"The teacher then averages over about {window:,} steps, which suits this length of training."
            advice.append(Advice("teacher.momentum", momentum, reason))
    return advice
