"""A study folder: config, status and results. No torch, since the window reads all of it.

A study folder:

    study.json       the config
    status.json      the process that runs it, and the state of each run; replaced atomically
    data/            rendered demo data, noisy copies and small clip art, if the study uses them
    machines.json    the machines to train on, if any were chosen
    times/ARM-0.json the step time of an arm in round 0 of the measurements, if the study has budgets
    runs/ARM-s0/     a run folder, with ``exports/measures.json`` once it has been evaluated
    results.json     means, intervals, paired differences; source of results.md, plot.svg and cost.svg
"""

from __future__ import annotations

import json
import os
import platform
import time
from dataclasses import asdict, dataclass, field
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import TypeAdapter, ValidationError

from core.spec.errors import UserError
from core.spec.files import write_whole
from core.spec.reading import MEGABYTE, UnreadableError, read_bytes, read_json, validate
from core.spec.run.folder import RunDir
from core.spec.run.processes import own_start_time
from core.spec.study.config import Count, Measure, Number, Pid, RunState, Study

if TYPE_CHECKING:
    from core.spec.study import records

MAX_STATUS_BYTES = 4 * MEGABYTE


@dataclass
class StudyRun:
    """The state of one arm with one seed, in ``status.json``."""

    arm: str
    seed: Count
    folder: str  # relative to the study folder
    state: RunState = "waiting"
    message: str = ""  # why the run failed or waits
    device: str = ""  # the run's GPU, if the study was started on selected devices
    machine: str = ""  # "" for this computer


@dataclass
class StudyStatus:
    """The process that runs the study, and the state of its runs."""

    pid: Pid = 0
    started: Number = 0.0  # start time of the process
    heartbeat: Number = 0.0
    host: str = ""
    finished: bool = False
    trouble: str = ""  # machines that cannot be reached or used, and why
    runs: list[StudyRun] = field(default_factory=list)

    def touch(self) -> StudyStatus:
        """Set this process and the current time in the status, and return it."""
        self.pid, self.started = os.getpid(), own_start_time()
        self.heartbeat, self.host = time.time(), platform.node()
        return self

    @property
    def done(self) -> int:
        """The number of runs that are trained and evaluated."""
        return sum(run.state == "done" for run in self.runs)


@cache
def _status_reader() -> TypeAdapter[StudyStatus]:
    return TypeAdapter(StudyStatus)


class StudyDir:
    """Paths in a study folder, and access to its small files."""

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        self.study = self.path / "study.json"
        self.status = self.path / "status.json"
        self.data = self.path / "data"
        self.times = self.path / "times"
        self.runs = self.path / "runs"
        self.results = self.path / "results.json"
        self.table = self.path / "results.md"
        self.plot = self.path / "plot.svg"
        self.costs = self.path / "cost.svg"
        self.lock = self.path / ".lock"

    def run(self, arm: str, seed: int) -> RunDir:
        """The run folder of an arm and seed."""
        return RunDir(self.runs / f"{arm}-s{seed}")

    def measures(self, arm: str, seed: int) -> Path:
        """The path of the file with the measures of a run."""
        return self.run(arm, seed).exports / "measures.json"

    def step_time(self, arm: str, round_number: int) -> Path:
        """The path of the file with the step time of ``arm`` that was measured in round ``round_number`` (from 0)."""
        return self.times / f"{arm}-{round_number}.json"

    def read_step_time(self, arm: str, round_number: int) -> records.StepTimeFile | None:
        """Read a measurement of an arm's step time, or None. Raises UserError for an invalid file."""
        from core.spec.study import records  # noqa: PLC0415  (a dozen models, built when a study is read)

        path = self.step_time(arm, round_number)
        try:
            raw: Any = read_json(path, MAX_STATUS_BYTES)
        except FileNotFoundError:
            return None
        return validate(records.StepTimeFile, raw, str(path), remedy="Remove the file to measure it again.")

    def written_paths(self) -> list[Path]:
        """All paths that a study writes to, except those of its runs."""
        folders = [self.data, *(self.data / name for name in ("openmoji", "openclipart")), self.runs]
        folders.append(self.times)
        return [*folders, self.lock, self.path / "stdout.log", self.path / "stderr.log"]

    def written_paths_of(self, arm: str, seed: int) -> list[Path]:
        """All paths that a study writes to in the folder of one run."""
        run = self.run(arm, seed)
        return [run.path, run.exports, run.checkpoints, run.stdout, run.stderr]

    def read_measures(self, arm: str, seed: int) -> dict[str, Any] | None:
        """Read the measures of a run (see `MeasuresFile`), or None. Raises UserError for an invalid file."""
        from core.spec.study import records  # noqa: PLC0415  (a dozen models, built when a study is read)

        path = self.measures(arm, seed)
        try:
            raw: Any = read_json(path, records.MAX_MEASURES_BYTES)
        except FileNotFoundError:
            return None
        validate(records.MeasuresFile, raw, str(path), remedy="Remove the file to evaluate the run again.")
        return {"networks": {}, **raw}

    def missing_measures(self, study: Study, arm: str, seed: int) -> list[Measure]:
        """The measures of a run that are still missing: new, changed and failed measures."""
        measures, existing = study.measures_of(arm), self.read_measures(arm, seed)
        if existing is None:
            return measures
        if existing.get("measured") is not None:
            return [measure for measure in measures if measure.record() not in existing["measured"]]
        networks = existing["networks"].values()  # without a list of measures: compare by name
        return [
            measure
            for measure in measures
            if not all(any(key.startswith(f"{measure.name}/") for key in n) for n in networks)
        ]

    def write_status(self, status: StudyStatus) -> None:
        write_whole(self.status, json.dumps(asdict(status), indent=1).encode())

    def read_status(self) -> StudyStatus | None:
        """The last written status; None if it is missing or unreadable."""
        try:
            content = read_bytes(self.status, MAX_STATUS_BYTES)
            return _status_reader().validate_json(content, strict=True)
        except (FileNotFoundError, UserError, ValidationError):
            return None

    def read_results(self) -> dict[str, Any] | None:
        """Read ``results.json``; None if it is missing or unreadable. `results_problem` validates its content."""
        from core.spec.study import records  # noqa: PLC0415  (a dozen models, built when a study is read)

        try:
            raw = read_json(self.results, records.MAX_RESULTS_BYTES)
        except (FileNotFoundError, UnreadableError):
            return None
        return raw if isinstance(raw, dict) else None
