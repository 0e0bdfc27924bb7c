"""What a step of an arm takes on this machine, in seconds and in operations: a process of its own.

Flow: ``core.studies.study.budgets`` starts ``python -m core.studies.study.step_time OUT ARM PART`` for each arm of a
study with budgets, several times in turn -> ``times/ARM-PART.json``. A short run with its whole schedule is trained and
thrown away, so that a teacher that starts late counts for the share of the run that it teaches. Its steps alternate
with those of such a run of the study's first arm: other programs slow both alike, and the ratio stays. Batches, the
teacher, the optimiser and refreshes of the belief count; validation and saving do not.
"""

from __future__ import annotations

import json
import platform
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
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
    seconds: float  # of all threads of the process on a CPU; else elapsed
    reference_seconds: float  # of a step of the reference, between whose steps it was measured
    flops: float  # multiplications and additions of matrix products, convolutions and attention
    device: str


Config = Callable[[int], RunConfig]
"""A run with so many steps."""


def measure_step(config: Config, reference: Config | None = None) -> StepTime:
    """The cost of a step of a run, and of one of the ``reference`` (by default itself) at the same time."""
    wanted = [config] if reference is None else [config, reference]
    with tempfile.TemporaryDirectory(prefix="step-time-") as folder, ExitStack() as stack:
        runs = [
            stack.enter_context(_short_run(one(TIMED_STEPS), Path(folder) / f"timed-{number}", TIMED_STEPS))
            for number, one in enumerate(wanted)
        ]
        runtime = runs[0].loop.parts.runtime
        if runtime.device.type == "cpu":
            clock: Literal["cpu", "wall"] = "cpu"
            seconds = step_seconds(runs, time.process_time)
        else:  # loader processes of two runs would take turns at the cores: one run after the other
            clock = "wall"
            seconds = [step_seconds([one], time.perf_counter)[0] for one in runs]
        stack.close()
        with _short_run(config(COUNTED_STEPS), Path(folder) / "counted", COUNTED_STEPS) as counted_run:
            return StepTime(clock, seconds[0], seconds[-1], counted_run.flops(), runtime.describe())


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

    def refresh_seconds(self, clock: Callable[[], float]) -> float:
        """What a refresh takes."""
        began = clock()
        if facts := self.loop.refresh_belief(self.refresh_every):
            numbers(facts)
        return clock() - began

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

    def read_images(self) -> None:
        """Fill the cache of decoded images, as a run's first epoch does."""
        loader = self.loop.parts.loader
        with closing(loader.batches(0, min(self.steps, loader.steps_per_epoch))) as batches:
            for _ in batches:
                pass


def step_seconds(runs: Sequence[_ShortRun], clock: Callable[[], float]) -> list[float]:
    """Mean seconds of a step of each of ``runs``, whose steps alternate; each with its share of a refresh."""
    for run in runs:
        run.read_images()
    plain: list[list[float]] = [[] for _ in runs]
    with ExitStack() as stack:
        batches = [stack.enter_context(closing(run.loop.parts.loader.batches(0, run.steps))) for run in runs]
        for _ in range(runs[0].steps):
            for run, own, times in zip(runs, batches, plain, strict=True):
                began = clock()
                numbers(run.loop.train_step(next(own)))
                if run.loop.step > WARM_UP and run.loop.step % run.refresh_every:
                    times.append(clock() - began)
    refreshes = [run.refresh_seconds(clock) for run in runs]
    return [
        statistics.fmean(times or [refresh]) + refresh / run.refresh_every
        for run, times, refresh in zip(runs, plain, refreshes, strict=True)
    ]


def main(arguments: list[str]) -> int:
    """Measure one arm and write what was found; exit status 1 on an error, whose sentence is on stderr."""
    folder, name, part = arguments
    keep_freed_memory()
    out = StudyDir(Path(folder))
    try:
        study = absolute(read_study(out.study), out.path)
        arm = study.arm(name)
        first, seed = study.arms[0], study.seeds[0]
        reference = None if arm == first else lambda steps: run_config(out, study, first, seed, steps)
        found = measure_step(lambda steps: run_config(out, study, arm, seed, steps), reference)
        record = {
            "clock": found.clock,
            "step_seconds": found.seconds,
            "reference_seconds": found.reference_seconds,
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
