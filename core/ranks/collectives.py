"""Collectives over the ranks of a run, with gradients: rows of all ranks, rows of others, sums and counts.

Flow: ``core.ranks.launch`` joins the process group of a run; losses and views call the functions here. In a single
process each returns its input.

Each rank has b rows of the global batch of B, with rank 0's rows first. Rule for losses: the *mean over ranks* of the
local losses is the loss of the global batch. A mean over b rows satisfies this; sums divided by a count that differs
between ranks (words, labelled rows, weights) use ``global_count_per_rank``. Gradients are averaged over ranks, as in
FSDP, and the gradient of ``all_gather_with_grad`` rows is summed over the ranks that read them, so that results equal
those of one process.

Legend: W ranks, b rows of this rank, B = W b rows of all ranks.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from core.ranks.transfer import to_device

# torch 2.13 renamed these collectives.
_all_gather: Any = getattr(dist, "all_gather_single", None) or getattr(dist, "all_gather_into_tensor", None)
_reduce_scatter: Any = getattr(dist, "reduce_scatter_single", None) or getattr(dist, "reduce_scatter_tensor", None)


def world_size() -> int:
    """The number of ranks W; 1 without a process group."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def rank() -> int:
    """The index of this process, from 0."""
    return dist.get_rank() if world_size() > 1 else 0


def first_row(rows: int) -> int:
    """The global index of this rank's first row, with ``rows`` rows per rank."""
    return rank() * rows


def all_gather_with_grad(x: Tensor, dim: int = 0) -> Tensor:
    """The rows of all ranks, with gradient: (b, ...) to (B, ...), or along ``dim``; b is the same on all ranks."""
    if world_size() == 1:
        return x
    if dim:
        return all_gather_with_grad(x.transpose(0, dim)).transpose(0, dim)
    if x.dtype == torch.bool:
        return _gather(x.to(torch.uint8)).bool()
    return _all_gather_with_grad(x) if x.is_floating_point() else _gather(x)


def _gather(x: Tensor) -> Tensor:
    all_rows = x.new_empty((world_size() * len(x), *x.shape[1:]))
    _all_gather(all_rows, x.detach().contiguous())
    return all_rows


