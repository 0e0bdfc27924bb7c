"""Installs sdgui on a machine in a thread, reporting its output line by line.

Flow: panel -> ``Installation.start`` -> ``core.spec.machines.install`` -> ``line``, ``ended`` in the window's thread.
"""

from __future__ import annotations

import threading

from PySide6.QtCore import QObject, Signal

from core.spec.errors import UserError
from core.spec.machines.install import install
from core.spec.machines.machine import Machine


class Installation(QObject):
    """Runs at most one installation per machine. ``lines``: machine -> output so far."""

    line = Signal(str, str)  # machine, a line of output
    ended = Signal(str, str)  # machine, "" or why it failed

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.lines: dict[str, list[str]] = {}
        self._busy: set[str] = set()  # machines with a running installation
        self.line.connect(lambda machine, text: self.lines[machine].append(text))
        self.ended.connect(lambda machine, _reason: self._busy.discard(machine))

    def busy(self, machine: str) -> bool:
        """Whether an installation is running on ``machine``."""
        return machine in self._busy

    def start(self, machine: Machine) -> None:
        """Start installing on ``machine``, unless an installation is already running."""
        if machine.name in self._busy:
            return
        self._busy.add(machine.name)
        self.lines[machine.name] = []
        threading.Thread(target=self._work, args=(machine,), name="install", daemon=True).start()

    def _work(self, machine: Machine) -> None:
        try:
            install(machine, lambda text: self.line.emit(machine.name, text))
        except UserError as error:
            self.ended.emit(machine.name, str(error))
        except Exception as error:  # noqa: BLE001  # otherwise it would end the thread unreported
            self.ended.emit(machine.name, f"{type(error).__name__}: {error}")
        else:
            self.ended.emit(machine.name, "")
