"""How long steps of a run take: on batches that are at hand, or as the loader makes them.

Flow: ``core.bench.gpu.measuring`` builds a run in this process, times it here, and lets it go.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from itertools import islice, repeat
from pathlib import Path

import torch

from core.data.batch import Batch
from core.spec.config import RunConfig
from core.spec.run.events import EventWriter
from core.spec.run.folder import RunDir
from core.training.loop import Loop
from core.training.progress import Heartbeat
from core.training.step.utilisation import counted, device_peak


@dataclass(frozen=True)
class Timed:
    """Steps of a run, the host kept from waiting for any but the last."""

    seconds: float  # a step
    pairs_per_s: float
    operations: int  # of a step
    peak: float | None  # of the device, a second; None where it is not known

    @property
    def utilisation(self) -> float:
        """Share of the peak (MFU); 0 where that is not known."""
        return self.operations / self.seconds / self.peak if self.peak else 0.0


@contextmanager
def opened(config: RunConfig, folder: Path) -> Iterator[Loop]:
    """The run ``config`` in ``folder``, in this process."""
    run_dir = RunDir(folder)
    run_dir.create()
    with closing(EventWriter(run_dir.events)) as events:
        yield Loop(config, run_dir, events, Heartbeat(run_dir, quiet=True), threading.Event())


def timed(loop: Loop, warm: int, steps: int, real: bool = False) -> Timed:
    """``steps`` steps of ``loop`` after ``warm`` ones: on its first batch again and again, or on ``real`` ones."""
    device, config = loop.parts.runtime.device, loop.config
    with closing(loop.parts.batches(loop.step, loop.step + 1 + warm + steps)) as batches:
        first = next(batches)
        operations = counted(lambda: loop.train_step(first))[1]
        given: Iterable[Batch] = batches if real else repeat(first)
        _train(loop, islice(given, warm))
        settle(device)
        began = time.perf_counter()
        _train(loop, islice(given, steps))
        settle(device)
        seconds = (time.perf_counter() - began) / steps
    return Timed(seconds, config.optim.batch_size / seconds, operations, device_peak(loop.parts.runtime))


def _train(loop: Loop, batches: Iterable[Batch]) -> None:
    for batch in batches:
        loop.train_step(batch)


def settle(device: torch.device) -> None:
    """Wait until the device has done all that it was told."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
