"""The connections of this program: one per machine, opened on first use and replaced when the settings change."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from pathlib import Path

from core.spec.machines.connection import ConnectionState
from core.spec.machines.host import Host
from core.spec.machines.machine import Machine
from core.spec.machines.machine_list import MachineList

Changed = Callable[[str, ConnectionState], object]


class Machines:
    """All connections of this program. Thread-safe; ``changed(name, state)`` is called in a connection's thread."""

    def __init__(
        self,
        home: Path,
        changed: Changed = lambda name, state: None,
        command: Callable[[Machine], Sequence[str] | None] = lambda machine: None,
    ) -> None:
        """``command`` may return a command to use instead of ssh for a machine."""
        self.list = MachineList(home)
        self._changed, self._command = changed, command
        self._hosts: dict[str, Host] = {}
        self._lock = threading.Lock()

    def host(self, name: str) -> Host:
        """The connection to the machine with this name. Raises MachineError if it is not listed."""
        machine = self.list.find(name)
        with self._lock:
            existing = self._hosts.get(name)
            if existing is not None and existing.machine == machine:
                return existing
            host = self._hosts[name] = Host(machine, lambda state: self._changed(name, state), self._command(machine))
        if existing is not None:
            existing.close()
        return host

    def states(self) -> dict[str, ConnectionState]:
        """The state of each connection opened so far."""
        with self._lock:
            return {name: host.state for name, host in self._hosts.items()}

    def close(self) -> None:
        """Close all connections; remote runs continue."""
        with self._lock:
            hosts, self._hosts = list(self._hosts.values()), {}
        for host in hosts:
            host.close()
