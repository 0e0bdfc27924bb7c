"""Steps with non-finite losses or gradients: skipped on the device, reported with the next metrics.

Flow: in each step the loop passes losses and gradient norm to the guard, and the guard's flag to optimiser and teacher,
without synchronisation. With each report the loop takes the collected numbers, ``core.training.step.reports`` copies
them, and ``find_skipped`` yields the skipped steps. The optimiser protects parameters; ``RunningStatistics`` restores
running statistics, which the forward pass has already changed.

Legend: L objectives.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase

GRADIENT = "the gradient"


@dataclass(frozen=True)
class SkippedStep:
    """A step that the optimiser skipped."""

    step: int
    suspects: tuple[str, ...]  # the non-finite losses; the gradient if all losses are finite
    in_a_row: int  # consecutive skipped steps up to this one


@dataclass(frozen=True)
class LossesAndNorms:
    """The losses and gradient norms of several steps."""

    steps: tuple[tuple[int, tuple[str, ...]], ...]  # step number and names of losses
    values: Tensor  # (S * (L + 1),) for S steps: per step its losses, then the gradient norm


class StepGuard:
    """Collects losses and gradient norm of each step since the last report, on the device."""

    def __init__(self) -> None:
        self._steps: list[tuple[int, tuple[str, ...]]] = []
        self._numbers: list[Tensor] = []  # (L + 1,) per step: losses, then norm
        self._in_a_row = 0

    def record_step(self, step: int, names: Sequence[str], losses: Tensor, norm: Tensor) -> Tensor:
        """Record a step; returns 1.0 if ``losses`` (L,) or the gradient ``norm`` are not finite, otherwise 0.0.

        The result is a scalar on the device, which torch's fused optimisers accept as ``found_inf``: with 1 they update
        neither parameters nor moments.
        """
        numbers = torch.cat([losses.detach(), norm.detach()[None]])
        self._steps.append((step, tuple(names)))
        self._numbers.append(numbers)
        return (~numbers.isfinite().all()).float()

    def take_values(self) -> LossesAndNorms:
        """Losses and norm of every step since the last call, on the device."""
        steps, numbers = self._steps, self._numbers
        self._steps, self._numbers = [], []
        return LossesAndNorms(tuple(steps), torch.cat(numbers) if numbers else torch.empty(0))

    def find_skipped(self, collected: LossesAndNorms) -> Iterator[SkippedStep]:
        """Yield the skipped steps in order; the values must be in host memory.

        Counts skipped steps in a row across calls, so each step must be passed once, in order.
        """
        finite = iter(collected.values.isfinite().tolist())
        for step, names in collected.steps:
            finite_losses = [next(finite) for _ in names]
            if all([*finite_losses, next(finite)]):
                self._in_a_row = 0
                continue
            self._in_a_row += 1
            suspects = tuple(name for name, is_finite in zip(names, finite_losses, strict=True) if not is_finite)
            yield SkippedStep(step, suspects or (GRADIENT,), self._in_a_row)


class RunningStatistics:
    """The running statistics of all batch norms in a network, restored after a skipped step.

    Statistics of each dtype are concatenated, so that a step needs few kernels.
    """

    def __init__(self, network: nn.Module) -> None:
        norms = [module for module in network.modules() if isinstance(module, _NormBase)]
        self._buffers: dict[torch.dtype, list[Tensor]] = {}
        for buffer in dict.fromkeys(buffer for norm in norms for buffer in norm.buffers(recurse=False)):
            self._buffers.setdefault(buffer.dtype, []).append(buffer)
        self._saved: list[Tensor] = []

    @torch.no_grad()
    def remember(self) -> None:
        """Copy the statistics; to be called before the forward pass."""
        self._saved = [_flat(buffers) for buffers in self._buffers.values()]

    @torch.no_grad()
    def restore(self, skipped: Tensor) -> None:
        """Restore the statistics if ``skipped``, a scalar on the device, is 1.0."""
        for buffers, saved in zip(self._buffers.values(), self._saved, strict=True):
            values = torch.where(skipped > 0, saved, _flat(buffers))
            parts = values.split([buffer.numel() for buffer in buffers])
            torch._foreach_copy_(buffers, [part.view_as(buffer) for part, buffer in zip(parts, buffers, strict=True)])


def _flat(buffers: Sequence[Tensor]) -> Tensor:
    return torch.cat([buffer.flatten() for buffer in buffers])
