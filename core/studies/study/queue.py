"""The runs of a study, one a free device of the places that it was given; it can be interrupted and resumed.

Flow: ``python -m core study STUDY.json OUT`` -> **queue** -> ``core.studies.study.places`` for each run that is not
done yet -> ``core.studies.study.results``. Seeds are the outer loop: after the first seed of all arms there is a first
table.
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
from core.studies.study.budgets import MOST_STEPS, measure_arms, measure_here, steps_within
from core.studies.study.claiming import StudyError, check_folders, claim
from core.studies.study.data import prepare
from core.studies.study.places.place import HERE, Ended, Place, Training, trained_on
from core.studies.study.places.remote_place import Elsewhere
from core.studies.study.places.remote_step import measure_elsewhere
from core.studies.study.places.selection import Where, chosen_places
from core.studies.study.results import write_results
from core.studies.study.selection import ALL, Chosen

LOOK_SECONDS = 1.0
END_SECONDS = 60.0  # that runs have to save their state when the study is ended

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
    on: Sequence[str] = (),
    home: Path | None = None,
) -> StudyStatus:
    """Train and measure every run of ``study`` in ``out`` that is not done yet, and write the results.

    A run that fails is listed and the others go on; starting the study again tries it again, trains arms and seeds that
    are new in it, and measures what was not measured before. ``openclipart``: see ``prepare``. ``devices``: GPUs, by
    index or UUID, one for each run; they take the place of ``jobs``. ``chosen``: the runs that are trained now, while
    others wait. ``on``: machines of the list in ``home``, by name; none: those of the last time, else this one.

    Raises StudyError when it names what is not there, when the folder holds another study or runs of another recipe, is
    in use or cannot be written, or when machines are mixed that may not be; whatever ``prepare`` raises.
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
            with chosen_places(study, out, Where(on, home, jobs, devices), log) as places:
                if places[0].name == HERE:
                    prepare(out, study, log, openclipart)
                return _Queue(study, out, places, log, chosen).work()
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
    """Which runs wait, which are at work and where, and how each ended."""

    def __init__(self, study: Study, out: StudyDir, places: Sequence[Place], log: Log, chosen: Chosen = ALL) -> None:
        self.study, self.out, self.places, self.log = study, out, places, log
        self.chosen = chosen
        order = sorted(study.trained, key=lambda arm: bool(arm.as_long_as))  # these need another arm's time
        runs = [StudyRun(arm.name, seed, f"runs/{arm.name}-s{seed}") for seed in study.seeds for arm in order]
        for run in runs:
            try:
                run.state = "waiting" if out.missing(study, run.arm, run.seed) else "done"
                run.machine = trained_on(out.run(run.arm, run.seed)) or HERE
            except UserError as error:  # its measures were damaged; the others go on
                run.state, run.message = "failed", str(error)
        self.status = StudyStatus(runs=runs)
        self.running: dict[int, tuple[Place, Training]] = {}

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
        """What a step takes, of the arms with budgets that still have runs to train; these have one place."""
        timed = [(run, self.study.base(run.arm).name) for run in self._chosen() if self.study.arm(run.arm).budget]
        waiting = [
            (run, base)
            for run, base in timed
            if run.state == "waiting" and not self.out.measures(run.arm, run.seed).exists()
        ]
        first = self.study.arms[0].name  # whose step the others' are relative to
        arms = list(dict.fromkeys([first, *(base for _, base in waiting)] if waiting else []))
        place = self.places[0]
        measure = partial(measure_elsewhere, place) if isinstance(place, Elsewhere) else measure_here
        problems = measure_arms(self.out, arms, ended, self.log, self._write_status, measure)
        for run, base in waiting:
            if problem := problems.get(base) or problems.get(first):
                run.state, run.message = "failed", problem

    def _start(self) -> None:
        for index, run in enumerate(self.status.runs):
            if run.state != "waiting" or not self.chosen.has(self.study, run) or self._taken(run):
                continue
            place = self._place_of(run)
            if place is None:
                continue
            try:
                steps = steps_of(self.out, self.study, self.study.arm(run.arm), run.seed)
            except StudyError as error:
                if not self._still_coming(run):
                    run.state, run.message = "failed", str(error)
                continue
            run.device, run.machine = place.offer() or "", place.name
            self.running[index] = (place, place.begin(run, steps, run.device))
            trained = self.out.measures(run.arm, run.seed).exists()
            run.state, run.message = "measuring" if trained else "training", ""
            doing = "evaluating new measures" if trained else f"{steps} steps"
            where = f" on {place.name}" if place.name else ""
            self.log(f"{self.status.done}/{len(self.status.runs)} done; {run.arm}, seed {run.seed}, {doing}{where}")

    def _place_of(self, run: StudyRun) -> Place | None:
        """A place with a free device: where the run was begun, else any. A run that no place can take has failed."""
        try:
            home = trained_on(self.out.run(run.arm, run.seed))
        except UserError as error:
            run.state, run.message = "failed", str(error)
            return None
        fitting = [place for place in self.places if home in (None, place.name)]
        usable = [place for place in fitting if not place.problem]
        if not fitting:
            run.state = "failed"
            run.message = (
                f"it was begun on {home or 'this computer'}, which is not among the machines that were chosen; choose "
                f"it too, or remove {self.out.run(run.arm, run.seed).path} to train it anew."
            )
        elif not usable:
            run.state, run.message = "failed", fitting[0].problem
        return next((place for place in usable if place.offer() is not None), None)

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

    def _collect(self) -> None:
        for index, (place, training) in list(self.running.items()):
            run, ended = self.status.runs[index], training.look()
            if ended is not None:
                self._settle(index, place, ended)
            else:
                run.state, run.message = training.state, training.told

    def _settle(self, index: int, place: Place, ended: Ended) -> None:
        del self.running[index]
        run = self.status.runs[index]
        if ended.again:  # the machine did not take it
            run.state, run.message, run.machine, run.device = "waiting", "", HERE, ""
            place.problem = ended.problem
        elif ended.problem:
            run.state, run.message = "failed", ended.problem
            self.log(f"failed: {run.arm}, seed {run.seed}: {ended.problem}")
        else:
            run.state, run.message = "done", ""
            write_results(self.out, self.study)

    def _write_status(self) -> None:
        told = dict.fromkeys(place.problem or place.told for place in self.places)
        trouble = "\n".join(filter(None, told))
        if trouble != self.status.trouble and trouble:
            self.log(trouble)
        self.status.trouble = trouble
        self.out.write_status(self.status.now())

    def _end_all(self) -> None:
        """Ask those at work to stop, which saves their state; the next time they go on."""
        for _, training in self.running.values():
            training.ask_to_end()
        until = time.monotonic() + END_SECONDS
        while self.running and time.monotonic() < until:
            for index, (place, training) in list(self.running.items()):
                ended = training.look()
                if ended is None:
                    continue
                if ended.problem:  # it was stopped
                    del self.running[index]
                    self.status.runs[index].state, self.status.runs[index].message = "waiting", ""
                else:
                    self._settle(index, place, ended)
            time.sleep(0.05)
        for index, (_, training) in self.running.items():
            training.leave()
            self.status.runs[index].state, self.status.runs[index].message = "waiting", ""


def steps_of(out: StudyDir, study: Study, arm: Arm, seed: int) -> int:
    """Steps of a run: the study's, as many as its budget holds, or as take the time of the arm it is to be as long as.

    For the last, the usual seconds of a step are compared, those of the other arm and those of the arm with the same
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
