"""Measures the step time and FLOPs of an arm on this machine, in a separate process.

Flow: ``core.studies.study.budgets`` starts ``python -m core.studies.study.step_time OUT ARM ROUND`` several times for
each arm of a study with budgets -> ``times/ARM-ROUND.json``. A short run with the full schedule is trained and
discarded. Its steps alternate with steps of the study's first arm: other load slows both alike, and the ratio is kept.
Batches, the teacher and the optimiser count; validation and saving do not.
"""

from __future__ import annotations

import platform
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from functools import partial
from pathlib import Path

from core.spec.config import RunConfig, override
from core.spec.files import write_whole
from core.spec.run.events import EventWriter
from core.spec.run.folder import RunDir
from core.spec.study import StudyDir, absolute, read_study
from core.spec.study.records import MIN_STEP_SECONDS, StepTimeFile
from core.studies.study.claiming import StudyError
from core.studies.study.job import end_with_study, run_config, run_reporting_errors
from core.training.loop import Loop
from core.training.memory import keep_freed_memory
from core.training.progress import Heartbeat
from core.training.step.reports import to_floats
from core.training.step.utilisation import count_operations

# In TIMED_STEPS and in COUNTED_STEPS, steps with a teacher have the same share as in a full run.
TIMED_STEPS = 32  # steps of the timed run
COUNTED_STEPS = 12  # steps whose FLOPs are counted, which makes a step several times slower
WARM_UP = 2  # first steps, which still allocate memory


MakeConfig = Callable[[int], RunConfig]
"""Returns the config of a run with the given number of steps."""


def measure_step(make_config: MakeConfig, reference: MakeConfig | None = None) -> StepTimeFile:
    """The step time of a run, and the step time of ``reference`` (default: the same run), measured in alternation.

    Means over the run's schedule: CPU seconds of all threads on a CPU, otherwise elapsed seconds.
    """
    makers = [make_config] if reference is None else [make_config, reference]
    with tempfile.TemporaryDirectory(prefix="step-time-") as folder, ExitStack() as stack:
        runs = [
            stack.enter_context(_short_run(make(TIMED_STEPS), Path(folder) / f"timed-{number}", TIMED_STEPS))
            for number, make in enumerate(makers)
        ]
        runtime = runs[0].loop.parts.runtime
        if runtime.device.type == "cpu":
            seconds = step_seconds(runs, time.process_time)
        else:  # one run after the other, since loader processes of two runs would compete for cores
            seconds = [step_seconds([run], time.perf_counter)[0] for run in runs]
        stack.close()
        with _short_run(make_config(COUNTED_STEPS), Path(folder) / "counted", COUNTED_STEPS) as counted_run:
            return StepTimeFile(
                clock="cpu" if runtime.device.type == "cpu" else "wall",
                step_seconds=seconds[0],
                reference_seconds=seconds[-1],
                step_flops=counted_run.flops(),
                machine=platform.node(),
                device=runtime.describe(),
            )


@contextmanager
def _short_run(config: RunConfig, folder: Path, steps: int) -> Iterator[_ShortRun]:
    run = RunDir(folder)
    run.create()
    config = override(config, ["data.val=", "data.test=", "runtime.log_every=1"])
    with closing(EventWriter(run.events)) as events:
        yield _ShortRun(Loop(config, run, events, Heartbeat(run, quiet=True), threading.Event()), steps)


class _ShortRun:
    """A run of a few steps with the schedule of a full run."""

    def __init__(self, loop: Loop, steps: int) -> None:
        self.loop, self.steps = loop, steps

    def flops(self) -> float:
        """Mean FLOPs of a step."""
        counts: list[int] = []
        with closing(self.loop.parts.loader.batches(0, self.steps)) as batches:
            for batch in batches:
                counts.append(count_operations(partial(self.loop.train_step, batch))[1])
        return statistics.fmean(counts)

    def read_images(self) -> None:
        """Fill the cache of decoded images, as the first epoch does."""
        loader = self.loop.parts.loader
        with closing(loader.batches(0, min(self.steps, loader.steps_per_epoch))) as batches:
            for _ in batches:
                pass


def step_seconds(runs: Sequence[_ShortRun], clock: Callable[[], float]) -> list[float]:
    """Mean seconds of a step for each of ``runs``; their steps alternate. Raises StudyError if they take no time."""
    for run in runs:
        run.read_images()
    times_by_run: list[list[float]] = [[] for _ in runs]
    with ExitStack() as stack:
        batches = [stack.enter_context(closing(run.loop.parts.loader.batches(0, run.steps))) for run in runs]
        for _ in range(runs[0].steps):
            for run, run_batches, times in zip(runs, batches, times_by_run, strict=True):
                start_time = clock()
                to_floats(run.loop.train_step(next(run_batches)))
                if run.loop.step > WARM_UP:
                    times.append(clock() - start_time)
    means = [statistics.fmean(times) for times in times_by_run]
    if min(means) < MIN_STEP_SECONDS:
        raise StudyError(
            f"the clock of {platform.node()} measures {min(means):g} s per step, which gives no number of steps for a "
            "budget; set `steps` instead of `budgets`, or run the study on another machine."
        )
    return means


def main(arguments: list[str]) -> int:
    """Measure one arm and write its step time. After an error, print the message on stderr and return 1."""
    folder, name, round_number = arguments
    keep_freed_memory()
    end_with_study()
    return run_reporting_errors(lambda: measure_arm(StudyDir(Path(folder)), name, int(round_number)))


def measure_arm(out: StudyDir, name: str, round_number: int) -> int:
    """Measure the arm ``name`` in round ``round_number`` (from 0), and write its step time. Returns 0."""
    study = absolute(read_study(out.study), out.path)
    arm, first, seed = study.arm(name), study.arms[0], study.seeds[0]
    reference = None if arm == first else lambda steps: run_config(out, study, first, seed, steps)
    record = measure_step(lambda steps: run_config(out, study, arm, seed, steps), reference)
    write_whole(out.step_time(name, round_number), (record.model_dump_json(indent=1) + "\n").encode())
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
