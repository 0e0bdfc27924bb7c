"""The demo: data rendered in a separate process, and the experiments that use it.

Flow: ``--demo`` (or the button of the empty window) requests the data; ``python -m core demo-data`` writes the images
and the tables; the window shows the progress, and a launch that needs the data waits for ``ready``.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path

from PySide6.QtCore import QObject, QProcess, QTimer, Signal

from core.spec.config import RunConfig, override
from core.spec.errors import UserError
from core.spec.installed import NotInstalled, need
from core.spec.presets import preset_config
from core.spec.reading import MEGABYTE, read_text
from sdgui.runs.program import core_command, qt_process

DEMO_EXPERIMENTS = {"clip demo": "clip", "sd-clip demo": "sd-clip"}
SHOWN_FIRST = "sd-clip demo"
DEMO_QUERY = "vehicle"
_TABLES = ("train.csv", "val.csv", "test.csv")
_COUNT = re.compile(r"(\d[\d,]*)\s*(?:/|of)\s*(\d[\d,]*)")


class DemoData(QObject):
    """The demo data under ``folder``: complete, being created, or missing."""

    progress = Signal(int, int, str)  # finished, total (0 if unknown), activity
    ready = Signal()
    failed = Signal(str, str)  # error message, output of the program
    cancelled = Signal()

    def __init__(self, folder: Path, command: Sequence[str] | None = None, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.folder = folder
        self._is_custom = command is not None
        self._command = list(command) if command else [*core_command(), "demo-data"]
        self._process: QProcess | None = None
        self._output = ""

    @property
    def complete(self) -> bool:
        """Whether the data is complete; the tables are written last."""
        return self._process is None and all((self.folder / name).is_file() for name in _TABLES)

    @property
    def search_table(self) -> Path:
        """The table to search in."""
        return self.folder / _TABLES[0]

    def examples(self, number: int) -> list[Path]:
        """Some images from the whole test split, on which no demo experiment trains; [] until the data is complete."""
        if not self.complete:
            return []
        try:
            rows = read_text(self.folder / "test.csv", MEGABYTE).splitlines()[1:]
        except (OSError, UserError):
            return []
        step = max(1, len(rows) // number)
        images = [self.folder / row.partition(",")[0] for row in rows[step // 2 :: step][:number]]
        return [image for image in images if image.is_file()]

    @property
    def making(self) -> bool:
        return self._process is not None

    def covers(self, config: RunConfig) -> bool:
        """Whether ``config`` trains on this data."""
        return bool(config.data.train) and Path(config.data.train).parent == self.folder

    def make(self) -> None:
        """Create the data in the background, unless it is being created or complete."""
        if self._process is not None or self.complete:
            return
        if not self._is_custom:
            try:
                need("train")
                need("demo")
            except NotInstalled as error:
                text = str(error)
                # delayed, so that the error replaces the caller's message about waiting
                QTimer.singleShot(0, self, lambda: self.failed.emit(text, ""))
                return
        process = qt_process(self)
        process.setProcessChannelMode(QProcess.ProcessChannelMode.MergedChannels)
        process.readyRead.connect(self._read)
        process.finished.connect(self._on_finished)
        process.errorOccurred.connect(self._error)
        self._process, self._output = process, ""
        self.progress.emit(0, 0, "Drawing the demo images")
        process.start(self._command[0], [*self._command[1:], os.fspath(self.folder)])

    def cancel(self) -> None:
        """Stop creating the data; an unfinished set is created again next time."""
        process, self._process = self._process, None
        if process is not None:
            process.blockSignals(True)
            process.kill()
            process.waitForFinished(2000)
            process.deleteLater()
            self.cancelled.emit()

    def _read(self) -> None:
        if self._process is None:
            return
        self._output += bytes(self._process.readAll().data()).decode("utf-8", "replace")
        lines = [line for line in re.split(r"[\r\n]+", self._output) if line.strip()]
        if lines:
            match = _COUNT.search(lines[-1])
            rendered, total = (int(text.replace(",", "")) for text in match.groups()) if match else (0, 0)
            self.progress.emit(rendered, total, "Drawing the demo images")

    def _error(self, error: QProcess.ProcessError) -> None:
        if error == QProcess.ProcessError.FailedToStart and self._process is not None:
            reason = self._process.errorString()
            self._process = None
            self.failed.emit(f"The demo data could not be created: {reason}. Check the installation.", self._output)

    def _on_finished(self, code: int, status: QProcess.ExitStatus) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        process.deleteLater()
        if code == 0 and status == QProcess.ExitStatus.NormalExit and self.complete:
            self.ready.emit()
            return
        lines = [line.strip() for line in self._output.splitlines() if line.strip()]
        reason = lines[-1] if lines else f"the program exited with code {code} without any output."
        self.failed.emit(f"The demo data could not be created: {reason}", self._output)


def demo_configs(folder: Path) -> dict[str, RunConfig]:
    """The configs of the demo's experiments by name, with the data in ``folder``."""
    data = [f"data.{split}={folder / split}.csv" for split in ("train", "val", "test")]
    return {
        name: override(preset_config(preset, "demo"), [*data, f"name={name}"])
        for name, preset in DEMO_EXPERIMENTS.items()
    }
