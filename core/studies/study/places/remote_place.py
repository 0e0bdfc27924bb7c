"""Another machine as a place: checks its free devices and data, and submits runs.

Flow: the queue -> ``offer`` (a probe, a check of the data) -> ``begin`` -> ``RemoteTraining``.
"""

from __future__ import annotations

import hashlib
import secrets
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from typing import Any

from core.data.errors import DataError
from core.data.inspection.statistics import fingerprint
from core.data.sources.opening import open_source
from core.spec.config import with_absolute_paths
from core.spec.errors import UserError
from core.spec.machines.answers import DataFacts, Facts
from core.spec.machines.record import read_record
from core.spec.machines.remote_runs import RemoteRuns
from core.spec.machines.ssh import ConnectionLost
from core.spec.run.status import RunState
from core.spec.study import DEMO, OPENCLIPART, Study, StudyDir, StudyRun
from core.studies.study.places.remote_job import JobRequest
from core.studies.study.places.remote_training import RemoteTraining

_FACTS_VALID_SECONDS = 3.0  # maximum age of a probe when a device is assigned
_RETRY_SECONDS = 5.0  # delay between attempts to reach a machine
_ALIVE = [state.value for state in RunState if state.alive]
_MAX_SLURM_JOBS = 1000  # jobs in Slurm's queue at the same time

KnownData = dict[str, tuple[str, DataFacts]]  # name -> the first machine that has it, and its facts there


class RemotePlace:
    """One machine. Its answers are read when a device is requested, so that nothing waits for the machine."""

    def __init__(
        self, name: str, remote: RemoteRuns, study: Study, out: StudyDir, folder: str, known_data: KnownData
    ) -> None:
        """``folder``: the study's name on the machine. Raises MachineError if there is no machine ``name``."""
        self.name, self.problem, self.trouble = name, "", ""
        self.host = remote.machines.host(name)
        self.machine = self.host.machine
        self._remote, self._study, self._out, self._folder = remote, study, out, folder
        self._known_data = known_data
        self._files: Mapping[str, str] = frozen_files(study)
        self._pending: Future[Any] | None = None
        self._accept: Callable[[Any], None] = self._accept_facts  # handles the answer that ``_pending`` waits for
        self._retry_at = 0.0
        self._is_data_checked = False
        self._facts: tuple[float, Facts] | None = None
        self._busy: list[str] = []  # the device of each running run

    def offer(self) -> str | None:
        """A free GPU, or "" for one more process or job; None if nothing is free."""
        self._receive()
        if self.problem or not self._is_data_checked:
            return None
        if self.machine.launcher == "slurm":
            return "" if len(self._busy) < _MAX_SLURM_JOBS else None
        if self._facts is None or time.monotonic() - self._facts[0] > _FACTS_VALID_SECONDS:
            return None
        gpus = self._facts[1].gpus
        if gpus:
            free = (gpu.device for gpu in gpus if gpu.free and gpu.device not in self._busy)
            return next(free, None)
        return "" if len(self._busy) < self.machine.at_once else None

    def begin(self, run: StudyRun, steps: int, device: str) -> RemoteTraining:
        """Submit the run, or resume it if the machine has it."""
        training = RemoteTraining(
            self._remote,
            self.host,
            self._study,
            self._out,
            run,
            self.request(["run", run.arm, str(run.seed), str(steps)], device),
            lambda: self._busy.remove(device),
        )
        self._busy.append(device)
        return training

    def request(self, arguments: list[str], device: str = "") -> JobRequest:
        """A request to run ``arguments`` on this machine."""
        return JobRequest(self._folder, self._files, arguments, secrets.token_hex(8), [device] if device else [])

    def stop(self, run: StudyRun) -> None:
        """The request is forwarded as soon as the machine can be reached."""
        folder = self._out.run(run.arm, run.seed)
        record, status = read_record(folder), folder.read_status()
        if record is None or record.machine != self.name or record.waiting:
            return
        if status is None or status.verdict in ("", *_ALIVE):
            folder.ask("stop")
            self._remote.attach(folder)

    def extend(self, study: Study) -> None:
        """Replace the study; the new arms are sent with the next run."""
        self._study, self._files = study, frozen_files(study)

    def _receive(self) -> None:
        seconds = time.monotonic()
        if self._pending is None and seconds >= self._retry_at:
            self._pending = self._send(seconds)
        if self._pending is None or not self._pending.done():
            state = self.host.state
            self.trouble = state.message if state.kind in ("waiting", "refused") else self.trouble
            return
        reply, self._pending = self._pending, None
        try:
            self._accept(reply.result())
            self.trouble = ""
        except ConnectionLost as error:
            self.trouble, self._retry_at = str(error), seconds + _RETRY_SECONDS
        except UserError as error:
            self.problem = str(error)

    def _send(self, seconds: float) -> Future[Any] | None:
        if not self._is_data_checked and (paths := user_data(self._study)):
            self._accept = self._accept_data
            return self.host.data_facts(paths)
        self._is_data_checked = True
        if self.machine.launcher == "slurm" or (self._facts and seconds - self._facts[0] < _FACTS_VALID_SECONDS / 2):
            return None
        self._accept = self._accept_facts
        return self.host.probe()

    def _accept_facts(self, facts: Facts) -> None:
        self._facts = (time.monotonic(), facts)

    def _accept_data(self, datasets: list[DataFacts]) -> None:
        for dataset in datasets:
            if dataset.problem:
                raise UserError(
                    f"{self.name} cannot read the data {dataset.name}: {dataset.problem.rstrip('.')}; copy the data to "
                    f"the same path on {self.name}, or do not use this machine."
                )
            first_machine, first = self._known_data.setdefault(dataset.name, (self.name, dataset))
            if first.digest != dataset.digest:
                raise UserError(
                    f"the data {dataset.name} on {self.name} ({dataset.pairs} rows) differs from the data on "
                    f"{first_machine} ({first.pairs} rows); copy the data to {self.name}, or do not use this machine."
                )
        self._is_data_checked = True


def local_data(study: Study) -> KnownData:
    """The user's data sets of ``study`` that exist on this computer."""
    data: KnownData = {}
    for name, path in user_data(study).items():
        try:
            rows = open_source(path).rows
        except DataError:
            continue  # the data may exist only on other machines
        data[name] = ("this computer", DataFacts(name=name, pairs=len(rows), digest=fingerprint(rows)))
    return data


def frozen_files(study: Study) -> Mapping[str, str]:
    """``study.json`` and ``arms/DIGEST.json`` for each recipe. Raises ConfigError for an invalid arm."""
    files: dict[str, str] = {}
    arms = []
    for arm in study.arms:
        text = with_absolute_paths(study.recipe(arm)).to_json()
        name = f"arms/{hashlib.sha256(text.encode()).hexdigest()[:16]}.json"  # one file for equal recipes
        files[name] = text
        arms.append(arm.model_copy(update={"preset": "", "config": name, "set": []}))
    return {**files, "study.json": study.model_copy(update={"arms": arms, "set": []}).to_json()}


def user_data(study: Study) -> Mapping[str, str]:
    """Paths of the user's data by name, without demo data and clip art."""
    return {name: path for name, path in study.data.items() if not path.startswith((DEMO, OPENCLIPART))}
