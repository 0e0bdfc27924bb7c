"""Losses of words over a whole vocabulary, some rows at a time.

Flow: ``core.objectives.captioning`` has the logits of all words of a batch. The usual losses make five or more copies
of them in float32, which a large vocabulary makes the largest tensors of a step; here each block of rows is turned
into its losses and its gradient while it is near, and only that gradient is kept, in the precision of the logits.

Legend: N words, V vocabulary, n words of a block.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

_NEAR = {"cpu": 2**20}  # numbers of a block: a CPU's cache holds some such blocks
_FAR = 2**26  # elsewhere


def hard_words(logits: Tensor, labels: Tensor, smoothing: float = 0.0) -> tuple[Tensor, Tensor]:
    """Cross-entropy of each word, and whether it is the likeliest: (N,) float32 and (N,) bool.

    ``logits`` (N, V), ``labels`` (N,) int64. With smoothing e a word's target is 1 - e, and e / V besides for each.
    """
    return _hard(logits, labels, smoothing)


def soft_words(logits: Tensor, taught: Tensor, temperature: float = 1.0) -> tuple[Tensor, Tensor]:
    """KL(q || p) of each word and the entropy of its q, in nats: (N,) float32 each.

    p is the softmax of ``logits`` (N, V) / temperature, q that of the teacher's ``taught`` (N, V), which gets no
    gradient.
    """
    return _soft(logits, taught, temperature)


class _Hard(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, logits: Tensor, labels: Tensor, smoothing: float) -> tuple[Tensor, Tensor]:
        losses = logits.new_empty(len(logits), dtype=torch.float32)
        right = torch.empty_like(labels, dtype=torch.bool)
        ctx.slope = torch.empty_like(logits) if ctx.needs_input_grad[0] else None
        for rows in _blocks(logits):
            chances = logits[rows].float().log_softmax(dim=-1)  # (n, V)
            wanted = labels[rows, None]  # (n, 1)
            own = chances.gather(1, wanted)[:, 0]
            losses[rows] = -own if smoothing == 0 else -(1 - smoothing) * own - smoothing * chances.mean(dim=-1)
            right[rows] = chances.argmax(dim=-1) == labels[rows]
            if ctx.slope is not None:  # p minus the target
                slope = chances.exp_().sub_(smoothing / chances.shape[1]) if smoothing else chances.exp_()
                ctx.slope[rows] = slope.scatter_add_(1, wanted, torch.full_like(own, smoothing - 1.0)[:, None])
        ctx.mark_non_differentiable(right)
        return losses, right

    @staticmethod
    def backward(ctx: Any, *given: Tensor) -> tuple[Tensor, None, None]:
        return _scaled(ctx.slope, given[0]), None, None


class _Soft(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, logits: Tensor, taught: Tensor, temperature: float) -> tuple[Tensor, Tensor]:
        kl, entropy = (logits.new_empty(len(logits), dtype=torch.float32) for _ in range(2))
        ctx.slope = torch.empty_like(logits) if ctx.needs_input_grad[0] else None
        for rows in _blocks(logits):
            log_p, log_q = (_softened(x[rows], temperature) for x in (logits, taught))  # (n, V)
            q = log_q.exp()
            entropy[rows] = -(q * log_q).sum(dim=-1)
            kl[rows] = F.kl_div(log_p, log_q, reduction="none", log_target=True).sum(dim=-1)
            if ctx.slope is not None:
                ctx.slope[rows] = log_p.exp_().sub_(q).div_(temperature)
        ctx.mark_non_differentiable(entropy)
        return kl, entropy

    @staticmethod
    def backward(ctx: Any, *given: Tensor) -> tuple[Tensor, None, None]:
        return _scaled(ctx.slope, given[0]), None, None


_Two = Callable[..., tuple[Tensor, Tensor]]
_hard: _Two = _Hard.apply
_soft: _Two = _Soft.apply


def _softened(logits: Tensor, temperature: float) -> Tensor:
    logits = logits.float()
    return (logits if temperature == 1 else logits / temperature).log_softmax(dim=-1)


def _scaled(slope: Tensor, given: Tensor) -> Tensor:
    """The gradient of the logits, from that of each word's loss (N,)."""
    return slope * given[:, None].to(slope.dtype)


def _blocks(logits: Tensor) -> Iterator[slice]:
    """Slices of rows, each of about as many numbers as are quickly at hand."""
    size = max(1, _NEAR.get(logits.device.type, _FAR) // max(1, logits.shape[1]))
    return (slice(start, start + size) for start in range(0, len(logits), size))
