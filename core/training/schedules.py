"""What changes over a run by formula, computed once and read by step; and the optimiser that follows it.

Flow: the loop calls ``build_schedules`` once; each step reads its learning rate, weight decay, momentum and what each
objective counts by the number of the step. One object holds them all, as DINOv3's ``build_schedulers`` makes them, so
that everything is computed in one place.

Every array has an entry for each step, numbered from 1, and one before the first: N steps, N + 1 entries.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

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
from core.spec.config import (
    OptimConfig,
    RunConfig,
    TeacherConfig,
    Teaching,
    teaching,
)


@dataclass(frozen=True)
class Schedules:
    """All that changes by formula. (N + 1,) each."""

    total_steps: int
    teaching: Teaching  # the steps that the teacher teaches in
    learning_rate: Values
    weight_decay: Values
    momentum: Values  # the share of the teacher that survives a step
    followed: Values  # the share of it that survives the steps since it last followed, where it follows
    objectives: Mapping[str, ObjectiveSchedule]

    @property
    def rates(self) -> tuple[Values, Values, Values]:
        """Learning rate, weight decay and the teacher's momentum."""
        return self.learning_rate, self.weight_decay, self.momentum

    def follows(self, step: int) -> bool:
        """Whether the teacher follows the student after ``step``: once before each step that it teaches in, at last."""
        return (step + 1) % self.teaching.every == 0 or step == self.total_steps

    def progress(self, step: int) -> float:
        """How much of training is done after ``step``, 0 to 1."""
        return step / self.total_steps

    def at(self, step: int) -> dict[str, ObjectiveValues]:
        """What each objective goes by in ``step`` (the first is 1)."""
        return {name: schedule.at(step) for name, schedule in self.objectives.items()}


def build_schedules(config: RunConfig, total_steps: int) -> Schedules:
    """The schedules of ``config`` over ``total_steps`` optimiser steps."""
    plan, momentum = teaching(config), momenta(config.teacher, total_steps)
    return Schedules(
        total_steps=total_steps,
        teaching=plan,
        learning_rate=learning_rates(config.optim, total_steps),
        weight_decay=constant(config.optim.weight_decay, total_steps),
        momentum=momentum,
        followed=over_intervals(momentum, plan.every),
        objectives={name: objective_schedule(objective, total_steps) for name, objective in config.objectives},
    )


def learning_rates(config: OptimConfig, total_steps: int) -> Values:
    """A linear warm-up to the peak, then a cosine towards 0 (Loshchilov and Hutter 2017, SGDR, with one cycle).

    As in open_clip's ``cosine_lr``: with w steps of warm-up, step t <= w has t / w of the peak, and a later one
    (1 + cos(pi (t - 1 - w) / (total - w))) / 2. The cosine counts the steps that are done before this one, so that the
    last step still learns.
    """
    steps, warmup = step_numbers(total_steps), round(config.warmup * total_steps)
    rising = ramp(steps / max(1, warmup), 1.0, 0.0, 1.0) if warmup else np.ones(total_steps + 1)
    falling = cosine((steps - 1 - warmup) / max(1, total_steps - warmup), 1.0, 0.0)
    return config.learning_rate * np.where(steps <= warmup, rising, falling)


def momenta(config: TeacherConfig, total_steps: int) -> Values:
    """The share of the teacher that survives each step; all of it where the teacher is trained already.

    constant: m(t) = m. From m to the last momentum n, cosine: m(t) = n - (n - m) (cos(pi t / total) + 1) / 2 (DINO,
    Caron et al. 2021, with n = 1), linear: m(t) = m + (n - m) t / total. With warm-up, min(1 - 1 / (t + 1), m(t)):
    the plain mean of the first steps (Mean Teacher). beta: see ``beta_momenta``.
    """
    if not config.traits.follows and config.traits.exists:
        return constant(1.0, total_steps)
    t = step_numbers(total_steps)
    done = t / max(1, total_steps)
    if config.momentum_schedule == "beta":
        return beta_momenta(config.momentum_beta, total_steps)
    if config.momentum_schedule == "cosine":
        values = cosine(done, config.momentum, config.momentum_end)
    elif config.momentum_schedule == "linear":
        values = ramp(done, 1.0, config.momentum, config.momentum_end)
    else:
        values = constant(config.momentum, total_steps)
    if config.momentum_warmup:
        values = np.minimum(1.0 - 1.0 / np.maximum(1.0, t + 1), values)
    return values


def beta_momenta(b: float, total_steps: int) -> Values:
    """(N + 1,) The momenta of an average of the weights after each of T steps, initial ones included, that are
    weighted by the density of Beta(b, b).

    The weights after step k count w_k = (x (1 - x))^(b - 1) with x = (k + 1/2) / (T + 1), so that
    m(t) = (w_0 + ... + w_{t-1}) / (w_0 + ... + w_t) (Beta moving average, as in TRACER).
    """
    x = (np.arange(total_steps + 1) + 0.5) / (total_steps + 1)
    weights = (x * (1.0 - x)) ** (b - 1.0)
    sums = np.cumsum(weights)
    return (sums - weights) / sums


def over_intervals(momentum: Values, every: int) -> Values:
    """(N + 1,) What survives of a teacher that follows at once the steps up to each, from the last multiple of
    ``every`` on: the product of their ``momentum`` (N + 1,).
    """
    kept = momentum.copy()
    for step in range(2, len(kept) if every > 1 else 0):
        if step % every:
            kept[step] *= kept[step - 1]
    return kept


def build_optimizer(
    config: OptimConfig, network: nn.Module, depths: Mapping[str, tuple[int, int]] | None = None
) -> torch.optim.AdamW:
    """AdamW (Loshchilov and Hutter 2019) that decays matrices only.

    Gains, biases and the logit scale have fewer than two dimensions and are left alone, as open_clip leaves them. With
    ``depths`` (parameter -> its depth and the greatest one of its tower) the rate of a parameter is multiplied by
    ``layer_decay ** (greatest - depth)`` (Clark et al. 2020, ELECTRA; Bao et al. 2022, BEiT).
    """
    groups: dict[tuple[float, bool], list[nn.Parameter]] = {}
    for name, parameter in network.named_parameters():
        if parameter.requires_grad:
            depth, greatest = depths[name] if depths is not None and config.layer_decay < 1.0 else (0, 0)
            key = (config.layer_decay ** (greatest - depth), parameter.ndim < 2)
            groups.setdefault(key, []).append(parameter)
    return torch.optim.AdamW(
        [
            {
                "params": groups[scale, kept],
                "weight_decay": 0.0 if kept else config.weight_decay,
                "scale": scale,
                "decays": not kept,
            }
            for scale, kept in sorted(groups, key=lambda key: (-key[0], key[1]))
        ],
        lr=config.learning_rate,
        betas=(config.beta1, config.beta2),
        eps=config.eps,
        fused=all(parameter.device.type in ("cpu", "cuda", "mps") for parameter in network.parameters()),
    )


def set_rates(optimizer: torch.optim.Optimizer, learning_rate: float, weight_decay: float) -> None:
    """``learning_rate``, times the scale of each group of parameters, and ``weight_decay`` of those that decay."""
    for group in optimizer.param_groups:
        group["lr"] = learning_rate * group.get("scale", 1.0)
        group["weight_decay"] = weight_decay if group["decays"] else 0.0
