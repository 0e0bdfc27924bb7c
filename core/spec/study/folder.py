"""A study folder: config, status and results. No torch, the window reads all of it.

A study folder:

    study.json       the config, as it was begun
    status.json      who works on it, and the state of each run; written whole and renamed
    data/            rendered demo data, noisy copies and small clip art, where the study asks for them
    machines.json    the machines that it was given, where it was given some
    times/ARM-0.json what a step of an arm takes, where the study has budgets
    runs/ARM-s0/     a run folder like any other, and ``exports/measures.json`` when it has been measured
    results.json     means, intervals, paired differences; results.md, plot.svg and cost.svg are made from it
"""

from __future__ import annotations

import json
import os
import platform
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from core.spec.errors import UserError
from core.spec.files import write_whole
from core.spec.reading import UnreadableError, checked, excerpt, read_json
from core.spec.run.folder import RunDir
from core.spec.run.processes import own_start_time
from core.spec.study.config import Measure, RunState, Study

if TYPE_CHECKING:
    from core.spec.study import records


@dataclass
class StudyRun:
    """One arm with one seed, as in ``status.json``."""

    arm: str
    seed: int
    folder: str  # relative to the study folder
    state: RunState = "waiting"
    message: str = ""  # why it failed, or what hinders it for now
    device: str = ""  # the GPU that it was given, when the study was given some
    machine: str = ""  # where it is; "" for this computer


@dataclass
class StudyStatus:
    """The process that runs the study, and the state of its runs."""

    pid: int = 0
    started: float = 0.0  # the process's own start time
    heartbeat: float = 0.0
    host: str = ""
    finished: bool = False
    trouble: str = ""  # machines that cannot be reached or used, and why
    runs: list[StudyRun] = field(default_factory=list)

    def now(self) -> StudyStatus:
        """The same with this process and the current time."""
        self.pid, self.started = os.getpid(), own_start_time()
        self.heartbeat, self.host = time.time(), platform.node()
        return self

    @property
    def done(self) -> int:
        """Runs that are trained and measured."""
        return sum(run.state == "done" for run in self.runs)


class StudyDir:
    """Paths in a study folder, and the files that are written whole."""

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
        """The run folder of one arm with one seed."""
        return RunDir(self.runs / f"{arm}-s{seed}")

    def measures(self, arm: str, seed: int) -> Path:
        """Where the numbers of a run are kept."""
        return self.run(arm, seed).exports / "measures.json"

    def step_time(self, arm: str, part: int) -> Path:
        """Where the step time of ``arm`` is kept, measured for the ``part``-th time."""
        return self.times / f"{arm}-{part}.json"

    def read_step_time(self, arm: str, part: int) -> records.StepTimeFile | None:
        """One measurement of an arm's step time; None where there is none. Raises UserError for a wrong file."""
        from core.spec.study import records  # noqa: PLC0415  (a dozen models, built when a study is read)

        path = self.step_time(arm, part)
        try:
            raw: Any = read_json(path, records.LARGEST_STATUS)
        except FileNotFoundError:
            return None
        return checked(
            records.StepTimeFile, raw, excerpt(str(path)), remedy="Remove it, and the study measures it again."
        )

    def written(self) -> list[Path]:
        """The folders and files in which, or through which, a study writes beside its runs."""
        folders = [self.data, *(self.data / name for name in ("openmoji", "openclipart")), self.runs]
        folders.append(self.times)
        return [*folders, self.lock, self.path / "stdout.log", self.path / "stderr.log"]

    def written_of(self, arm: str, seed: int) -> list[Path]:
        """The same of one run."""
        run = self.run(arm, seed)
        return [run.path, run.exports, run.checkpoints, run.stdout, run.stderr]

    def read_measures(self, arm: str, seed: int) -> dict[str, Any] | None:
        """What was measured of a run (see `MeasuresFile`); None when nothing was. Raises UserError for a wrong file."""
        from core.spec.study import records  # noqa: PLC0415  (a dozen models, built when a study is read)

        path = self.measures(arm, seed)
        try:
            raw: Any = read_json(path, records.LARGEST_MEASURES)
        except FileNotFoundError:
            return None
        checked(
            records.MeasuresFile, raw, excerpt(str(path)), remedy="Remove it, and the study evaluates this run again."
        )
        return {"networks": {}, **raw}

    def missing(self, study: Study, arm: str, seed: int) -> list[Measure]:
        """What is still to be measured of a run: new measures, changed ones, and those that failed."""
        wanted, found = study.measures_of(arm), self.read_measures(arm, seed)
        if found is None:
            return wanted
        if found.get("measured") is not None:
            return [one for one in wanted if one.written() not in found["measured"]]
        networks = found["networks"].values()  # from before it was noted, and then the names have to do
        return [one for one in wanted if not all(any(key.startswith(f"{one.name}/") for key in n) for n in networks)]

    def write_status(self, status: StudyStatus) -> None:
        write_whole(self.status, json.dumps(asdict(status), indent=1).encode())

    def read_status(self) -> StudyStatus | None:
        """The last status; None when there is none that can be read."""
        from core.spec.study import records  # noqa: PLC0415  (a dozen models, built when a study is read)

        try:
            raw = read_json(self.status, records.LARGEST_STATUS)
            found = checked(records.StudyStatusRecord, raw, str(self.status))
        except (FileNotFoundError, UserError):
            return None
        return StudyStatus(**found.model_dump(exclude={"runs"}), runs=[StudyRun(**dict(run)) for run in found.runs])

    def read_results(self) -> dict[str, Any] | None:
        """``results.json``; None when there is none yet that can be read. `results_problem` checks its content."""
        from core.spec.study import records  # noqa: PLC0415  (a dozen models, built when a study is read)

        try:
            raw = read_json(self.results, records.LARGEST_RESULTS)
        except (FileNotFoundError, UnreadableError):
            return None
        return raw if isinstance(raw, dict) else None
