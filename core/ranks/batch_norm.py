"""Batch norm over the rows of all ranks, so that a network learns what it would in one process.

Legend: N rows, C channels.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from core.ranks.collectives import gathered, size

_PLAIN = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)


class RankBatchNorm(_BatchNorm):
    """Batch norm whose statistics in training are those of all ranks (torch's SyncBatchNorm, on any device)."""

    def _check_input_dim(self, input: Tensor) -> None:
        """Any number of dimensions will do."""

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, ...) to the same, each rank with rows of any number."""
        if not self.training or size() == 1:
            return super().forward(x)
        with torch.autocast(x.device.type, enabled=False):
            given, x = x.dtype, x.float()
            others = [dim for dim in range(x.ndim) if dim != 1]
            shape = [-1 if dim == 1 else 1 for dim in range(x.ndim)]
            count = x.new_full((1,), x.numel() / x.shape[1])
            sums = gathered(torch.cat([x.sum(others), count])[None]).sum(dim=0)  # (C + 1,)
            n = sums[-1].detach()
            mean = sums[:-1] / n
            centred = x - mean.view(shape)
            variance = gathered((centred**2).sum(others)[None]).sum(dim=0) / n
            self._follow(mean.detach(), variance.detach(), n)
            y = centred * (variance + self.eps).rsqrt().view(shape)
            if self.weight is not None:
                y = y * self.weight.view(shape) + self.bias.view(shape)
            return y.to(given)

    @torch.no_grad()
    def _follow(self, mean: Tensor, variance: Tensor, n: Tensor) -> None:
        """Move the running statistics as torch's batch norm does."""
        if self.running_mean is None or self.running_var is None or self.num_batches_tracked is None:
            return
        self.num_batches_tracked.add_(1)
        share = self.momentum if self.momentum is not None else 1.0 / float(self.num_batches_tracked)
        self.running_mean.lerp_(mean, share)
        self.running_var.lerp_(variance * n / (n - 1).clamp(min=1), share)


def synchronise_batch_norms(module: nn.Module) -> list[str]:
    """Replace the batch norms in ``module`` by those of all ranks, with their parameters, buffers and names.

    Returns the names of those of another kind, which are left as they are.
    """
    left = []
    for name, child in list(module.named_modules()):
        if type(child) in _PLAIN:
            parent, _, last = name.rpartition(".")
            setattr(module.get_submodule(parent), last, _replacement(child))
        elif isinstance(child, _BatchNorm) and not isinstance(child, RankBatchNorm):
            left.append(name)
    return left


def _replacement(norm: nn.Module) -> RankBatchNorm:
    assert isinstance(norm, _BatchNorm)
    new = RankBatchNorm(norm.num_features, norm.eps, norm.momentum, norm.affine, norm.track_running_stats)
    new.weight, new.bias = norm.weight, norm.bias
    for name, buffer in norm.named_buffers(recurse=False):
        setattr(new, name, buffer)
    return new.train(norm.training)
