"""The schedules of a run as arrays by step, and the optimiser.

Flow: the loop calls ``build_schedules`` once; each step reads its learning rate, weight decay, momentum and objective
values by step number. One object contains all schedules, like DINOv3's ``build_schedulers``.

Steps are numbered from 1, and entry 0 is the value before the first step: N steps have N + 1 entries.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from core.model.network import Network
from core.objectives.parts.schedule import (
    ObjectiveSchedule,
    ObjectiveValues,
    Values,
    constant,
    cosine,
    objective_schedule,
    ramp,
    step_numbers,
)
from core.spec.config import OptimConfig, RunConfig, TeacherConfig, TeacherSchedule, teacher_schedule


@dataclass(frozen=True)
class Schedules:
    """The schedules of a run. (N + 1,) each."""

    total_steps: int
    teacher: TeacherSchedule  # the steps in which the teacher is active
    learning_rate: Values
    weight_decay: Values
    momentum: Values  # the share of the teacher kept in a step
    update_momentum: Values  # the share kept since the last update, for a teacher updated every few steps
    objectives: Mapping[str, ObjectiveSchedule]

    def updates_teacher(self, step: int) -> bool:
        """Whether the teacher is updated after ``step``: right before a step in which it is active, and at the end."""
        return (step + 1) % self.teacher.every == 0 or step == self.total_steps

    def at(self, step: int) -> dict[str, ObjectiveValues]:
        """The values of each objective in ``step`` (from 1)."""
        return {name: schedule.at(step) for name, schedule in self.objectives.items()}


def build_schedules(config: RunConfig, total_steps: int) -> Schedules:
    """The schedules of ``config`` over ``total_steps`` optimiser steps."""
    teacher, momentum = teacher_schedule(config), momenta(config.teacher, total_steps)
    return Schedules(
        total_steps=total_steps,
        teacher=teacher,
        learning_rate=learning_rates(config.optim, total_steps),
        weight_decay=constant(config.optim.weight_decay, total_steps),
        momentum=momentum,
        update_momentum=products_since_update(momentum, teacher.every),
        objectives={name: objective_schedule(objective, total_steps) for name, objective in config.objectives},
    )


def learning_rates(config: OptimConfig, total_steps: int) -> Values:
    """A linear warm-up to the peak, then a cosine towards 0 (Loshchilov and Hutter 2017, SGDR, with one cycle).

    Like open_clip's ``cosine_lr``: with w warm-up steps, step t <= w has t / w of the peak, and later steps have
    (1 + cos(pi (t - 1 - w) / (total - w))) / 2. The cosine counts completed steps, so that the last step has a positive
    rate.
    """
    steps, warmup = step_numbers(total_steps), round(config.warmup * total_steps)
    rising = ramp(steps / max(1, warmup), 1.0, 0.0, 1.0) if warmup else np.ones(total_steps + 1)
    falling = cosine((steps - 1 - warmup) / max(1, total_steps - warmup), 1.0, 0.0)
    return config.learning_rate * np.where(steps <= warmup, rising, falling)


def momenta(config: TeacherConfig, total_steps: int) -> Values:
    """The share of the teacher kept in each step, from m to the last momentum n; 1 for a frozen teacher.

    constant: m(t) = m. cosine: m(t) = n - (n - m) (cos(pi t / total) + 1) / 2 (DINO, Caron et al. 2021, with n = 1).
    linear: m(t) = m + (n - m) t / total. beta: see ``beta_momenta``. Warm-up replaces m(t) by
    min(1 - 1 / (t + 1), m(t)), the plain mean of the first steps (Mean Teacher).
    """
    if config.traits.exists and not config.traits.follows:
        return constant(1.0, total_steps)
    t = step_numbers(total_steps)
    progress = t / max(1, total_steps)
    if config.momentum_schedule == "beta":
        return beta_momenta(config.momentum_beta, total_steps)
    if config.momentum_schedule == "cosine":
        values = cosine(progress, config.momentum, config.momentum_end)
    elif config.momentum_schedule == "linear":
        values = ramp(progress, 1.0, config.momentum, config.momentum_end)
    else:
        values = constant(config.momentum, total_steps)
    if config.momentum_warmup:
        values = np.minimum(1.0 - 1.0 / np.maximum(1.0, t + 1), values)
    return values


def beta_momenta(b: float, total_steps: int) -> Values:
    """The momenta (T + 1,) for an average of the parameters over T steps, weighted by the density of Beta(b, b).

    The average includes the initial parameters. Those after step k are weighted by w_k = (x (1 - x))^(b - 1) with
    x = (k + 1/2) / (T + 1), so that m(t) = (w_0 + ... + w_{t-1}) / (w_0 + ... + w_t) (Beta moving average, as in
    TRACER).
    """
    x = (np.arange(total_steps + 1) + 0.5) / (total_steps + 1)
    weights = (x * (1.0 - x)) ** (b - 1.0)
    sums = np.cumsum(weights)
    return (sums - weights) / sums


def products_since_update(momentum: Values, interval: int) -> Values:
    """The products (N + 1,) of ``momentum`` (N + 1,) since the last update of a teacher that is updated once per
    ``interval`` steps.
    """
    products = momentum.copy()
    for step in range(2, len(products)):
        if step % interval != 0:  # otherwise the teacher was updated right before this step
            products[step] *= products[step - 1]
    return products


def build_optimizer(
    config: OptimConfig, network: Network, depths: Mapping[str, tuple[int, int]] | None = None
) -> torch.optim.AdamW:
    """AdamW (Loshchilov and Hutter 2019) with weight decay for matrices only.

    Like in open_clip, parameters with fewer than two dimensions (gains, biases, logit scale) are not decayed. With
    ``depths`` (parameter -> its depth and its tower's greatest depth) the rate of a parameter is multiplied by
    ``layer_decay ** (greatest - depth)`` (Clark et al. 2020, ELECTRA; Bao et al. 2022, BEiT).
    """
    groups: dict[tuple[float, bool], list[nn.Parameter]] = {}
    for name, parameter in network.trained_parameters():
        depth, greatest = depths[name] if depths is not None and config.layer_decay < 1.0 else (0, 0)
        key = (config.layer_decay ** (greatest - depth), parameter.ndim < 2)
        groups.setdefault(key, []).append(parameter)
    return torch.optim.AdamW(
        [
            {
                "params": groups[scale, no_decay],
                "weight_decay": 0.0 if no_decay else config.weight_decay,
                "scale": scale,
                "decays": not no_decay,
            }
            for scale, no_decay in sorted(groups, key=lambda key: (-key[0], key[1]))
        ],
        lr=config.learning_rate,
        betas=(config.beta1, config.beta2),
        eps=config.eps,
        fused=all(parameter.device.type in ("cpu", "cuda", "mps") for parameter in network.parameters()),
    )


def set_rates(optimizer: torch.optim.Optimizer, learning_rate: float, weight_decay: float) -> None:
    """Set the rate of each group to ``learning_rate`` times its scale, and the decay of decayed groups."""
    for group in optimizer.param_groups:
        group["lr"] = learning_rate * group.get("scale", 1.0)
        group["weight_decay"] = weight_decay if group["decays"] else 0.0
