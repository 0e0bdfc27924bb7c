"""Times the training steps of a run, on a repeated batch or on the loader's batches.

Flow: ``core.bench.gpu.measuring`` opens a run in this process and times its steps.
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
from core.training.step.utilisation import count_operations, device_peak_flops


@dataclass(frozen=True)
class StepTiming:
    """The timing of several steps; the host waited for the last step only."""

    seconds: float  # per step
    pairs_per_s: float
    operations: int  # FLOPs per step
    peak: float | None  # FLOPs per second of the device; None if unknown

    @property
    def utilisation(self) -> float:
        """The share of the peak (MFU); 0 if the peak is unknown."""
        return self.operations / self.seconds / self.peak if self.peak else 0.0


@contextmanager
def open_run(config: RunConfig, folder: Path) -> Iterator[Loop]:
    """Open the run ``config`` in ``folder`` in this process."""
    run_dir = RunDir(folder)
    run_dir.create()
    with closing(EventWriter(run_dir.events)) as events:
        yield Loop(config, run_dir, events, Heartbeat(run_dir, quiet=True), threading.Event())


def time_steps(loop: Loop, warm_up: int, steps: int, from_loader: bool = False) -> StepTiming:
    """Time ``steps`` steps of ``loop`` after ``warm_up`` steps: on its first batch, or ``from_loader``."""
    device, config = loop.parts.runtime.device, loop.config
    with closing(loop.parts.batches(loop.step, loop.step + 1 + warm_up + steps)) as batches:
        first = next(batches)
        operations = count_operations(lambda: loop.train_step(first))[1]
        timed_batches: Iterable[Batch] = batches if from_loader else repeat(first)
        _train(loop, islice(timed_batches, warm_up))
        synchronize(device)
        start_time = time.perf_counter()
        _train(loop, islice(timed_batches, steps))
        synchronize(device)
        seconds = (time.perf_counter() - start_time) / steps
    return StepTiming(seconds, config.optim.batch_size / seconds, operations, device_peak_flops(loop.parts.runtime))


def _train(loop: Loop, batches: Iterable[Batch]) -> None:
    for batch in batches:
        loop.train_step(batch)


def synchronize(device: torch.device) -> None:
    """Wait until the device has finished its work."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
