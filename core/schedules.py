"""What changes over a run by formula: the learning rate, and the parameters that weight decay touches."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import nn

from core.config import OptimConfig


def learning_rate(config: OptimConfig, step: int, total_steps: int) -> float:
    """Rate of optimiser step ``step`` (the first is 1): linear warm-up to the peak, then a cosine to 0.

    Loshchilov and Hutter 2017, SGDR, with one cycle.
    """
    warmup = round(config.warmup * total_steps)
    if step <= warmup:
        return config.learning_rate * step / warmup
    progress = (step - warmup) / max(1, total_steps - warmup)
    return config.learning_rate * 0.5 * (1.0 + math.cos(math.pi * progress))


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
            {"params": groups[scale, kept], "weight_decay": 0.0 if kept else config.weight_decay, "scale": scale}
            for scale, kept in sorted(groups, key=lambda key: (-key[0], key[1]))
        ],
        lr=config.learning_rate,
        betas=(config.beta1, config.beta2),
        eps=config.eps,
        fused=all(parameter.device.type in ("cpu", "cuda", "mps") for parameter in network.parameters()),
    )


def set_learning_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """``rate``, times the scale of each group of parameters."""
    for group in optimizer.param_groups:
        group["lr"] = rate * group.get("scale", 1.0)
