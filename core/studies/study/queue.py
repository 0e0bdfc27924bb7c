"""Trains the runs of a study on free devices of the chosen places; can be interrupted and resumed.

Flow: ``python -m core study STUDY.json OUT`` -> **queue** -> ``core.studies.study.places`` for each run that is not
done -> ``core.studies.study.results``. Seeds are the outer loop, so that a first table exists after the first seed.
"""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from types import FrameType

import filelock

from core.spec.config import ConfigError
from core.spec.errors import UserError
from core.spec.run.status import process_alive
from core.spec.study import Arm, Study, StudyDir, StudyRun, StudyStatus, absolute
from core.studies.study.budgets import measure_arms, measure_locally, steps_within
from core.studies.study.claiming import StudyError, check_folders, claim
from core.studies.study.data import prepare
from core.studies.study.places.place import THIS_COMPUTER, Ended, Place, Training, trained_on
from core.studies.study.places.remote_place import RemotePlace
from core.studies.study.places.remote_step import measure_remotely
from core.studies.study.places.selection import PlaceOptions, open_places
from core.studies.study.results import write_results
from core.studies.study.selection import ALL_RUNS, RunSelection

POLL_SECONDS = 1.0
SAVE_SECONDS = 60.0  # time for runs to save their state when the study is stopped

Log = Callable[[str], None]


def run_study(
    study: Study,
    origin: Path,
    out: StudyDir,
    jobs: int,
    log: Log,
    openclipart: Path | None = None,
    devices: Sequence[str] = (),
    selection: RunSelection = ALL_RUNS,
    machines: Sequence[str] = (),
    home: Path | None = None,
) -> StudyStatus:
    """Train and evaluate every run of ``study`` in ``out`` that is not done, write the results and return the status.

    A failed run is listed and the others continue. Starting the study again retries it, trains new arms and seeds, and
    evaluates new measures. ``openclipart``: see `prepare`. ``devices``: GPUs, by index or UUID, one for each run,
    instead of ``jobs`` processes. ``selection``: the runs to train now. ``machines``: names from the list in ``home``;
    empty for the machines of the last start (initially this computer).

    Raises StudyError for unknown arms, seeds or machines, for a folder that has another study or other recipes, is in
    use or cannot be written, and for several machines when the study needs one; and whatever `prepare` raises.
    """
    study = absolute(study, origin)
    selection.check(study)
    _check_recipes(study)
    with explaining_write_errors(out):
        out.path.mkdir(parents=True, exist_ok=True)
        check_folders(out, study)
        with study_lock(out):
            claim(out, study)
            with open_places(study, out, PlaceOptions(machines, home, jobs, devices), log) as places:
                if places[0].name == THIS_COMPUTER:
                    prepare(out, study, log, openclipart)
                return StudyQueue(study, out, places, log, selection).work()


class FolderInUse(StudyError):
    """The study folder is in use by another process."""


@contextmanager
def study_lock(out: StudyDir) -> Iterator[None]:
    """Lock a study folder within this context. Raises FolderInUse if another process has the lock."""
    out.runs.mkdir(parents=True, exist_ok=True)
    lock = filelock.FileLock(out.lock, timeout=0)
    try:
        lock.acquire()
    except filelock.Timeout as error:
        raise FolderInUse(
            f"the study folder {out.path} is in use by another process; wait for it or stop it."
        ) from error
    try:
        yield
    finally:
        lock.release()


@contextmanager
def explaining_write_errors(out: StudyDir) -> Iterator[None]:
    """Convert an OSError to a StudyError that names the file and the remedy."""
    try:
        yield
    except OSError as error:
        path = error.filename or out.path
        raise StudyError(
            f"cannot write {path}: {error.strerror or error}; free some space or make the file writable, then start "
            "the study again to resume it."
        ) from error


