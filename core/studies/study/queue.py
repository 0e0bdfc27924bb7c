"""The runs of a study, one after another (or a few in parallel), each a process; it can be interrupted and resumed.

Flow: ``python -m core study STUDY.json OUT`` -> **queue** -> ``core.studies.study.job`` for each run that is not done
yet -> ``core.studies.study.results``. Seeds are the outer loop: after the first seed of all arms there is a first
table.
"""

from __future__ import annotations

import signal
import subprocess
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

import filelock

from core.spec.children import device_variables, python_command, start_program
from core.spec.config import ConfigError
from core.spec.errors import UserError
from core.spec.files import check_inside
from core.spec.run.status import process_alive
from core.spec.study import Arm, Study, StudyDir, StudyRun, StudyStatus, absolute
from core.studies.study.budgets import MOST_STEPS, measure_arms, steps_within
from core.studies.study.chosen import ALL, Chosen
from core.studies.study.claiming import StudyError, check_folders, claim
from core.studies.study.data import prepare
from core.studies.study.results import write_results

LOOK_SECONDS = 1.0
JOB = tuple(python_command("core.studies.study.job"))

Log = Callable[[str], None]


def run_study(
    study: Study,
    origin: Path,
    out: StudyDir,
    jobs: int,
    log: Log,
    openclipart: Path | None = None,
    devices: Sequence[str] = (),
    chosen: Chosen = ALL,
) -> StudyStatus:
    """Train and measure every run of ``study`` in ``out`` that is not done yet, and write the results.

    A run that fails is listed and the others go on; starting the study again tries it again, trains arms and seeds that
    are new in it, and measures what was not measured before. ``openclipart``: see ``prepare``. ``devices``: GPUs, by
    index or UUID, one for each run; they take the place of ``jobs``. ``chosen``: the runs that are trained now, while
    others wait. Raises StudyError when it names what is not there, when the folder holds another study or runs of
    another recipe, is in use or cannot be written; whatever ``prepare`` raises.
    """
    study = absolute(study, origin)
    chosen.check(study)
    _check_recipes(study)
    with writing(out):
        out.path.mkdir(parents=True, exist_ok=True)
        check_folders(out, study)
        out.runs.mkdir(exist_ok=True)
        lock = filelock.FileLock(out.lock, timeout=0)
        try:
            lock.acquire()
        except filelock.Timeout as error:
            raise StudyError(
                f"the study folder {out.path} is in use by another process; wait for it or stop it."
            ) from error
        try:
            claim(out, study)
            prepare(out, study, log, openclipart)
            return _Queue(study, out, jobs, log, devices, chosen).work()
        finally:
            lock.release()


@contextmanager
def writing(out: StudyDir) -> Iterator[None]:
    """A full disk, or a folder that refuses, as a StudyError that names the file and says what helps."""
    try:
        yield
    except OSError as error:
        where = error.filename or out.path
        raise StudyError(
            f"cannot write {where}: {error.strerror or error}; free some space or make it writable, then start the "
            "study again to resume it."
        ) from error


def _check_recipes(study: Study) -> None:
    """StudyError for an arm whose file or settings cannot be used, before anything is trained."""
    for arm in study.arms:
        try:
            study.recipe(arm)
        except ConfigError as error:
            raise StudyError(f"the arm {arm.name} cannot be trained: {error}") from error


