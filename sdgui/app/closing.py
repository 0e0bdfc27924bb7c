"""Closing the window: a question about active runs, and a wait for pending writes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from PySide6.QtCore import QObject, Qt, QTimer
from PySide6.QtWidgets import QMessageBox, QWidget

from sdgui.app.panel_stack import PanelStack
from sdgui.runs.background_tasks import StoreWriter
from sdgui.widgets.message import Message, Remedy, info, warning
from sdgui.widgets.plain_text import make_plain


def ask_about_training(
    names: Sequence[str], keep: Callable[[], object], stop: Callable[[], object], parent: QWidget
) -> None:
    """Ask without blocking; the answer calls ``keep`` or ``stop``, or neither if cancelled."""
    box = QMessageBox(parent)
    box.setObjectName("closing")
    box.setIcon(QMessageBox.Icon.Question)
    box.setWindowTitle("Close")
    box.setText("A run is training." if len(names) == 1 else f"{len(names)} runs are training.")
    box.setInformativeText(f"{', '.join(names)}\n\nRuns that keep training appear again when you reopen the window.")
    keep_button = box.addButton("&Keep training", QMessageBox.ButtonRole.AcceptRole)
    stop_button = box.addButton("&Stop and close", QMessageBox.ButtonRole.DestructiveRole)
    box.addButton(QMessageBox.StandardButton.Cancel)
    box.setDefaultButton(keep_button)
    box.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
    make_plain(box)

    def answered(_result: int) -> None:
        if box.clickedButton() is stop_button:
            stop()
        elif box.clickedButton() is keep_button:
            keep()

    box.finished.connect(answered)
    box.open()


class ClosingWindow(Protocol):
    """The part of the window that this module needs."""

    stack: PanelStack

    def close(self) -> bool: ...
    def show_message(self, message: Message) -> None: ...


class LastWrites(QObject):
    """Closes the window after its last writes; if a write fails, only when the user closes the window again.

    ``is_abandoned``: the window closes without the writes. Edits in Define stay a draft until they are stored.
    """

    def __init__(self, writer: StoreWriter, window: ClosingWindow) -> None:
        super().__init__()
        self._writer, self._window = writer, window
        self._failures: int | None = None  # failures of the writer when the window began to wait
        self._warned = False
        self.is_abandoned = False
        writer.idle.connect(self.on_saved)

    def wait(self) -> bool:
        """Whether writes are pending. If so, a message says so, and the window is closed after them."""
        if self.is_abandoned or not (self._writer.pending or self._window.stack.is_saving()):
            return False
        self._failures = self._writer.failures
        text = "Saving the last changes; then the window closes."
        self._window.show_message(info(text))
        return True

    def on_saved(self, is_written: bool = True) -> None:
        """Close the waiting window when the writer or a panel has finished, or report that a write failed."""
        failures_before, self._failures = self._failures, None
        if failures_before is None:  # the user did not ask to close
            self._warned = False
        elif is_written and failures_before == self._writer.failures:
            QTimer.singleShot(0, self, self._window.close)
        elif self._warned:
            QTimer.singleShot(0, self, self._abandon)
        else:
            self._warned = True
            text = "The last changes could not be saved. Edits in Define are kept as a draft."
            self._window.show_message(warning(text, remedy=Remedy("Close anyway", self._abandon)))

    def _abandon(self) -> None:
        self.is_abandoned = True
        self._window.close()
