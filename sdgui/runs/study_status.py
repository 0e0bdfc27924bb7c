"""The status of a study, read from its folder as plain data. No Qt, no torch; called from a thread.

Flow: the folders of the study and its runs -> ``read_study_folder`` -> ``StudySnapshot`` -> Study panel.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from core.spec.config import ConfigError
from core.spec.errors import UserError
from core.spec.files import write_whole
from core.spec.reading import KILOBYTE, UnreadableError, read_json, read_text, validate
from core.spec.run.folder import RunDir
from core.spec.run.status import RunStatus, process_alive
from core.spec.study import Arm, Study, StudyDir, StudyStatus, read_study
from core.spec.study.machines import read_machines
from core.spec.study.records import MAX_MEASURES_BYTES, MeasuresFile, results_problem
from core.spec.study.sweep import DEFAULT_ARM
from core.spec.study.sweep_report import SweepDir, SweepReport

RESULTS_VERSION = 1
ASKED = "asked"  # file with the window's request to the program: "pause" or "stop"

State = Literal[
    "not started", "starting", "running", "paused", "stopped", "interrupted", "extended", "done", "failed", "gone"
]


@dataclass(frozen=True)
class StudyRunSnapshot:
    """A run of the study. ``step`` of ``total`` is trained; both are 0 if unknown."""

    arm: str
    seed: int
    state: str  # waiting, training, measuring, done, failed
    message: str  # why the run failed or waits
    folder: Path
    step: int = 0
    total: int = 0
    seconds_left: float | None = None
    seconds: float | None = None  # duration of a finished run
    device: str = ""  # the assigned GPU
    machine: str = ""  # machine of the run; "" for this computer


@dataclass(frozen=True)
class StudySnapshot:
    """The state of a study, read from its folder. ``problem``: why it cannot be read."""

    folder: Path
    state: State = "not started"
    study: Study | None = None
    problem: str = ""
    runs: tuple[StudyRunSnapshot, ...] = ()
    seconds_left: float | None = None
    results: dict[str, Any] | None = field(default=None, compare=False)
    results_stamp: float = 0.0
    results_problem: str = ""
    machines: tuple[str, ...] = ()  # the chosen machines; empty for this computer
    trouble: str = ""  # unreachable or unusable machines, one per line
    stderr: str = ""  # last lines of stderr if the program failed
    is_sweep: bool = False
    sweep: SweepReport | None = field(default=None, compare=False)  # None before the first trial
    sweep_stamp: float = 0.0

    @property
    def done(self) -> int:
        return sum(run.state == "done" for run in self.runs)

    @property
    def alive(self) -> bool:
        return self.state in ("starting", "running")

    @property
    def failures(self) -> list[StudyRunSnapshot]:
        return [run for run in self.runs if run.state == "failed"]


def read_study_folder(folder: Path, before: StudySnapshot | None = None) -> StudySnapshot:
    """Read the folder; reuses unchanged results of ``before``."""
    out = SweepDir(folder)
    if not folder.is_dir():
        return StudySnapshot(folder, "gone", problem=f"The folder {folder} was not found; locate it.")
    try:
        study = read_study(out.study)
    except ConfigError as error:
        return StudySnapshot(folder, problem=str(error))
    status = out.read_status()
    state = _state(out, study, status)
    runs = tuple(_runs(out, study, status, alive=state in ("running", "starting")))
    results, stamp, problem = _results(out, before)
    is_sweep = out.sweep.is_file()
    report, sweep_stamp, sweep_problem = _sweep(out, before) if is_sweep else (None, 0.0, "")
    return StudySnapshot(
        folder,
        state,
        study,
        "",
        runs,
        time_left(runs, state),
        results,
        stamp,
        problem or sweep_problem,
        _machines(out, study),
        status.trouble if status is not None else "",
        RunDir(folder).stderr_end(12) if state in ("interrupted", "failed") else "",
        is_sweep,
        report,
        sweep_stamp,
    )


def _machines(out: StudyDir, study: Study) -> tuple[str, ...]:
    try:
        return tuple(read_machines(out, study).on)
    except UserError:
        return ()  # the program reports the problem


def _sweep(out: SweepDir, before: StudySnapshot | None) -> tuple[SweepReport | None, float, str]:
    try:
        stamp = out.trials.stat().st_mtime
        if before is not None and before.sweep_stamp == stamp:
            return before.sweep, stamp, ""
        return out.read_report(), stamp, ""
    except FileNotFoundError:
        return None, 0.0, ""
    except (OSError, UserError) as error:
        return None, 0.0, str(error)


def _arms(out: SweepDir, study: Study) -> list[Arm]:
    """The arms to train; a sweep does not train its default."""
    is_sweep = out.sweep.is_file()
    return [arm for arm in study.arms_to_train if not is_sweep or arm.name != DEFAULT_ARM]


def _state(out: SweepDir, study: Study, status: StudyStatus | None) -> State:
    if status is None:
        return "not started"
    if program_alive(status):
        return "running" if status.runs else "starting"
    if status.finished:
        if len(status.runs) < len(_arms(out, study)) * len(study.seeds) or _is_edited(out):
            return "extended"
        return "failed" if any(run.state == "failed" for run in status.runs) else "done"
    request = last_request(out)
    return "paused" if request == "pause" else "stopped" if request == "stop" else "interrupted"


def _is_edited(out: SweepDir) -> bool:
    """Whether a sweep was changed after its program ended."""
    try:
        return out.sweep.stat().st_mtime > out.status.stat().st_mtime
    except FileNotFoundError:
        return False


def program_alive(status: StudyStatus) -> bool:
    """Whether the program that wrote ``status`` is still running."""
    return process_alive(RunStatus(status.pid, status.started, status.heartbeat, host=status.host))


def last_request(out: StudyDir) -> str:
    """The last request to the program; "" for none."""
    try:
        return read_text(out.path / ASKED, KILOBYTE).strip()
    except (OSError, UnreadableError):
        return ""


def _runs(out: SweepDir, study: Study, status: StudyStatus | None, alive: bool) -> list[StudyRunSnapshot]:
    reported_runs = {(run.arm, run.seed): run for run in (status.runs if status else [])}
    snapshots = []
    for seed in study.seeds:
        for arm in _arms(out, study):
            folder, reported = out.run(arm.name, seed), reported_runs.get((arm.name, seed))
            measures = out.measures(arm.name, seed)
            state = "done" if measures.exists() else str(reported.state) if reported else "waiting"
            if state in ("training", "measuring") and not alive:
                state = "waiting"
            progress = folder.read_status() if state in ("training", "measuring") else None
            snapshots.append(
                StudyRunSnapshot(
                    arm.name,
                    seed,
                    state,
                    reported.message if reported and state in ("failed", "training", "measuring") else "",
                    folder.path,
                    progress.step if progress else 0,
                    progress.total_steps if progress else 0,
                    progress.seconds_left if progress else None,
                    _duration(folder, measures) if state == "done" else None,
                    reported.device if reported else "",
                    reported.machine if reported else "",
                )
            )
    return snapshots


def _duration(folder: RunDir, measures: Path) -> float | None:
    """Seconds of training and evaluation; pauses are not counted."""
    try:
        trained = validate(MeasuresFile, read_json(measures, MAX_MEASURES_BYTES), str(measures)).train_seconds
        return trained + max(0.0, measures.stat().st_mtime - folder.events.stat().st_mtime)
    except (OSError, UserError):
        return None


def time_left(runs: Sequence[StudyRunSnapshot], state: str, now: float | None = None) -> float | None:
    """Seconds until the last run is done, estimated from finished runs; None before the first.

    Assumes the current number of parallel runs; each waiting run starts as soon as another ends.
    """
    if state != "running":
        return None
    durations_by_arm: dict[str, list[float]] = {}
    for run in runs:
        if run.seconds is not None:
            durations_by_arm.setdefault(run.arm, []).append(run.seconds)
    all_durations = [seconds for durations in durations_by_arm.values() for seconds in durations]
    lanes: list[float] = []  # seconds until each active run, and the waiting runs after it, are done
    waiting: list[float] = []  # estimated durations of waiting runs
    for run in runs:
        if run.state not in ("waiting", "training", "measuring"):
            continue
        durations = durations_by_arm.get(run.arm) or all_durations
        estimate = sum(durations) / len(durations) if durations else None
        if run.state == "training" and run.seconds_left is not None:
            lanes.append(run.seconds_left)
        elif estimate is None:
            return None
        elif run.state == "waiting":
            waiting.append(estimate)
        else:  # measuring, or training without an estimate of its own: assume that a quarter is left
            lanes.append(estimate / 4)
    lanes = lanes or [0.0]
    for seconds in waiting:
        lanes[lanes.index(min(lanes))] += seconds
    return max(lanes)


def _results(out: StudyDir, before: StudySnapshot | None) -> tuple[dict[str, Any] | None, float, str]:
    try:
        stamp = out.results.stat().st_mtime
    except OSError:
        return None, 0.0, ""
    if before is not None and before.results_stamp == stamp:
        return before.results, stamp, before.results_problem
    raw = out.read_results()
    if raw is None:
        problem = "cannot be read; delete the file, and it is recreated when a run ends."
    elif (version := raw.get("version")) != RESULTS_VERSION:
        problem = (
            f"has version {version}, but this sdgui reads version {RESULTS_VERSION}. "
            "Use the sdgui that wrote it, or delete the file and press Start to recreate it from the runs."
        )
    elif not {"arms", "compare", "metrics", "seeds"} <= raw.keys():
        problem = "does not contain study results; delete it and press Start to recreate it."
    elif wrong := results_problem(raw):
        problem = f"is damaged: {wrong} Delete it and press Start to recreate it."
    else:
        return raw, stamp, ""
    return None, stamp, f"{out.results} {problem}"


def record_request(folder: Path, request: str) -> None:
    """Record the request; "" clears it. May raise OSError."""
    path = folder / ASKED
    if request:
        write_whole(path, request.encode("ascii"), durable=False)  # replaces a link instead of following it
    else:
        path.unlink(missing_ok=True)


def first_status(pid: int, started: float, host: str) -> StudyStatus:
    """The status of a study until its program has written its own."""
    return StudyStatus(pid, started, time.time(), host, runs=[])
