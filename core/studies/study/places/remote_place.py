"""Another machine as a place: what it has free, whether its data are the study's, and the runs that are handed over.

Flow: the queue -> ``offer`` (a probe, a look at the data) -> ``begin`` -> ``RemoteTraining``.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from typing import Any

from core.data.errors import DataError
from core.data.inspection.fingerprint import fingerprint
from core.data.sources.opening import open_source
from core.spec.errors import UserError
from core.spec.machines.answers import DataFacts, Facts
from core.spec.machines.remote_runs import RemoteRuns
from core.spec.machines.ssh import LineDown
from core.spec.study import Study, StudyDir, StudyRun
from core.studies.study.places.frozen import frozen_files, own_data
from core.studies.study.places.remote_job import Order
from core.studies.study.places.remote_training import RemoteTraining

_FRESH_SECONDS = 3.0  # so old may be what is known of a machine when a device is given
_AGAIN_SECONDS = 5.0  # between two questions to a machine out of reach
_JOBS = 1000  # at once in a scheduler's queue

KnownData = dict[str, tuple[str, DataFacts]]  # name -> where it was seen first, and what it was


class Elsewhere:
    """One machine. Its answers are taken when it is asked for a device; nothing waits for it."""

    def __init__(
        self, name: str, remote: RemoteRuns, study: Study, out: StudyDir, folder: str, known: KnownData
    ) -> None:
        """``folder``: the study's name there. MachineError when there is no machine ``name``."""
        self.name, self.problem, self.told = name, "", ""
        self.host = remote.machines.host(name)
        self.machine = self.host.machine
        self._remote, self._study, self._out, self._folder = remote, study, out, folder
        self._known = known
        self._files: Mapping[str, str] = frozen_files(study)
        self._asked: Future[Any] | None = None
        self._take: Callable[[Any], None] = self._take_facts
        self._not_before = 0.0
        self._checked = False
        self._facts: tuple[float, Facts] | None = None
        self._busy: list[str] = []  # the device of each run that is at work there

    def offer(self) -> str | None:
        """A GPU that nobody uses, or "" for one more process or job."""
        self._listen()
        if self.problem or not self._checked:
            return None
        if self.machine.launcher == "slurm":
            return "" if len(self._busy) < _JOBS else None
        if self._facts is None or time.monotonic() - self._facts[0] > _FRESH_SECONDS:
            return None
        gpus = self._facts[1].gpus
        if gpus:
            free = (gpu.device for gpu in gpus if gpu.free and gpu.device not in self._busy)
            return next(free, None)
        return "" if len(self._busy) < self.machine.at_once else None

    def begin(self, run: StudyRun, steps: int, device: str) -> RemoteTraining:
        """Hand it over, or go on with what is there of it."""
        training = RemoteTraining(
            self._remote,
            self.host,
            self._study,
            self._out,
            run,
            self.order(["run", run.arm, str(run.seed), str(steps)], device),
            lambda: self._busy.remove(device),
        )
        self._busy.append(device)
        return training

    def order(self, what: list[str], device: str = "") -> Order:
        """``what`` as it is handed over."""
        return Order(self._folder, self._files, what, secrets.token_hex(8), [device] if device else [])

    def refused(self, error: UserError) -> None:
        """It begins nothing more until somebody does something about it."""
        self.problem = str(error)

    def close(self) -> None:
        """Its connection is closed with all others."""

    # What it answers
    def _listen(self) -> None:
        now = time.monotonic()
        if self._asked is None and now >= self._not_before:
            self._asked = self._ask(now)
        if self._asked is None or not self._asked.done():
            state = self.host.state
            self.told = state.sentence if state.kind in ("waiting", "refused") else self.told
            return
        asked, self._asked = self._asked, None
        try:
            self._take(asked.result())
            self.told = ""
        except LineDown as error:
            self.told, self._not_before = str(error), now + _AGAIN_SECONDS
        except UserError as error:
            self.refused(error)

    def _ask(self, now: float) -> Future[Any] | None:
        if not self._checked and (paths := own_data(self._study)):
            self._take = self._take_data
            return self.host.data_facts(paths)
        self._checked = True
        if self.machine.launcher == "slurm" or (self._facts and now - self._facts[0] < _FRESH_SECONDS / 2):
            return None
        self._take = self._take_facts
        return self.host.probe()

    def _take_facts(self, facts: Facts) -> None:
        self._facts = (time.monotonic(), facts)

    def _take_data(self, found: list[DataFacts]) -> None:
        for one in found:
            if one.problem:
                raise UserError(
                    f"{self.name} cannot read the data {one.name}: {one.problem.rstrip('.')}; copy them there to the "
                    f"same path, or leave {self.name} out."
                )
            where, seen = self._known.setdefault(one.name, (self.name, one))
            if seen.digest != one.digest:
                raise UserError(
                    f"the data {one.name} on {self.name} ({one.pairs} rows) are others than on {where} "
                    f"({seen.pairs} rows); copy them there, or leave {self.name} out."
                )
        self._checked = True


def data_here(study: Study) -> KnownData:
    """The study's own data as far as this computer has them."""
    found: KnownData = {}
    for name, path in own_data(study).items():
        try:
            rows = open_source(path).rows
        except DataError:
            continue  # they may be on the other machines alone
        found[name] = ("this computer", DataFacts(name=name, pairs=len(rows), digest=fingerprint(rows)))
    return found
