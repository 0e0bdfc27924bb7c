"""Memory-efficient losses over a large vocabulary, computed in blocks of rows.

Flow: ``core.objectives.captioning`` passes the logits of all words of a batch. torch's own losses make five or more
float32 copies of the logits, which, with a large vocabulary, are the largest tensors of a step. These functions compute
losses and gradient block by block, while a block is in cache, and store only the gradient, in the logits' precision.

Legend: N words, V vocabulary, n words of a block.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

_BLOCK_NUMEL = {"cpu": 2**20}  # a CPU's cache holds a few such blocks
_DEVICE_BLOCK_NUMEL = 2**26  # for other devices


def word_cross_entropy(logits: Tensor, labels: Tensor, smoothing: float = 0.0) -> tuple[Tensor, Tensor]:
    """The cross-entropy of each word, (N,) float32, and whether the prediction is correct, (N,) bool.

    ``logits`` (N, V), ``labels`` (N,) int64. With smoothing e, the target is 1 - e for the label plus e / V everywhere.
    """
    return _cross_entropy(logits, labels, smoothing)


def word_kl(logits: Tensor, teacher_logits: Tensor, temperature: float = 1.0) -> tuple[Tensor, Tensor]:
    """KL(q || p) of each word, and the entropy of q, in nats: (N,) float32 each.

    p and q are the softmax of ``logits`` / temperature and ``teacher_logits`` / temperature, (N, V) each; the teacher's
    logits get no gradient.
    """
    return _kl(logits, teacher_logits, temperature)


class _WordCrossEntropy(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, logits: Tensor, labels: Tensor, smoothing: float) -> tuple[Tensor, Tensor]:
        losses = logits.new_empty(len(logits), dtype=torch.float32)
        is_correct = torch.empty_like(labels, dtype=torch.bool)
        ctx.gradient = torch.empty_like(logits) if ctx.needs_input_grad[0] else None
        for rows in _blocks(logits):
            log_p = logits[rows].float().log_softmax(dim=-1)  # (n, V)
            targets = labels[rows, None]  # (n, 1)
            target_log_p = log_p.gather(1, targets)[:, 0]
            losses[rows] = (
                -target_log_p if smoothing == 0 else -(1 - smoothing) * target_log_p - smoothing * log_p.mean(dim=-1)
            )
            is_correct[rows] = log_p.argmax(dim=-1) == labels[rows]
            if ctx.gradient is not None:  # p minus the target
                gradient = log_p.exp_().sub_(smoothing / log_p.shape[1]) if smoothing else log_p.exp_()
                ctx.gradient[rows] = gradient.scatter_add_(
                    1, targets, torch.full_like(target_log_p, smoothing - 1.0)[:, None]
                )
        ctx.mark_non_differentiable(is_correct)
        return losses, is_correct

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        return _scale(ctx.gradient, gradients[0]), None, None


class _WordKL(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, logits: Tensor, teacher_logits: Tensor, temperature: float) -> tuple[Tensor, Tensor]:
        kl, entropy = (logits.new_empty(len(logits), dtype=torch.float32) for _ in range(2))
        ctx.gradient = torch.empty_like(logits) if ctx.needs_input_grad[0] else None
        for rows in _blocks(logits):
            log_p, log_q = (_log_softmax(x[rows], temperature) for x in (logits, teacher_logits))  # (n, V)
            q = log_q.exp()
            entropy[rows] = -(q * log_q).sum(dim=-1)
            kl[rows] = F.kl_div(log_p, log_q, reduction="none", log_target=True).sum(dim=-1)
            if ctx.gradient is not None:
                ctx.gradient[rows] = log_p.exp_().sub_(q).div_(temperature)
        ctx.mark_non_differentiable(entropy)
        return kl, entropy

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        return _scale(ctx.gradient, gradients[0]), None, None


_TwoOutputs = Callable[..., tuple[Tensor, Tensor]]
_cross_entropy: _TwoOutputs = _WordCrossEntropy.apply
_kl: _TwoOutputs = _WordKL.apply


def _log_softmax(logits: Tensor, temperature: float) -> Tensor:
    logits = logits.float()
    return (logits if temperature == 1 else logits / temperature).log_softmax(dim=-1)


def _scale(gradient: Tensor, loss_gradient: Tensor) -> Tensor:
    """``gradient`` of the losses with respect to the logits, times the gradient (N,) of each word's loss."""
    return gradient * loss_gradient[:, None].to(gradient.dtype)


def _blocks(logits: Tensor) -> Iterator[slice]:
    """Slices of rows whose logits fit the block size."""
    size = max(1, _BLOCK_NUMEL.get(logits.device.type, _DEVICE_BLOCK_NUMEL) // max(1, logits.shape[1]))
    return (slice(start, start + size) for start in range(0, len(logits), size))
