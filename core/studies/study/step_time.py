"""What a step of an arm takes on this machine, in seconds and in operations: a process of its own.

Flow: ``core.studies.study.budgets`` starts ``python -m core.studies.study.step_time OUT ARM PART`` for each arm of a
study with budgets, several times in turn -> ``times/ARM-PART.json``. A short run with its whole schedule is trained and
thrown away, so that a teacher that starts late counts for the share of the run that it teaches. Batches, the teacher,
the optimiser and refreshes of the belief count; validation and saving do not.
"""

from __future__ import annotations

import json
import platform
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

from core.spec.config import RunConfig, override
from core.spec.errors import UserError
from core.spec.failures import sentence
from core.spec.files import write_whole
from core.spec.run.events import EventWriter
from core.spec.run.folder import RunDir
from core.spec.study import StudyDir, absolute, read_study
from core.studies.study.job import run_config
from core.training.loop import Loop
from core.training.memory import keep_freed_memory
from core.training.progress import Heartbeat
from core.training.step.reports import numbers
from core.training.step.utilisation import counted

TIMED_STEPS = 32  # of the short run; both are such that a teacher of every 2nd or 3rd step counts for its share
COUNTED_STEPS = 12  # of the run whose operations are counted, which makes a step several times as slow
WARM_UP = 2  # steps that still allocate memory


@dataclass(frozen=True)
class StepTime:
    """The cost of one step, on average over a run's schedule."""

    clock: Literal["cpu", "wall"]
    seconds: float  # of all threads of the process on a CPU, which other programs hardly change; else elapsed
    flops: float  # multiplications and additions of matrix products, convolutions and attention
    device: str


def measure_step(definition: Callable[[int], RunConfig]) -> StepTime:
    """The cost of a step of a run; ``definition`` is the run with so many steps."""
    with tempfile.TemporaryDirectory(prefix="step-time-") as folder:
        with _short_run(definition(TIMED_STEPS), Path(folder) / "timed", TIMED_STEPS) as timed:
            runtime = timed.loop.parts.runtime
            clock: Literal["cpu", "wall"] = "cpu" if runtime.device.type == "cpu" else "wall"
            seconds = timed.seconds(time.process_time if clock == "cpu" else time.perf_counter)
        with _short_run(definition(COUNTED_STEPS), Path(folder) / "counted", COUNTED_STEPS) as counted:
            return StepTime(clock, seconds, counted.flops(), runtime.describe())


@contextmanager
def _short_run(config: RunConfig, folder: Path, steps: int) -> Iterator[_ShortRun]:
    run = RunDir(folder)
    run.create()
    config = override(config, ["data.val=", "data.test=", "runtime.log_every=1"])
    with closing(EventWriter(run.events)) as events:
        yield _ShortRun(Loop(config, run, events, Heartbeat(run, quiet=True), threading.Event()), steps)


class _ShortRun:
    """A run of a few steps, with the schedule of a whole one."""

    def __init__(self, loop: Loop, steps: int) -> None:
        self.loop, self.steps = loop, steps
        every = self.loop.config.belief.refresh * self.loop.parts.loader.steps_per_epoch
        self.refresh_every = max(1, round(every))

    def seconds(self, clock: Callable[[], float]) -> float:
        """Mean seconds of a step, with its share of a refresh."""
        self._read_pictures()
        plain: list[float] = []
        with closing(self.loop.parts.loader.batches(0, self.steps)) as batches:
            for _ in range(self.steps):
                began = clock()
                batch = next(batches)
                numbers(self.loop.train_step(batch))
                if self.loop.step > WARM_UP and self.loop.step % self.refresh_every:
                    plain.append(clock() - began)
        began = clock()
        if facts := self.loop.refresh_belief(self.refresh_every):
            numbers(facts)
        refresh = clock() - began
        return statistics.fmean(plain or [refresh]) + refresh / self.refresh_every

    def flops(self) -> float:
        """Mean operations of a step, with its share of a refresh."""
        plain: list[int] = []
        with closing(self.loop.parts.loader.batches(0, self.steps)) as batches:
            for batch in batches:
                _, operations = counted(partial(self.loop.train_step, batch))
                if self.loop.step % self.refresh_every or not plain:
                    plain.append(operations)
        _, refresh = counted(partial(self.loop.refresh_belief, self.refresh_every))
        return statistics.fmean(plain) + refresh / self.refresh_every

    def _read_pictures(self) -> None:
        """Fill the cache of decoded pictures, as a run's first epoch does."""
        loader = self.loop.parts.loader
        with closing(loader.batches(0, min(self.steps, loader.steps_per_epoch))) as batches:
            for _ in batches:
                pass


def main(arguments: list[str]) -> int:
    """Measure one arm and write what was found; exit status 1 on an error, whose sentence is on stderr."""
    folder, name, part = arguments
    keep_freed_memory()
    out = StudyDir(Path(folder))
    try:
        study = absolute(read_study(out.study), out.path)
        arm = study.arm(name)
        found = measure_step(lambda steps: run_config(out, study, arm, study.seeds[0], steps))
        record = {
            "clock": found.clock,
            "step_seconds": found.seconds,
            "step_flops": found.flops,
            "machine": platform.node(),
            "device": found.device,
        }
        write_whole(out.step_time(name, int(part)), (json.dumps(record, indent=1) + "\n").encode())
    except (UserError, OSError, RuntimeError, MemoryError) as error:
        told = sentence(error)
        if told is None:
            raise
        print(f"error: {told}", file=sys.stderr, flush=True)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
