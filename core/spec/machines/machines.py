"""The connections of this program: one a machine, made when it is first needed, anew when its settings change."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from pathlib import Path

from core.spec.machines.connection import LineState
from core.spec.machines.host import Host
from core.spec.machines.machine import Machine
from core.spec.machines.machine_list import MachineList

Changed = Callable[[str, LineState], object]


class Machines:
    """May be called from any thread. ``changed(name, state)`` is called in a connection's."""

    def __init__(
        self,
        home: Path,
        changed: Changed = lambda name, state: None,
        command: Callable[[Machine], Sequence[str] | None] = lambda machine: None,
    ) -> None:
        """``command`` may give another command than ssh for a machine."""
        self.list = MachineList(home)
        self._changed, self._command = changed, command
        self._hosts: dict[str, Host] = {}
        self._lock = threading.Lock()

    def host(self, name: str) -> Host:
        """The connection to the machine of this name. MachineError when there is none."""
        machine = self.list.find(name)
        with self._lock:
            there = self._hosts.get(name)
            if there is not None and there.machine == machine:
                return there
            host = self._hosts[name] = Host(machine, lambda state: self._changed(name, state), self._command(machine))
        if there is not None:
            there.close()
        return host

    def states(self) -> dict[str, LineState]:
        """How each connection stands that was made so far."""
        with self._lock:
            return {name: host.state for name, host in self._hosts.items()}

    def close(self) -> None:
        """End them; what runs there goes on."""
        with self._lock:
            hosts, self._hosts = list(self._hosts.values()), {}
        for host in hosts:
            host.close()
