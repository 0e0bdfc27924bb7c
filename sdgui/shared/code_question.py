"""Asks whether code in a run folder may run: once per file, by its digest; the answer is remembered."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QMessageBox, QWidget

from core.spec.errors import UserError
from core.spec.reading import MEGABYTE, read_bytes
from core.spec.run.code import allow, digest_of
from sdgui.widgets.plain_text import plain_tip


def ask_to_run(parent: QWidget, files: Mapping[str, Path], answer: Callable[[bool], None]) -> QMessageBox:
    """Ask whether ``files`` (digest -> path) may run, with their text under *Show details*; ``answer`` gets True or
    False. Yes is remembered for this user.
    """
    names = ", ".join(path.name for path in files.values())
    box = QMessageBox(QMessageBox.Icon.Warning, "Run custom code?", "", parent=parent)
    box.setTextFormat(Qt.TextFormat.PlainText)
    box.setText(f"This model needs code from its run folder: {names}.")
    box.setInformativeText("You have not run this code before. Read it, and run it only if you trust its author.")
    box.setDetailedText("\n\n".join(_text(digest, path) for digest, path in files.items()))
    run = box.addButton("&Run this code", QMessageBox.ButtonRole.AcceptRole)
    run.setToolTip(plain_tip("The answer is remembered for this version of the code"))
    refuse = box.addButton("&Do not run", QMessageBox.ButtonRole.RejectRole)
    box.setDefaultButton(refuse)
    box.setEscapeButton(refuse)
    box.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)

    def finished() -> None:
        allowed = box.clickedButton() is run
        if allowed:
            allow(files)
        answer(allowed)

    box.finished.connect(finished)
    box.open()
    return box


def _text(digest: str, path: Path) -> str:
    """The content of ``path``, if its digest is still ``digest``."""
    try:
        content = read_bytes(path, MEGABYTE)
    except (UserError, OSError) as error:
        return f"{path}: {error}"
    if digest_of(content) != digest:
        return f"{path} has changed; open the model again."
    return f"{path}\nsha256 {digest}\n\n{content.decode('utf-8', 'replace')}"
