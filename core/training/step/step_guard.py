"""Steps whose losses or gradients are not finite: skipped on the device, reported with the next metrics.

Flow: each step the loop passes its losses and the gradient's norm; the flag goes to optimiser and teacher, unread.
With each report the loop takes these numbers, ``core.training.step.reports`` copies them, and ``skipped`` says which
steps were. Reading a number in between would make the host wait for the device in every step. The optimiser protects
parameters; running statistics move in the forward pass already, and ``RunningStatistics`` takes that back.

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
    suspects: tuple[str, ...]  # the losses that were not finite; the gradient where all of them were
    in_a_row: int  # how many were skipped up to this one


@dataclass(frozen=True)
class Taken:
    """The numbers of some steps: of each its losses, then the norm of its gradient."""

    steps: tuple[tuple[int, tuple[str, ...]], ...]  # the number of each, and the names of its losses
    numbers: Tensor  # (all,)


class StepGuard:
    """Remembers the numbers of each step since the last report, on the device."""

    def __init__(self) -> None:
        self._steps: list[tuple[int, tuple[str, ...]]] = []
        self._numbers: list[Tensor] = []  # (L + 1,) of each: the losses, then the norm
        self._in_a_row = 0

    def unsound(self, step: int, names: Sequence[str], losses: Tensor, norm: Tensor) -> Tensor:
        """1.0 where ``losses`` (L,) or the ``norm`` of their gradient are not finite, else 0.0; scalar, not read.

        It is what a fused optimiser of torch takes as ``found_inf``: with 1 it leaves parameters and moments alone.
        """
        numbers = torch.cat([losses.detach(), norm.detach()[None]])
        self._steps.append((step, tuple(names)))
        self._numbers.append(numbers)
        return (~numbers.isfinite().all()).float()

    def taken(self) -> Taken:
        """The numbers of every step since the last call, on the device."""
        steps, numbers = self._steps, self._numbers
        self._steps, self._numbers = [], []
        return Taken(tuple(steps), torch.cat(numbers) if numbers else torch.empty(0))

    def skipped(self, taken: Taken) -> Iterator[SkippedStep]:
        """Those of the steps ``taken``, whose numbers are in the host's memory by now, that were skipped, in order."""
        finite = iter(taken.numbers.isfinite().tolist())
        for step, names in taken.steps:
            sound = [next(finite) for _ in names]
            if all([*sound, next(finite)]):
                self._in_a_row = 0
                continue
            self._in_a_row += 1
            suspects = tuple(name for name, is_sound in zip(names, sound, strict=True) if not is_sound)
            yield SkippedStep(step, suspects or (GRADIENT,), self._in_a_row)


class RunningStatistics:
    """The running statistics of every batch norm in a network, which a skipped step must not move.

    Of each dtype they are joined into one tensor, so that a step costs a few kernels and not several for each norm.
    """

    def __init__(self, network: nn.Module) -> None:
        norms = [module for module in network.modules() if isinstance(module, _NormBase)]
        self._buffers: dict[torch.dtype, list[Tensor]] = {}
        for buffer in dict.fromkeys(buffer for norm in norms for buffer in norm.buffers(recurse=False)):
            self._buffers.setdefault(buffer.dtype, []).append(buffer)
        self._before: list[Tensor] = []

    @torch.no_grad()
    def remember(self) -> None:
        """Copy the statistics; call it before the forward pass."""
        self._before = [_flat(buffers) for buffers in self._buffers.values()]

    @torch.no_grad()
    def restore(self, skipped: Tensor) -> None:
        """Give the statistics their values before the step back where ``skipped`` is 1.0; a scalar, not read."""
        for buffers, before in zip(self._buffers.values(), self._before, strict=True):
            sound = torch.where(skipped > 0, before, _flat(buffers))
            parts = sound.split([buffer.numel() for buffer in buffers])
            torch._foreach_copy_(buffers, [part.view_as(buffer) for part, buffer in zip(parts, buffers, strict=True)])


def _flat(buffers: Sequence[Tensor]) -> Tensor:
    return torch.cat([buffer.flatten() for buffer in buffers])