class _Queue:
    """Which runs wait, which are running, and how each ended."""

    def __init__(
        self,
        study: Study,
        out: StudyDir,
        jobs: int,
        log: Log,
        devices: Sequence[str] = (),
        chosen: Chosen = ALL,
    ) -> None:
        self.study, self.out, self.jobs, self.log = study, out, len(devices) or max(1, jobs), log
        self.chosen = chosen
        self.devices = list(devices)  # those that no run has
        order = sorted(study.trained, key=lambda arm: bool(arm.as_long_as))  # these need another arm's time
        runs = [StudyRun(arm.name, seed, f"runs/{arm.name}-s{seed}") for seed in study.seeds for arm in order]
        for run in runs:
            try:
                run.state = "waiting" if out.missing(study, run.arm, run.seed) else "done"
            except UserError as error:  # its measures were damaged; the others go on
                run.state, run.message = "failed", str(error)
        self.status = StudyStatus(runs=runs)
        self.running: dict[int, subprocess.Popen[bytes]] = {}

    def work(self) -> StudyStatus:
        with _asked_to_end() as ended:
            self._measure_steps(ended)
            try:
                while not ended.is_set():
                    self._collect()
                    self._start()
                    self._write_status()
                    if not self.running and all(run.state in ("done", "failed") for run in self._chosen()):
                        break
                    ended.wait(LOOK_SECONDS)
            finally:
                self._end_all()
        self.status.finished = not ended.is_set() and all(run.state != "waiting" for run in self.status.runs)
        self._write_status()
        write_results(self.out, self.study)
        if ended.is_set():
            raise KeyboardInterrupt
        return self.status

    def _chosen(self) -> list[StudyRun]:
        """The runs that are trained now."""
        return [run for run in self.status.runs if self.chosen.has(self.study, run)]

    def _measure_steps(self, ended: threading.Event) -> None:
        """What a step takes, of the arms with budgets that still have runs to train."""
        timed = [(run, self.study.base(run.arm).name) for run in self._chosen() if self.study.arm(run.arm).budget]
        waiting = [
            (run, base)
            for run, base in timed
            if run.state == "waiting" and not self.out.measures(run.arm, run.seed).exists()
        ]
        arms = list(dict.fromkeys(base for _, base in waiting))
        problems = measure_arms(self.out, arms, ended, self.log, self._write_status)
        for run, base in waiting:
            if base in problems:
                run.state, run.message = "failed", problems[base]

    def _start(self) -> None:
        for index, run in enumerate(self.status.runs):
            if len(self.running) >= self.jobs:
                return
            if run.state != "waiting" or not self.chosen.has(self.study, run) or self._taken(run):
                continue
            try:
                steps = steps_of(self.out, self.study, self.study.arm(run.arm), run.seed)
            except StudyError as error:
                if not self._still_coming(run):
                    run.state, run.message = "failed", str(error)
                continue
            run.device = self.devices.pop(0) if self.devices else ""
            self.running[index] = self._process(run, steps)
            trained = self.out.measures(run.arm, run.seed).exists()
            run.state, run.message = "measuring" if trained else "training", ""
            doing = "evaluating new measures" if trained else f"{steps} steps"
            self.log(f"{self.status.done}/{len(self.status.runs)} done; {run.arm}, seed {run.seed}, {doing}")

    def _taken(self, run: StudyRun) -> bool:
        """Whether a trainer of a study that was killed is still ending there."""
        status = self.out.run(run.arm, run.seed).read_status()
        return status is not None and status.here and process_alive(status)

    def _still_coming(self, run: StudyRun) -> bool:
        """Whether the arm whose time ``run`` needs may yet be done."""
        wanted = self.study.arm(run.arm).as_long_as
        return bool(wanted) and any(
            other.seed == run.seed and other.state in ("waiting", "training", "measuring")
            for other in self._chosen()
            if other.arm == wanted or not self.study.arm(other.arm).as_long_as
        )

    def _process(self, run: StudyRun, steps: int) -> subprocess.Popen[bytes]:
        folder = self.out.run(run.arm, run.seed)
        check_inside(self.out.path, self.out.written_of(run.arm, run.seed), StudyError)
        folder.create()
        command = [*JOB, str(self.out.path), run.arm, str(run.seed), str(steps)]
        with folder.stdout.open("ab") as output, folder.stderr.open("wb") as errors:
            return start_program(command, output, errors, variables=device_variables(run.device))

    def _collect(self) -> None:
        for index, process in list(self.running.items()):
            run = self.status.runs[index]
            status = process.poll()
            if status is None:
                if run.state == "training" and self._trained(run):
                    run.state = "measuring"
                continue
            del self.running[index]
            if run.device:
                self.devices.append(run.device)
            if status == 0 and self.out.measures(run.arm, run.seed).exists():
                run.state = "done"
                write_results(self.out, self.study)
                continue
            run.state = "failed"
            output = self.out.run(run.arm, run.seed).stderr_end().splitlines()
            run.message = output[-1] if output else f"the trainer exited unexpectedly with status {status}"
            self.log(f"failed: {run.arm}, seed {run.seed}: {run.message}")

    def _trained(self, run: StudyRun) -> bool:
        status = self.out.run(run.arm, run.seed).read_status()
        return status is not None and 0 < status.total_steps <= status.step and status.doing.startswith("saving")

    def _write_status(self) -> None:
        self.out.write_status(self.status.now())

    def _end_all(self) -> None:
        """Ask those at work to stop, which saves their state; the next time they go on."""
        for process in self.running.values():
            process.terminate()
        for index, process in self.running.items():
            try:
                process.wait(timeout=60)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            self.status.runs[index].state = "waiting"


def steps_of(out: StudyDir, study: Study, arm: Arm, seed: int) -> int:
    """Steps of a run: the study's, as many as its budget holds, or as take the time of the arm it is to be as long as.

    For the last, a step's median seconds of both are compared: those of the other arm, and of the arm that has the same
    recipe and the plain number of steps. Raises StudyError while they are not measured.
    """
    if arm.budget:
        return steps_within(out, study, arm.name, arm.budget)
    if not arm.as_long_as:
        return study.steps
    timed = study.timed(arm)
    assert timed is not None  # a study is not read without it
    theirs, own = (_step_seconds(out, name, seed) for name in (arm.as_long_as, timed.name))
    return max(1, min(MOST_STEPS, round(study.steps * theirs / own)))


def _step_seconds(out: StudyDir, arm: str, seed: int) -> float:
    try:
        found = out.read_measures(arm, seed)
    except UserError as error:
        raise StudyError(f"the step time of {arm} with seed {seed} is unknown: {error}") from error
    if found is None:
        raise StudyError(f"{arm} with seed {seed} is not evaluated yet, so its step time is unknown.")
    seconds = float(found.get("step_seconds", 0.0))
    if seconds <= 0:
        raise StudyError(f"{arm} with seed {seed} did not report its step time.")
    return seconds


@contextmanager
def _asked_to_end() -> Iterator[threading.Event]:
    """Set by Ctrl+C or SIGTERM, so that the runs at work save before the study ends."""
    ended = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield ended
        return

    def handle(number: int, frame: FrameType | None) -> None:
        ended.set()

    before = {number: signal.signal(number, handle) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield ended
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
