"""The schedules of an objective: weight, alpha, temperature and frozen prototypes, as arrays indexed by step.

Flow: ``core.training.schedules`` calls ``objective_schedule`` once; ``Objectives.begin_step`` gets the values of each
step.

Steps are numbered from 1, and entry 0 is the value before the first step: N steps have N + 1 entries.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from core.spec.config import ObjectiveConfig

_MIN_RAMP = 1e-200  # share of training; shorter ramps are skipped

Values = npt.NDArray[np.float64]


@dataclass(frozen=True)
class ObjectiveValues:
    """The scheduled values of an objective in one step."""

    weight: float
    alpha: float = 1.0  # the teacher's share of the target
    teacher_temperature: float = 1.0
    frozen: bool = False  # whether the prototypes are frozen


@dataclass(frozen=True)
class ObjectiveSchedule:
    """The values of every step of a run. (N + 1,) each."""

    weight: Values
    alpha: Values
    teacher_temperature: Values
    frozen: npt.NDArray[np.bool_]

    def at(self, step: int) -> ObjectiveValues:
        """The values in ``step`` (from 1)."""
        return ObjectiveValues(
            float(self.weight[step]),
            float(self.alpha[step]),
            float(self.teacher_temperature[step]),
            bool(self.frozen[step]),
        )


def objective_schedule(config: ObjectiveConfig, total_steps: int) -> ObjectiveSchedule:
    """The schedule of one objective over ``total_steps``.

    With t the completed share of the ramp, the weight is multiplied by t (linear) or exp(-5 (1 - t)^2) (sigmoid; Laine
    and Aila 2017). Alpha rises linearly from 0; the teacher's temperature changes linearly from its first value.
    """
    progress = step_numbers(total_steps) / total_steps
    weight_ramp = config.weight_ramp()
    ramped = ramp(progress, weight_ramp.share, 0.0, 1.0)
    alpha, temperature = config.alpha_over_training(), config.temperature_over_training()
    frozen = (progress <= config.frozen_share()) & (config.frozen_share() > 0)
    weight = config.weight * (np.exp(-5.0 * (1.0 - ramped) ** 2) if weight_ramp.sigmoid else ramped)
    return ObjectiveSchedule(
        weight,
        ramp(progress, alpha.share, alpha.first, alpha.last),
        ramp(progress, temperature.share, temperature.first, temperature.last),
        frozen,
    )


def ramp(progress: Values, share: float, first: float, last: float) -> Values:
    """Linear from ``first`` at progress 0 to ``last`` at ``share``, then constant; without a ramp always ``last``."""
    if share <= 0:
        return np.broadcast_to(np.float64(last), progress.shape)
    if share < _MIN_RAMP:  # the product below would underflow
        return np.where(progress > 0, last, first)
    return first + (last - first) * np.clip(progress, 0.0, share) / share


def cosine(progress: Values, first: float, last: float) -> Values:
    """Half a cosine from ``first`` at progress 0 to ``last`` at 1."""
    return last + (first - last) * (1.0 + np.cos(np.pi * np.clip(progress, 0.0, 1.0))) / 2.0


def step_numbers(total_steps: int) -> Values:
    return np.arange(total_steps + 1, dtype=np.float64)


def constant(value: float, total_steps: int) -> Values:
    return np.broadcast_to(np.float64(value), (total_steps + 1,))
