"""The question on closing the window while runs train: keep them training, or stop them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QMessageBox, QWidget

from sdgui.widgets.plain_text import make_plain


def ask_about_training(
    names: Sequence[str], keep: Callable[[], object], stop: Callable[[], object], parent: QWidget
) -> None:
    """Ask without blocking; ``keep`` or ``stop`` is called for the answer, neither when it is cancelled."""
    box = QMessageBox(parent)
    box.setObjectName("closing")
    box.setIcon(QMessageBox.Icon.Question)
    box.setWindowTitle("Close")
    box.setText("A run is training." if len(names) == 1 else f"{len(names)} runs are training.")
    box.setInformativeText(f"{', '.join(names)}\n\nRuns that keep training are shown again when you reopen the window.")
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
