"""An export in a separate process, ``python -m core export``, with progress and cancel.

Flow: `ExportDialog` -> ``start`` -> steps on the program's stderr -> ``stepped`` -> ``done`` or ``failed``.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from PySide6.QtCore import QObject, QProcess, QTimer, Signal

from core.spec.installed import NotInstalled, need
from core.spec.run.export_formats import ExportPrecision, FormatName
from sdgui.runs.program import core_command, qt_process

_STEP = re.compile(r"^(?P<doing>.+?)(?: (?P<done>\d+)/(?P<total>\d+))?$")
_KILL_MS = 5000  # time until a cancelled export is killed


@dataclass(frozen=True)
class ExportChoice:
    """Model, format and target folder of an export. ``network``: student or teacher."""

    model: str
    network: str
    format_name: FormatName
    precision: ExportPrecision
    out: Path
    replace: bool = False

    def arguments(self) -> list[str]:
        """The arguments of the command ``export``."""
        options = ["--format", self.format_name, "--weights", self.network, "--precision", self.precision]
        return ["export", self.model, str(self.out), *options, *(["--force"] if self.replace else [])]


class ExportProgram(QObject):
    """Runs one export at a time."""

    stepped = Signal(str, int, int)  # activity, finished steps, total steps (0: unknown)
    done = Signal(object)  # Path of the folder
    failed = Signal(str, str)  # error message ("" if cancelled), output of the program

    def __init__(self, parent: QObject | None = None, command: Sequence[str] | None = None) -> None:
        super().__init__(parent)
        self._command = list(command or core_command())
        self._is_custom = command is not None  # a test's program, which needs no packages
        self._process: QProcess | None = None
        self._out = Path()
        self._output = ""
        self._cancelled = False

    @property
    def active(self) -> bool:
        """Whether an export is being written."""
        return self._process is not None

    def start(self, choice: ExportChoice) -> None:
        """Start the process; emits ``failed`` if the trainer, or ONNX, is not installed."""
        if self._process is not None:
            return
        try:
            if not self._is_custom:
                need("train")
                if choice.format_name == "onnx":
                    need("export")
        except NotInstalled as error:
            self.failed.emit(str(error), "")
            return
        process = qt_process(self)
        process.setProcessChannelMode(QProcess.ProcessChannelMode.MergedChannels)
        process.readyRead.connect(self._read)
        process.finished.connect(self._on_finished)
        process.errorOccurred.connect(self._error)
        self._process, self._out, self._output, self._cancelled = process, choice.out, "", False
        self.stepped.emit("starting", 0, 0)
        process.start(self._command[0], [*self._command[1:], *choice.arguments()])

    def cancel(self) -> None:
        """Ask the process to stop and remove its files; kill it if it does not."""
        process = self._process
        if process is None or self._cancelled:
            return
        self._cancelled = True
        self.stepped.emit("cancelling", 0, 0)
        process.terminate()
        QTimer.singleShot(_KILL_MS, process, process.kill)

    def close(self) -> None:
        """Kill the process because the window closes."""
        process, self._process = self._process, None
        if process is not None:
            process.blockSignals(True)
            process.terminate()
            if not process.waitForFinished(1000):
                process.kill()
                process.waitForFinished(1000)

    def _read(self) -> None:
        if self._process is None:
            return
        self._output += bytes(self._process.readAll().data()).decode("utf-8", "replace")
        step = _STEP.match(self._last_line())
        if step is not None and not self._cancelled:
            self.stepped.emit(step["doing"], int(step["done"] or 0), int(step["total"] or 0))

    def _last_line(self) -> str:
        return next((line.strip() for line in reversed(self._output.splitlines()) if line.strip()), "")

    def _error(self, error: QProcess.ProcessError) -> None:
        if error == QProcess.ProcessError.FailedToStart and self._process is not None:
            reason, self._process = self._process.errorString(), None
            self.failed.emit(f"The export could not be started: {reason}. Check the installation.", "")

    def _on_finished(self, code: int, status: QProcess.ExitStatus) -> None:
        self._read()
        process, self._process = self._process, None
        if process is None:
            return
        process.deleteLater()
        if code == 0 and status == QProcess.ExitStatus.NormalExit:
            self.done.emit(self._out)
            return
        reason = self._last_line().removeprefix("error: ") or f"the program ended with code {code}."
        self.failed.emit("" if self._cancelled else f"The model was not exported: {reason}", self._output)