class _AllGather(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return _gather(x)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        """The sum of all ranks' gradients for this rank's rows."""
        (gradient,) = gradients
        local = gradient.new_empty((len(gradient) // world_size(), *gradient.shape[1:]))
        _reduce_scatter(local, gradient.contiguous())
        return local


@torch.no_grad()
def sum_over_ranks(x: Tensor) -> Tensor:
    """The sum of ``x`` over ranks, without gradient."""
    return _all_reduce(x, dist.ReduceOp.SUM)


@torch.no_grad()
def max_over_ranks(x: Tensor) -> Tensor:
    """The element-wise maximum of ``x`` over ranks, without gradient."""
    return _all_reduce(x, dist.ReduceOp.MAX)


@torch.no_grad()
def mean_over_ranks(x: Tensor) -> Tensor:
    """The mean of ``x`` over ranks, without gradient."""
    return x if world_size() == 1 else sum_over_ranks(x) / world_size()


def _all_reduce(x: Tensor, operation: Any) -> Tensor:
    if world_size() == 1:
        return x
    result = x.detach().clone(memory_format=torch.contiguous_format)
    dist.all_reduce(result, op=operation)
    return result


def global_count_per_rank(count: Tensor, minimum: float = 1.0) -> Tensor:
    """The global count divided by the number of ranks: if each rank divides its local sum by this number, the mean over
    ranks is the global mean.

    ``count``: the local count, a scalar. The global count is clamped to at least ``minimum``.
    """
    if world_size() == 1:
        return count.clamp(min=minimum)
    return sum_over_ranks(count.float()).clamp(min=minimum) / world_size()


def global_count_per_rank_of(count: int, device: torch.device) -> Tensor | float:
    """The same as ``global_count_per_rank``, for a count that is known on the host."""
    if world_size() == 1:
        return max(1, count)
    return global_count_per_rank(torch.full((), float(count), device=device))


def overall_mean(values: Tensor) -> Tensor:
    """A local mean of ``values`` (n,) whose mean over ranks is the mean of all values, even if n differs between ranks.

    Without values the result is 0 on several ranks, and NaN in one process, like torch's mean.
    """
    if world_size() == 1:
        return values.mean()
    return values.sum() / global_count_per_rank_of(values.numel(), values.device)


@torch.no_grad()
def logsumexp_of_rows(x: Tensor) -> Tensor:
    """logsumexp over the rows of all ranks: (n, K) to (K,); n may differ between ranks."""
    if world_size() == 1:
        return x.logsumexp(dim=0)
    highest = max_over_ranks(x.amax(dim=0) if len(x) else x.new_full(x.shape[1:], -torch.inf))
    highest = torch.where(highest.isfinite(), highest, 0.0)
    return sum_over_ranks((x - highest).exp().sum(dim=0)).log() + highest


def fetch_rows(x: Tensor, requested: Sequence[Tensor], counts: Sequence[int] | None = None) -> Tensor:
    """Global rows (m, ...) of the ``x`` (b, ...) of all ranks, with gradient.

    ``requested`` lists the global row indices (m,) that each rank needs, on the CPU. Every rank passes the whole list,
    so that no indices are exchanged, only rows. ``counts``: the number of rows of each rank, if they differ.
    """
    if world_size() == 1:
        return x[requested[0]]
    if x.dtype == torch.bool:
        return fetch_rows(x.to(torch.uint8), requested, counts).bool()
    counts = [len(x)] * world_size() if counts is None else counts
    plan = _ExchangePlan(requested, counts)
    if plan.is_local:
        return x[requested[rank()] - plan.start]
    return _exchange_with_grad(x, plan)


class _ExchangePlan:
    """The exchange of rows: which local rows go to which rank, and the ``positions`` of the received rows."""

    def __init__(self, requested: Sequence[Tensor], counts: Sequence[int]) -> None:
        ends = torch.tensor(counts).cumsum(0)
        self.start = int(ends[rank()]) - counts[rank()]
        owners = [torch.bucketize(rows, ends, right=True) for rows in requested]
        self.is_local = all(bool((owner == r).all()) for r, owner in enumerate(owners))
        by_rank = [rows[owner == rank()] - self.start for rows, owner in zip(requested, owners, strict=True)]
        self.send_rows, self.send_counts = torch.cat(by_rank), [len(rows) for rows in by_rank]
        sources = owners[rank()]
        self.positions = sources.argsort(stable=True)
        self.receive_counts = [int((sources == r).sum()) for r in range(world_size())]

    def move_to(self, device: torch.device) -> None:
        """Move the indices to ``device``, for forward and backward."""
        self.send_rows, self.positions = to_device(self.send_rows, device), to_device(self.positions, device)


class _Exchange(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, plan: _ExchangePlan) -> Tensor:
        ctx.plan, ctx.count = plan, len(x)
        plan.move_to(x.device)
        received = _all_to_all(x[plan.send_rows], plan.send_counts, plan.receive_counts)
        out = torch.empty_like(received)
        out[plan.positions] = received
        return out

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        (gradient,) = gradients
        plan: _ExchangePlan = ctx.plan
        received = _all_to_all(gradient[plan.positions], plan.receive_counts, plan.send_counts)
        local = gradient.new_zeros((ctx.count, *gradient.shape[1:]))
        return local.index_add_(0, plan.send_rows, received), None


def _all_to_all(rows: Tensor, send_counts: Sequence[int], receive_counts: Sequence[int]) -> Tensor:
    """Send the first ``send_counts[0]`` of ``rows`` to rank 0, and so on; return the received rows by source rank."""
    out = rows.new_empty((sum(receive_counts), *rows.shape[1:]))
    dist.all_to_all_single(out, rows.contiguous(), list(receive_counts), list(send_counts))
    return out


_all_gather_with_grad: Callable[[Tensor], Tensor] = _AllGather.apply
_exchange_with_grad: Callable[[Tensor, _ExchangePlan], Tensor] = _Exchange.apply
