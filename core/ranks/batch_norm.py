"""Batch norm over the rows of all ranks, so that training on several ranks equals training in one process.

Legend: N rows, C channels.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from core.ranks.collectives import all_gather_with_grad, world_size

_REPLACED_TYPES = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)


class RankBatchNorm(_BatchNorm):
    """Batch norm with training statistics over all ranks (torch's SyncBatchNorm, on any device)."""

    def _check_input_dim(self, input: Tensor) -> None:
        """Accept any number of dimensions."""

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, ...) to the same shape; ranks may have different numbers of rows."""
        if not self.training or world_size() == 1:
            return super().forward(x)
        with torch.autocast(x.device.type, enabled=False):
            dtype, x = x.dtype, x.float()
            reduced_dims = [dim for dim in range(x.ndim) if dim != 1]
            shape = [-1 if dim == 1 else 1 for dim in range(x.ndim)]
            count = x.new_full((1,), x.numel() / x.shape[1])
            sums = all_gather_with_grad(torch.cat([x.sum(reduced_dims), count])[None]).sum(dim=0)  # (C + 1,)
            n = sums[-1].detach()
            mean = sums[:-1] / n
            centred = x - mean.view(shape)
            variance = all_gather_with_grad((centred**2).sum(reduced_dims)[None]).sum(dim=0) / n
            self._update_running_statistics(mean.detach(), variance.detach(), n)
            y = centred * (variance + self.eps).rsqrt().view(shape)
            if self.weight is not None:
                y = y * self.weight.view(shape) + self.bias.view(shape)
            return y.to(dtype)

    @torch.no_grad()
    def _update_running_statistics(self, mean: Tensor, variance: Tensor, n: Tensor) -> None:
        """Update the running statistics in the same way as torch's batch norm."""
        if self.running_mean is None or self.running_var is None or self.num_batches_tracked is None:
            return
        self.num_batches_tracked.add_(1)
        share = self.momentum if self.momentum is not None else 1.0 / float(self.num_batches_tracked)
        self.running_mean.lerp_(mean, share)
        self.running_var.lerp_(variance * n / (n - 1).clamp(min=1), share)


def synchronise_batch_norms(module: nn.Module) -> list[str]:
    """Replace the batch norms in ``module`` by RankBatchNorms with the same parameters, buffers and names.

    Returns the names of batch norms of other types, which are unchanged.
    """
    unchanged = []
    for name, child in list(module.named_modules()):
        if type(child) in _REPLACED_TYPES:
            parent, _, last = name.rpartition(".")
            setattr(module.get_submodule(parent), last, _replacement(child))
        elif isinstance(child, _BatchNorm) and not isinstance(child, RankBatchNorm):
            unchanged.append(name)
    return unchanged


def _replacement(norm: nn.Module) -> RankBatchNorm:
    assert isinstance(norm, _BatchNorm)
    new = RankBatchNorm(norm.num_features, norm.eps, norm.momentum, norm.affine, norm.track_running_stats)
    new.weight, new.bias = norm.weight, norm.bias
    for name, buffer in norm.named_buffers(recurse=False):
        setattr(new, name, buffer)
    return new.train(norm.training)
