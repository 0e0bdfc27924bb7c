"""The list of machines: ``machines.json`` in the home folder, which the window and the command line share."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from core.spec.errors import UserError, writing
from core.spec.files import write_whole
from core.spec.machines.machine import LOCAL, Machine, this_computer
from core.spec.reading import MEGABYTE, read_json, validate

VERSION = 1


class MachineError(UserError):
    """An unknown machine, or a list that cannot be read or written."""


class _File(BaseModel):
    model_config = ConfigDict(extra="ignore", defer_build=True)

    version: int
    machines: list[Machine]


class MachineList:
    """The list of machines; reads or writes the file on each call, since other programs may change it."""

    def __init__(self, home: Path) -> None:
        """``home``: the folder for experiments and runs."""
        self.path = home / "machines.json"
        self._lock = home / ".machines.lock"

    def machines(self) -> list[Machine]:
        """All machines except this computer, in the order in which they were added.

        Raises MachineError if the file cannot be read.
        """
        try:
            raw = read_json(self.path, MEGABYTE, error=MachineError)
        except FileNotFoundError:
            return []
        path = str(self.path)
        content = validate(
            _File, raw, path, error=MachineError, remedy="Fix the file, or remove it and add the machines again."
        )
        if content.version > VERSION:
            raise MachineError(f"{path} was written by a later version of sdgui; update sdgui.")
        return content.machines

    def find(self, name: str) -> Machine:
        """The machine with this name, which may be this computer. Raises MachineError if it is not listed."""
        if name == LOCAL:
            return this_computer(str(self.path.parent / "runs"))
        machines = self.machines()
        for machine in machines:
            if machine.name == name:
                return machine
        known_names = ", ".join(machine.name for machine in machines) or "none yet"
        raise MachineError(
            f"there is no machine {name}; known: {known_names}. Add the machine with sdgui-core machines add {name}."
        )

    def put(self, machine: Machine) -> None:
        """Add ``machine``, or replace the machine that has the same name.

        Raises MachineError if the file cannot be written.
        """
        if machine.name == LOCAL:
            raise MachineError(f"{LOCAL} is always listed; choose another name for the machine.")
        with self._hold_lock():
            machines = self.machines()
            names = [known_machine.name for known_machine in machines]
            if machine.name in names:
                machines[names.index(machine.name)] = machine
            else:
                machines.append(machine)
            self._write(machines)

    def remove(self, name: str) -> None:
        """Remove a machine from the list; its runs and folders are kept."""
        with self._hold_lock():
            self.find(name)
            self._write(machine for machine in self.machines() if machine.name != name)

    @contextmanager
    def _hold_lock(self) -> Iterator[None]:
        import filelock  # noqa: PLC0415  (not needed for reading)

        lock = filelock.FileLock(self._lock, timeout=10)
        with writing(self.path, MachineError):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            try:
                lock.acquire()
            except filelock.Timeout as error:
                raise MachineError(f"{self.path} is being written by another program; try again.") from error
        try:
            yield
        finally:
            lock.release()

    def _write(self, machines: Iterable[Machine]) -> None:
        raw = {"version": VERSION, "machines": [machine.model_dump(exclude_defaults=True) for machine in machines]}
        with writing(self.path, MachineError):
            write_whole(self.path, json.dumps(raw, indent=1, ensure_ascii=False).encode())
