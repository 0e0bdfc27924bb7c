"""The list of machines: ``machines.json`` in the user's home folder of this program, read by window and verbs alike."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from core.spec.errors import UserError, writing
from core.spec.files import write_whole
from core.spec.machines.machine import LOCAL, Machine, this_computer
from core.spec.reading import MEGABYTE, checked, excerpt, read_json

VERSION = 1


class MachineError(UserError):
    """A machine that is not listed, or a list that cannot be read or written."""


class _File(BaseModel):
    model_config = ConfigDict(extra="ignore", defer_build=True)

    version: int
    machines: list[Machine]


class MachineList:
    """Each call reads or writes the file: several programs may change it, one after another."""

    def __init__(self, home: Path) -> None:
        """``home``: the folder for experiments and runs."""
        self.path = home / "machines.json"
        self._lock = home / ".machines.lock"

    def machines(self) -> list[Machine]:
        """In the order added, without this computer. MachineError when the file cannot be read."""
        try:
            raw = read_json(self.path, MEGABYTE, error=MachineError)
        except FileNotFoundError:
            return []
        where = excerpt(str(self.path))
        found = checked(_File, raw, where, error=MachineError, remedy="Fix it, or remove it and add the machines anew.")
        if found.version > VERSION:
            raise MachineError(f"{where} was written by a later version of this program; update it.")
        return found.machines

    def find(self, name: str) -> Machine:
        """The machine of this name, which may be that of this computer. MachineError when there is none."""
        if name == LOCAL:
            return this_computer(str(self.path.parent / "runs"))
        machines = self.machines()
        for machine in machines:
            if machine.name == name:
                return machine
        known = ", ".join(machine.name for machine in machines) or "none yet"
        raise MachineError(
            f"there is no machine {excerpt(name)}; known: {known}. Add it with sdgui-core machines add {excerpt(name)}."
        )

    def put(self, machine: Machine) -> None:
        """Add ``machine``, or change the one of its name. MachineError when that cannot be written."""
        if machine.name == LOCAL:
            raise MachineError(f"{LOCAL} is always there; give the machine another name.")
        with self._held():
            machines = self.machines()
            names = [one.name for one in machines]
            if machine.name in names:
                machines[names.index(machine.name)] = machine
            else:
                machines.append(machine)
            self._write(machines)

    def remove(self, name: str) -> None:
        """Take it off the list; its runs and folders stay."""
        with self._held():
            self.find(name)
            self._write(one for one in self.machines() if one.name != name)

    @contextmanager
    def _held(self) -> Iterator[None]:
        import filelock  # noqa: PLC0415  (whoever only reads does without)

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
        raw = {"version": VERSION, "machines": [one.model_dump(exclude_defaults=True) for one in machines]}
        with writing(self.path, MachineError):
            write_whole(self.path, json.dumps(raw, indent=1, ensure_ascii=False).encode())