def _check_recipes(study: Study) -> None:
    """Raise StudyError for an arm with an invalid file or invalid settings, before anything is trained."""
    for arm in study.arms:
        try:
            study.recipe(arm)
        except ConfigError as error:
            raise StudyError(f"the arm {arm.name} cannot be trained: {error}") from error


class StudyQueue:
    """The queue: the state of each run, and the place on which it runs."""

    def __init__(
        self, study: Study, out: StudyDir, places: Sequence[Place], log: Log, selection: RunSelection = ALL_RUNS
    ) -> None:
        self.study, self.out, self.places, self.log = study, out, places, log
        self.selection = selection
        runs = [
            StudyRun(arm.name, seed, f"runs/{arm.name}-s{seed}") for seed in study.seeds for arm in study.arms_to_train
        ]
        for run in runs:
            try:
                run.state = "waiting" if out.missing_measures(study, run.arm, run.seed) else "done"
                run.machine = trained_on(out.run(run.arm, run.seed)) or THIS_COMPUTER
            except UserError as error:  # damaged measures; the other runs continue
                run.state, run.message = "failed", str(error)
        self.status = StudyStatus(runs=runs)
        self.running: dict[int, tuple[Place, Training]] = {}

    def work(self) -> StudyStatus:
        with _stop_signals() as stop:
            self.measure_steps(stop)
            try:
                while not stop.is_set():
                    self._collect()
                    is_last = not self.add_runs(stop)
                    self._start()
                    self._write_status()
                    settled = all(run.state in ("done", "failed") for run in self._selected_runs())
                    if is_last and settled and not self.running:
                        break
                    stop.wait(POLL_SECONDS)
            finally:
                self._end_all()
        self.status.finished = not stop.is_set() and all(run.state != "waiting" for run in self.status.runs)
        self._write_status()
        self.write_results()
        if stop.is_set():
            raise KeyboardInterrupt
        return self.status

    def add_runs(self, stop: threading.Event) -> bool:
        """Called before runs start; a sweep adds its next trials here.

        Returns whether more runs may follow later: never for a study.
        """
        return False

    def write_results(self) -> None:
        """Called whenever a run is done."""
        write_results(self.out, self.study)

    def _selected_runs(self) -> list[StudyRun]:
        """The runs to train now."""
        return [run for run in self.status.runs if self.selection.has(self.study, run)]

    def measure_steps(self, stop: threading.Event) -> None:
        """Measure the step time of arms with budgets that still have runs to train; such studies have one place."""
        timed = [
            (run, self.study.configured_arm(run.arm).name)
            for run in self._selected_runs()
            if self.study.arm(run.arm).budget
        ]
        waiting = [
            (run, arm)
            for run, arm in timed
            if run.state == "waiting" and not self.out.measures(run.arm, run.seed).exists()
        ]
        first = self.study.arms[0].name  # the reference of the other arms' step times
        arms = list(dict.fromkeys([first, *(arm for _, arm in waiting)] if waiting else []))
        place = self.places[0]
        measure = partial(measure_remotely, place) if isinstance(place, RemotePlace) else measure_locally
        problems = measure_arms(self.out, arms, stop, self.log, self._write_status, measure)
        for run, arm in waiting:
            if problem := problems.get(arm) or problems.get(first):
                run.state, run.message = "failed", problem

    def _start(self) -> None:
        for index, run in enumerate(self.status.runs):
            if run.state != "waiting" or not self.selection.has(self.study, run) or self._is_still_stopping(run):
                continue
            place = self._place_of(run)
            if place is None:
                continue
            device = place.offer()
            if device is None:  # the facts about a remote machine have become too old
                continue
            try:
                steps = steps_of(self.out, self.study, self.study.arm(run.arm))
                training = place.begin(run, steps, device)
            except UserError as error:  # such as a run folder that cannot be used
                self._fail(run, str(error))
                continue
            run.device, run.machine = device, place.name
            self.running[index] = (place, training)
            trained = self.out.measures(run.arm, run.seed).exists()
            run.state, run.message = "measuring" if trained else "training", ""
            activity = "evaluating new measures" if trained else f"{steps} steps"
            location = f" on {place.name}" if place.name else ""
            self.log(
                f"{self.status.done}/{len(self.status.runs)} done; {run.arm}, seed {run.seed}, {activity}{location}"
            )

    def _place_of(self, run: StudyRun) -> Place | None:
        """A free place: the place that started the run, or any place for a new run.

        A run that cannot be trained on any place is marked as failed.
        """
        try:
            machine = trained_on(self.out.run(run.arm, run.seed))
        except UserError as error:
            self._fail(run, str(error))
            return None
        fitting = [place for place in self.places if machine in (None, place.name)]
        usable = [place for place in fitting if not place.problem]
        if not fitting:
            self._fail(
                run,
                f"it was started on {machine or 'this computer'}, which is not among the chosen machines; choose it "
                f"too, or remove {self.out.run(run.arm, run.seed).path} to train it again.",
            )
        elif not usable:
            self._fail(run, fitting[0].problem)
        return next((place for place in usable if place.offer() is not None), None)

    def _is_still_stopping(self, run: StudyRun) -> bool:
        """Whether a trainer of an earlier, killed study process is still stopping."""
        status = self.out.run(run.arm, run.seed).read_status()
        return status is not None and status.is_local and process_alive(status)

    def _collect(self) -> None:
        for index, (place, training) in list(self.running.items()):
            run, result = self.status.runs[index], training.poll()
            if result is not None:
                self.settle(index, place, result)
            else:
                run.state, run.message = training.state, training.trouble

    def settle(self, index: int, place: Place, result: Ended) -> None:
        """Record how a run ended."""
        del self.running[index]
        run = self.status.runs[index]
        if result.requeue:  # the machine refused the run
            run.state, run.message, run.machine, run.device = "waiting", "", THIS_COMPUTER, ""
            place.problem = result.problem
        elif result.problem:
            self._fail(run, result.problem)
        else:
            run.state, run.message = "done", ""
            self.write_results()

    def _fail(self, run: StudyRun, message: str) -> None:
        run.state, run.message = "failed", message
        self.log(f"failed: {run.arm}, seed {run.seed}: {message}")

    def _write_status(self) -> None:
        problems = dict.fromkeys(place.problem or place.trouble for place in self.places)
        trouble = "\n".join(filter(None, problems))
        if trouble != self.status.trouble and trouble:
            self.log(trouble)
        self.status.trouble = trouble
        self.out.write_status(self.status.touch())

    def _end_all(self) -> None:
        """Request running trainers to save and stop; the next start resumes them."""
        for _, training in self.running.values():
            training.request_stop()
        deadline = time.monotonic() + SAVE_SECONDS
        while self.running and time.monotonic() < deadline:
            for index, (place, training) in list(self.running.items()):
                result = training.poll()
                if result is None:
                    continue
                if result.problem:  # stopped
                    del self.running[index]
                    self.status.runs[index].state, self.status.runs[index].message = "waiting", ""
                else:
                    self.settle(index, place, result)
            time.sleep(0.05)
        for index, (_, training) in self.running.items():
            training.abandon()
            self.status.runs[index].state, self.status.runs[index].message = "waiting", ""


def steps_of(out: StudyDir, study: Study, arm: Arm) -> int:
    """The steps of a run: the study's, or as many as fit the budget. Raises StudyError without a step time."""
    return steps_within(out, study, arm.name, arm.budget) if arm.budget else study.steps


@contextmanager
def _stop_signals() -> Iterator[threading.Event]:
    """An event that Ctrl+C and SIGTERM set, so that running trainers save before the study ends."""
    stop = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return

    def handle(number: int, frame: FrameType | None) -> None:
        stop.set()

    before = {number: signal.signal(number, handle) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
