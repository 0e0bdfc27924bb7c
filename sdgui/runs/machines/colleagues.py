"""Mirrors other people's runs in a shared registry, for viewing, from machines that this user can reach.

Flow: Runs shows a run whose folder is on another computer -> ``watch`` -> the listed machine that is this computer -> a
mirror in ``HOME/colleagues`` -> the follower reads curves from the mirror. No request is ever sent to such a run.
"""

from __future__ import annotations

import threading
from pathlib import Path

from PySide6.QtCore import QObject, Signal

from core.spec.errors import UserError
from core.spec.machines.machines import Machines
from core.spec.machines.record import RemoteRecord, write_record
from core.spec.machines.remote_runs import RemoteRuns
from core.spec.run.folder import RunDir
from sdgui.store.records import Run

FOLDER = "colleagues"
_ANSWER_SECONDS = 30.0  # maximum time to wait for a machine's answer


def colleague_dir(home: Path, run: Run) -> RunDir:
    """The mirror of another person's run in this user's ``home``."""
    return RunDir(home / FOLDER / run.key)


def local_dir(home: Path, run: Run) -> RunDir:
    """The folder of a run, or the mirror of a run whose folder is on another computer."""
    return run.dir if run.is_local else colleague_dir(home, run)


class ColleagueRuns(QObject):
    """Finds and mirrors runs, in one background thread per run; ``status_changed`` arrives in the window's thread."""

    status_changed = Signal(int, str)  # run id, why its curves are not shown; "" if they are

    def __init__(self, home: Path, machines: Machines, runs: RemoteRuns, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._home, self._machines, self._runs = home, machines, runs
        self._watched: dict[int, Run] = {}
        self._lock = threading.Lock()

    def watch(self, runs: list[Run]) -> None:
        """Mirror exactly these runs, whose folders are on other computers."""
        with self._lock:
            by_id = {run.id: run for run in runs}
            removed = [run for run_id, run in self._watched.items() if run_id not in by_id]
            added = [run for run_id, run in by_id.items() if run_id not in self._watched]
            self._watched = by_id
        if removed or added:
            threading.Thread(target=self._work, args=(removed, added), name="colleague's run", daemon=True).start()

    def _work(self, removed: list[Run], added: list[Run]) -> None:
        for run in removed:
            self._runs.detach(colleague_dir(self._home, run))
        for run in added:
            try:
                sentence = self._mirror(run)
            except TimeoutError:
                sentence = f"{_location(run)[0]} did not answer in time, so the curves of this run are not shown."
            except (UserError, OSError) as error:
                sentence = f"The curves of this run cannot be shown: {error}"
            self.status_changed.emit(run.id, sentence)

    def _mirror(self, run: Run) -> str:
        computer, folder = _location(run)
        name = self._machine(computer)
        if name is None:
            return (
                f"The curves of this run are on {computer}, which is not one of your machines; add it in Machines "
                "to see them here."
            )
        try:
            self._machines.host(name).read(folder, "events.jsonl", 0, 1).result(_ANSWER_SECONDS)
        except UserError as error:
            return f"{name} does not show the curves of this run: {error}"
        mirror = colleague_dir(self._home, run)
        mirror.create()
        write_record(mirror, RemoteRecord(machine=name, folder=folder, computer=computer))
        with self._lock:
            if run.id in self._watched:
                self._runs.attach(mirror)
        return ""

    def _machine(self, computer: str) -> str | None:
        """The machine whose reported host name is ``computer``; machines with a similar name are queried first."""
        short = computer.partition(".")[0]
        machines = sorted(self._machines.list.machines(), key=lambda machine: short not in (machine.name, machine.host))
        return next((machine.name for machine in machines if self._is_computer(machine.name, computer)), None)

    def _is_computer(self, name: str, computer: str) -> bool:
        host = self._machines.host(name)
        try:
            return (host.hello.host if host.hello else host.probe().result(_ANSWER_SECONDS).host) == computer
        except (UserError, TimeoutError):
            return False


def _location(run: Run) -> tuple[str, str]:
    """The computer with the run's folder, and the folder's path on it."""
    return run.remote_folder or (run.owner_host, str(run.folder))
