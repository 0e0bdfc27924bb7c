"""Steps whose losses or gradients are not finite: skipped on the device, reported with the next metrics.

Flow: each step the loop passes its losses and the gradient's norm; the flag goes to optimiser and teacher, unread.
With each report the loop asks which steps were skipped. Reading a number in between would make the host wait for the
device in every step.

Legend: L objectives.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

GRADIENT = "the gradient"


@dataclass(frozen=True)
class SkippedStep:
    """A step that the optimiser skipped."""

    step: int
    suspects: tuple[str, ...]  # the losses that were not finite; the gradient where all of them were
    in_a_row: int  # how many were skipped up to this one


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

    def skipped(self) -> Iterator[SkippedStep]:
        """Those skipped since the last call, in order; reads the device once."""
        steps, numbers = self._steps, self._numbers
        self._steps, self._numbers = [], []
        if not steps:
            return
        finite = iter(torch.cat(numbers).isfinite().tolist())
        for step, names in steps:
            sound = [next(finite) for _ in names]
            if all([*sound, next(finite)]):
                self._in_a_row = 0
                continue
            self._in_a_row += 1
            suspects = tuple(name for name, is_sound in zip(names, sound, strict=True) if not is_sound)
            yield SkippedStep(step, suspects or (GRADIENT,), self._in_a_row)


def numbers(report: Mapping[str, Tensor]) -> dict[str, float]:
    """Scalars as plain numbers; those on a device are read from it at once."""
    distant = [name for name, value in report.items() if value.device.type != "cpu"]
    read = torch.stack([report[name].float() for name in distant]).tolist() if distant else []
    found = dict(zip(distant, read, strict=True))
    return {name: found[name] if name in found else float(value) for name, value in report.items()}
