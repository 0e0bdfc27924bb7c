"""What changes over a run by formula: the learning rate, and the parameters that weight decay touches."""

from __future__ import annotations

import math

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


def build_optimizer(config: OptimConfig, network: nn.Module) -> torch.optim.AdamW:
    """AdamW (Loshchilov and Hutter 2019) that decays matrices only.

    Gains, biases and the logit scale have fewer than two dimensions and are left alone, as open_clip leaves them.
    """
    decayed: list[nn.Parameter] = []
    kept: list[nn.Parameter] = []
    for parameter in network.parameters():
        if parameter.requires_grad:
            (decayed if parameter.ndim >= 2 else kept).append(parameter)
    groups = [{"params": decayed, "weight_decay": config.weight_decay}, {"params": kept, "weight_decay": 0.0}]
    return torch.optim.AdamW(
        [group for group in groups if group["params"]],
        lr=config.learning_rate,
        betas=(config.beta1, config.beta2),
        eps=config.eps,
        fused=all(parameter.device.type in ("cpu", "cuda", "mps") for parameter in network.parameters()),
    )


def set_learning_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    for group in optimizer.param_groups:
        group["lr"] = rate
