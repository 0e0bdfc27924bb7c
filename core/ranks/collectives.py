"""What the ranks of a run exchange, with its gradient: rows of all, rows of others, sums and counts.

Flow: ``core.ranks.launch`` joins the process group of a run; losses, views and the belief call the functions here. In
a program of one process each gives back what it was given, so that nothing there depends on them.

Each rank has b rows of the global batch of B, those of rank 0 first. The rule for a loss: what a rank computes is such
that the *mean over ranks* is the loss of the global batch. A mean over b rows is so already; whatever is divided by a
count that differs (words, labelled rows, weights) takes it from ``divisor``. Gradients then are means over ranks, as
FSDP's are, and that of what was ``gathered`` is summed over the ranks that read it: exact, as if one process had all.

Legend: W ranks, b rows of this one, B = W b rows of all.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from core.ranks.transfer import sent

# As torch calls them from 2.13 on, and before.
_all_gather: Any = getattr(dist, "all_gather_single", None) or getattr(dist, "all_gather_into_tensor", None)
_reduce_scatter: Any = getattr(dist, "reduce_scatter_single", None) or getattr(dist, "reduce_scatter_tensor", None)


def size() -> int:
    """W, the number of ranks; 1 in a program of its own."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def rank() -> int:
    """The number of this process, from 0."""
    return dist.get_rank() if size() > 1 else 0


def first_row(rows: int) -> int:
    """Where this rank's ``rows`` begin among those of all."""
    return rank() * rows


def gathered(x: Tensor, dim: int = 0) -> Tensor:
    """The rows of all ranks: (b, ...) to (B, ...), or along ``dim``; each rank gives as many."""
    if size() == 1:
        return x
    if dim:
        return gathered(x.transpose(0, dim)).transpose(0, dim)
    if x.dtype == torch.bool:
        return _gather(x.to(torch.uint8)).bool()
    return _with_gradient(x) if x.is_floating_point() else _gather(x)


def _gather(x: Tensor) -> Tensor:
    every = x.new_empty((size() * len(x), *x.shape[1:]))
    _all_gather(every, x.detach().contiguous())
    return every


