"""Reports of steps: stacked on the device, copied asynchronously, and written once they have arrived on the host.

Flow: the loop adds the report of a step, with the losses and norms that ``StepGuard`` collected since the last report,
and polls for arrived reports. On a CPU a report arrives immediately; on a GPU a step or two later. The loop waits for
all of them before a checkpoint, a validation and the end.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from core.training.step.step_guard import LossesAndNorms


@dataclass(frozen=True)
class Report:
    """The values of a step, and the numbers of the steps since the last report."""

    step: int
    values: Mapping[str, float]
    collected: LossesAndNorms  # in host memory


@dataclass(frozen=True)
class _Pending:
    step: int
    host_values: Mapping[str, float]
    names: tuple[str, ...]  # names of the copied numbers
    numbers: Tensor  # (names,) in host memory, possibly still being copied
    collected: LossesAndNorms  # its values, possibly still being copied
    copied: torch.cuda.Event | None  # recorded after all copies; None if the values are available immediately

    def report(self) -> Report:
        values = dict(zip(self.names, self.numbers.tolist(), strict=True))
        return Report(self.step, {**self.host_values, **values}, self.collected)


class Reports:
    """Reports in the order of their steps."""

    def __init__(self) -> None:
        self._pending: deque[_Pending] = deque()

    def add(
        self, step: int, metrics: Mapping[str, Tensor], host_values: Mapping[str, float], collected: LossesAndNorms
    ) -> None:
        """Queue the report of ``step``: its ``metrics`` (scalars, on any device), ``host_values``, and the losses and
        norms ``collected`` since the last report.
        """
        device_values = {name: value for name, value in metrics.items() if value.device.type != "cpu"}
        cpu_values = {name: float(value) for name, value in metrics.items() if name not in device_values}
        scalars = [value.detach().float() for value in device_values.values()]
        stacked = torch.stack(scalars) if scalars else torch.empty(0)
        numbers, collected_on_host = _to_host(stacked), LossesAndNorms(collected.steps, _to_host(collected.values))
        event = None
        if stacked.is_cuda or collected.values.is_cuda:
            event = torch.cuda.Event()
            event.record()
        on_host = {**cpu_values, **host_values}
        self._pending.append(_Pending(step, on_host, tuple(device_values), numbers, collected_on_host, event))

    def take_arrived(self, wait: bool = False) -> Iterator[Report]:
        """Yield the reports that have arrived, in order; ``wait``: wait for all of them."""
        while self._pending:
            copied = self._pending[0].copied
            if copied is not None:
                if wait:
                    copied.synchronize()
                elif not copied.query():
                    return
            yield self._pending.popleft().report()


def to_floats(metrics: Mapping[str, Tensor]) -> dict[str, float]:
    """Scalars as floats, read in one synchronisation."""
    device_names = [name for name, value in metrics.items() if value.device.type != "cpu"]
    values = torch.stack([metrics[name].float() for name in device_names]).tolist() if device_names else []
    by_name = dict(zip(device_names, values, strict=True))
    return {name: by_name[name] if name in by_name else float(value) for name, value in metrics.items()}


def _to_host(numbers: Tensor) -> Tensor:
    """``numbers`` in host memory; copies from a CUDA device are asynchronous, into pinned memory."""
    if not numbers.is_cuda:
        return numbers.cpu()
    pinned = torch.empty(numbers.shape, dtype=numbers.dtype, pin_memory=True)
    pinned.copy_(numbers, non_blocking=True)
    return pinned
