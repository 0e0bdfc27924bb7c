"""Hosts: the machines of this window, their hardware, and remote runs.

Flow: ``machines.json`` -> ``core.spec.machines`` (connections, mirrors) -> answers as signals in the window's thread.
The launcher starts remote runs through ``start``; panels call ``probe`` and ``check`` and show the answers.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Any

from PySide6.QtCore import QObject, Signal

from core.spec.errors import UserError
from core.spec.machines.answers import Facts, Finding, Gpu
from core.spec.machines.connection import ConnectionState
from core.spec.machines.host import when_done
from core.spec.machines.machine import LOCAL, Machine
from core.spec.machines.machines import Machines
from core.spec.machines.record import read_record
from core.spec.machines.remote_runs import RemoteRuns
from core.spec.machines.ssh import ConnectionLost
from sdgui.runs.machines.colleagues import ColleagueRuns
from sdgui.runs.machines.fetching import Fetches
from sdgui.runs.machines.slots import UNLIMITED, slots_of
from sdgui.store.queue import Slots
from sdgui.store.records import THIS_COMPUTER, Place, Run

_FRESH_SECONDS = 2.0  # maximum age of a machine's facts when a device is assigned
_REPEAT_SECONDS = 30.0  # time until the same error message is reported again
_RETRY_SECONDS = 10.0  # minimum time between two attempts to reach a machine
_WAIT_SECONDS = 3.0  # maximum time that the queue's thread waits for an answer

Command = Callable[[Machine], Sequence[str] | None]


class Hosts(QObject):
    """The machines of this window. Methods may be called from any thread; signals arrive in the window's thread."""

    listed = Signal()  # a machine was added, changed or removed
    state_changed = Signal(str, object)  # machine, ConnectionState
    probed = Signal(str, object)  # machine, Facts
    checked = Signal(str, object)  # machine, list[Finding]
    scripted = Signal(str, str)  # machine, its sbatch script
    refused = Signal(str, str)  # machine, error message
    stage_begun = Signal()  # a new stage of a chain is mirrored
    trouble = Signal(str)  # error message about a remote run
    place_changed = Signal(object)  # Place: where the next launch trains

    def __init__(self, home: Path, command: Command = lambda machine: None, parent: QObject | None = None) -> None:
        """``command``: returns a replacement for the ssh command of a machine, or None."""
        super().__init__(parent)
        self.machines = Machines(home, self.state_changed.emit, command)
        self.runs = RemoteRuns(
            self.machines, lambda _folder, sentence: self._report(sentence), lambda _folder: self.stage_begun.emit()
        )
        self._reported_at: dict[str, float] = {}
        self.fetches = Fetches(self.machines, self)
        self.colleagues = ColleagueRuns(home, self.machines, self.runs, self)
        self.place = THIS_COMPUTER
        self._facts: dict[str, tuple[float, Facts]] = {}
        self._probed_at: dict[str, float] = {}  # when an unreachable machine was last queried for the queue
        self._unanswered: dict[str, Future[Facts]] = {}
        self._has_gpus = Path("/dev/nvidiactl").exists() or shutil.which("nvidia-smi") is not None

    # The list
    def listing(self) -> list[Machine]:
        """This computer and the other machines, in the order added. Raises UserError if their list cannot be read."""
        return [self.machines.list.find(LOCAL), *self.machines.list.machines()]

    def put(self, machine: Machine) -> None:
        """Add or change a machine. Raises UserError."""
        self.machines.list.put(machine)
        self.listed.emit()

    def remove(self, name: str) -> None:
        """Remove a machine from the list; its runs are kept. Raises UserError."""
        self.machines.list.remove(name)
        self._facts.pop(name, None)
        if self.place.host == name:
            self.set_place(THIS_COMPUTER)
        self.listed.emit()

    def set_place(self, place: Place) -> None:
        """Set where the next launch trains."""
        self.place = place
        self.place_changed.emit(place)

    # Questions
    def facts(self, name: str) -> Facts | None:
        """The last known facts about a machine, of any age."""
        return self._facts[name][1] if name in self._facts else None

    def state(self, name: str) -> ConnectionState:
        return self.machines.states().get(name, ConnectionState())

    def probe(self, name: str) -> None:
        """Request a machine's hardware; ``probed`` or ``refused`` follows."""
        self._ask(name, lambda: self.machines.host(name).probe(), lambda facts: self._store_facts(name, facts))

    def check(self, name: str, config: str = "") -> None:
        """Request a check of a machine; ``checked`` or ``refused`` follows."""
        self._ask(
            name, lambda: self.machines.host(name).check(config), lambda findings: self.checked.emit(name, findings)
        )

    def script(self, name: str) -> None:
        """Request the sbatch script for a machine's settings; ``scripted`` or ``refused`` follows."""

        def ask() -> Any:
            default_script_machine = self.machines.list.find(name).model_copy(update={"script": ""})
            return self.machines.host(name).script("RUN", machine=default_script_machine)

        self._ask(name, ask, lambda text: self.scripted.emit(name, text))

    def check_data(
        self, name: str, config: str, done: Callable[[list[Finding]], object], failed: Callable[[UserError], object]
    ) -> None:
        """Check whether a machine has the paths in a config; calls ``done`` or ``failed`` in another thread."""
        try:
            when_done(self.machines.host(name).check_data(config), done, failed)
        except UserError as error:
            failed(error)

    def _ask(self, name: str, ask: Callable[[], Any], done: Callable[[Any], object]) -> None:
        try:
            when_done(ask(), done, lambda error: self.refused.emit(name, str(error)))
        except UserError as error:
            self.refused.emit(name, str(error))

    def _store_facts(self, name: str, facts: Facts) -> None:
        self._facts[name] = (time.monotonic(), facts)
        self.probed.emit(name, facts)

    def _report(self, sentence: str) -> None:
        """Report an error message only once, even if several runs on a machine cause it."""
        now = time.monotonic()
        if now - self._reported_at.get(sentence, -1e9) > _REPEAT_SECONDS:
            self._reported_at[sentence] = now
            self.trouble.emit(sentence)

    # For the queue's thread
    def local_gpus(self) -> Sequence[Gpu] | None:
        """The GPUs of this computer and their users; None until the query has been answered."""
        if not self._has_gpus or self.state(LOCAL).kind == "refused":
            return ()
        try:
            facts = self._fresh(LOCAL)
        except UserError:  # the GPUs cannot be used
            return ()
        return None if facts is None else facts.gpus

    def slots(self, name: str) -> Slots | None:
        """The capacity of another machine, after a wait of a few seconds; None if it does not answer."""
        try:
            machine = self.machines.list.find(name)
        except UserError:
            return None
        if machine.launcher == "slurm":
            return Slots(at_once=UNLIMITED)
        try:
            facts = self._fresh(name)
        except UserError:
            return None
        if facts is None:
            return None
        gpus_per_run = min(machine.ranks, len(facts.gpus)) if machine.launcher == "torchrun" else 1
        return slots_of(facts.gpus, machine.at_once, max(1, gpus_per_run))

    def _fresh(self, name: str) -> Facts | None:
        """The current facts about a machine; None until it answers. The next call waits for the same answer.

        Raises UserError if it answers with an error.
        """
        cached = self._facts.get(name)
        if cached is not None and time.monotonic() - cached[0] < _FRESH_SECONDS:
            return cached[1]
        if self.state(name).kind in ("waiting", "refused"):  # other machines' runs must not wait for this one
            if time.monotonic() - self._probed_at.get(name, -1e9) > _RETRY_SECONDS:
                self._probed_at[name] = time.monotonic()
                self.probe(name)
            return None
        try:
            answer = self._unanswered.pop(name, None) or self.machines.host(name).probe()
            facts = answer.result(_WAIT_SECONDS)
        except TimeoutError:
            self._unanswered[name] = answer
            return None
        except ConnectionLost:
            return None
        self._store_facts(name, facts)
        return facts

    # Runs
    def start(self, run: Run, config: str) -> None:
        """Start or resume a run on its machine; returns once the machine has the run or the connection is lost.

        Raises UserError."""
        devices = [device for device in run.devices.split(",") if device]
        record = read_record(run.dir)
        if record is not None and record.folder:
            self.runs.resume(run.dir, devices)
        else:
            self.runs.launch(run.dir, run.machine, config, devices)

    def attach(self, runs: Sequence[Run]) -> None:
        """Follow those remote runs that may still report."""
        self.runs.attach_unsettled([run.folder for run in runs if run.is_local])

    def close(self) -> None:
        """Close the connections; remote runs continue."""
        self.fetches.close()
        self.runs.close()
