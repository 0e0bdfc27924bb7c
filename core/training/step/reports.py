"""What is reported of steps: stacked on the device, copied while it computes on, written once it is there.

Flow: the loop adds the report of a step, with the numbers that ``StepGuard`` took of the steps since the last one, and
asks which have arrived. On a CPU a report has arrived at once; on a GPU a step or two later, since the host goes on
without waiting. Before a checkpoint, a validation and the end all are waited for.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from core.training.step.step_guard import Taken


@dataclass(frozen=True)
class Report:
    """The numbers of a step, and which steps up to it were sound."""

    step: int
    values: Mapping[str, float]
    taken: Taken  # in the host's memory


@dataclass(frozen=True)
class _Pending:
    step: int
    known: Mapping[str, float]
    names: tuple[str, ...]  # of the numbers that are copied
    numbers: Tensor  # (names,) in the host's memory, or on its way there
    taken: Taken
    copied: torch.cuda.Event | None  # None: at once

    def report(self) -> Report:
        read = dict(zip(self.names, self.numbers.tolist(), strict=True))
        return Report(self.step, {**self.known, **read}, self.taken)


class Reports:
    """Reports in the order of their steps."""

    def __init__(self) -> None:
        self._pending: deque[_Pending] = deque()

    def add(self, step: int, report: Mapping[str, Tensor], known: Mapping[str, float], taken: Taken) -> None:
        """Queue scalars of ``step``, numbers that are ``known`` already, and what the guard has ``taken``."""
        distant = {name: value for name, value in report.items() if value.device.type != "cpu"}
        near = {name: float(value) for name, value in report.items() if name not in distant}
        stacked = torch.stack([value.detach().float() for value in distant.values()]) if distant else torch.empty(0)
        numbers, judged = _to_host(stacked), _to_host(taken.numbers)
        event = None
        if stacked.is_cuda or taken.numbers.is_cuda:
            event = torch.cuda.Event()
            event.record()
        self._pending.append(
            _Pending(step, {**near, **known}, tuple(distant), numbers, Taken(taken.steps, judged), event)
        )

    def arrived(self, wait: bool = False) -> Iterator[Report]:
        """Those that are there, in order; all of them with ``wait``."""
        while self._pending:
            copied = self._pending[0].copied
            if copied is not None:
                if wait:
                    copied.synchronize()
                elif not copied.query():
                    return
            yield self._pending.popleft().report()


def numbers(report: Mapping[str, Tensor]) -> dict[str, float]:
    """Scalars as plain numbers, read at once: the host waits for a device."""
    distant = [name for name, value in report.items() if value.device.type != "cpu"]
    read = torch.stack([report[name].float() for name in distant]).tolist() if distant else []
    found = dict(zip(distant, read, strict=True))
    return {name: found[name] if name in found else float(value) for name, value in report.items()}


def _to_host(numbers: Tensor) -> Tensor:
    """``numbers`` in the host's memory; from a GPU the copy is only queued, into pinned memory."""
    if not numbers.is_cuda:
        return numbers.cpu()
    there = torch.empty(numbers.shape, dtype=numbers.dtype, pin_memory=True)
    there.copy_(numbers, non_blocking=True)
    return there