class _Gathered(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return _gather(x)

    @staticmethod
    def backward(ctx: Any, *given: Tensor) -> Tensor:
        """The gradients that all ranks have for this one's rows, summed."""
        (slope,) = given
        own = slope.new_empty((len(slope) // size(), *slope.shape[1:]))
        _reduce_scatter(own, slope.contiguous())
        return own


@torch.no_grad()
def total(x: Tensor) -> Tensor:
    """The sum of ``x`` over ranks, without gradient."""
    return _reduced(x, dist.ReduceOp.SUM)


@torch.no_grad()
def greatest(x: Tensor) -> Tensor:
    """The greatest of each element over ranks, without gradient."""
    return _reduced(x, dist.ReduceOp.MAX)


@torch.no_grad()
def mean_over_ranks(x: Tensor) -> Tensor:
    """The mean of ``x`` over ranks, without gradient."""
    return x if size() == 1 else total(x) / size()


def _reduced(x: Tensor, how: Any) -> Tensor:
    if size() == 1:
        return x
    every = x.detach().clone(memory_format=torch.contiguous_format)
    dist.all_reduce(every, op=how)
    return every


def divisor(count: Tensor, least: float = 1.0) -> Tensor:
    """What a rank divides a sum over its own by: the mean over ranks is the sum of all over the ``count`` of all.

    ``count``: this rank's, a scalar; that of all is taken as ``least`` at least.
    """
    if size() == 1:
        return count.clamp(min=least)
    return total(count.float()).clamp(min=least) / size()


def divisor_of(count: int, device: torch.device) -> Tensor | float:
    """As ``divisor``, of a number that the host knows."""
    if size() == 1:
        return max(1, count)
    return divisor(torch.full((), float(count), device=device))


def overall_mean(values: Tensor) -> Tensor:
    """The mean of ``values`` (n,), where each rank may have another n: the mean over ranks is that of all values.

    Without any value at all it is 0 on several ranks, and NaN in one process, as torch's.
    """
    if size() == 1:
        return values.mean()
    return values.sum() / divisor_of(values.numel(), values.device)


@torch.no_grad()
def logsumexp_of_rows(x: Tensor) -> Tensor:
    """logsumexp over the rows of all ranks: (n, K) to (K,), each rank with rows of its own number."""
    if size() == 1:
        return x.logsumexp(dim=0)
    highest = greatest(x.amax(dim=0) if len(x) else x.new_full(x.shape[1:], -torch.inf))
    highest = torch.where(highest.isfinite(), highest, 0.0)
    return total((x - highest).exp().sum(dim=0)).log() + highest


def taken(x: Tensor, wanted: Sequence[Tensor], counts: Sequence[int] | None = None) -> Tensor:
    """Rows of other ranks, with gradient: of ``x`` (b, ...) of all ranks those that this one wants, (m, ...).

    ``wanted``: for each rank, in its order, the numbers (m,) among the B rows that it wants; every rank knows them all,
    so that nothing but rows is sent. On the CPU. ``counts``: the rows of each rank, where they differ.
    """
    if size() == 1:
        return x[wanted[0]]
    if x.dtype == torch.bool:
        return taken(x.to(torch.uint8), wanted, counts).bool()
    counts = [len(x)] * size() if counts is None else counts
    plan = _Plan(wanted, counts)
    if plan.local:
        return x[wanted[rank()] - plan.start]
    return _taken(x, plan)


class _Plan:
    """Which rows go where: ``given[s]`` rows of this rank's to rank s; what comes belongs at ``places``."""

    def __init__(self, wanted: Sequence[Tensor], counts: Sequence[int]) -> None:
        ends = torch.tensor(counts).cumsum(0)
        self.start = int(ends[rank()]) - counts[rank()]
        owners = [torch.bucketize(rows, ends, right=True) for rows in wanted]
        self.local = all(bool((owner == one).all()) for one, owner in enumerate(owners))
        given = [rows[owner == rank()] - self.start for rows, owner in zip(wanted, owners, strict=True)]
        self.sent, self.sizes = torch.cat(given), [len(rows) for rows in given]
        mine = owners[rank()]
        self.places = mine.argsort(stable=True)
        self.received = [int((mine == one).sum()) for one in range(size())]

    def go_to(self, device: torch.device) -> None:
        """Have the numbers of rows on ``device``, for this way and for the gradient's way back."""
        self.sent, self.places = sent(self.sent, device), sent(self.places, device)


class _Taken(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, plan: _Plan) -> Tensor:
        ctx.plan, ctx.count = plan, len(x)
        plan.go_to(x.device)
        came = _exchange(x[plan.sent], plan.sizes, plan.received)
        out = torch.empty_like(came)
        out[plan.places] = came
        return out

    @staticmethod
    def backward(ctx: Any, *given: Tensor) -> tuple[Tensor, None]:
        (slope,) = given
        plan: _Plan = ctx.plan
        back = _exchange(slope[plan.places], plan.received, plan.sizes)
        own = slope.new_zeros((ctx.count, *slope.shape[1:]))
        return own.index_add_(0, plan.sent, back), None


def _exchange(rows: Tensor, sizes: Sequence[int], received: Sequence[int]) -> Tensor:
    """Send the first ``sizes[0]`` of ``rows`` to rank 0, and so on; what comes from each, in their order."""
    out = rows.new_empty((sum(received), *rows.shape[1:]))
    dist.all_to_all_single(out, rows.contiguous(), list(received), list(sizes))
    return out


_with_gradient: Callable[[Tensor], Tensor] = _Gathered.apply
_taken: Callable[[Tensor, _Plan], Tensor] = _Taken.apply
