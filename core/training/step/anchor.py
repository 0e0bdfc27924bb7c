"""Decay towards the weights that training starts from, instead of towards 0.

Flow: the loop builds the anchor before it loads a checkpoint, and calls ``pull`` after each step of the optimiser.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from core.ranks.tensors import local


class Anchor:
    """L2-SP (Li et al. 2018), decoupled from the gradient like AdamW's decay: ``w -= rate * strength * (w - w_0)``."""

    def __init__(self, network: nn.Module, strength: float) -> None:
        """Copies the trainable parameters of ``network``, unless ``strength`` is 0."""
        trainable = [parameter for parameter in network.parameters() if parameter.requires_grad] if strength else []
        self._strength = strength
        self._initial = {parameter: parameter.detach().clone() for parameter in trainable}

    @torch.no_grad()
    def pull(self, optimizer: torch.optim.Optimizer, skipped: Tensor) -> None:
        """Pull the parameters of ``optimizer`` towards their initial values, unless the step was ``skipped`` (1.0)."""
        for group in optimizer.param_groups if self._initial else ():
            share = group["lr"] * self._strength * (1.0 - skipped)
            for parameter in group["params"]:
                shard = local(parameter)  # the part of this rank
                shard.lerp_(local(self._initial[parameter]), share.to(shard.dtype))
