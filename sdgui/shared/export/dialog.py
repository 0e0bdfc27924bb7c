"""Where an export goes, asked of the user before it; and what came of it, as a message after it."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from PySide6.QtCore import QUrl
from PySide6.QtGui import QDesktopServices
from PySide6.QtWidgets import QFileDialog, QWidget

from sdgui.shared.export.formats import Exported, ExportFormat, Write
from sdgui.widgets.formats import count
from sdgui.widgets.message import Message, Remedy, info, warning


@dataclass(frozen=True)
class ChosenFile:
    """``confirmed``: the dialog has asked about overwriting this very file."""

    path: Path
    confirmed: bool

    @property
    def problem(self) -> str:
        """Why nothing may be written there, with the remedy; "" when it may."""
        exists = not self.confirmed and self.path.exists()
        return f"{self.path} already exists; choose another name." if exists else ""


def ask_file(
    export: ExportFormat[Write],
    over: QWidget,
    start: Path,
    title: str = "Export as",
    confirm: bool = True,
    typed_suffixes: Collection[str] = (),
) -> ChosenFile | None:
    """A file for this format from a dialog that opens at ``start``; the suffix is added where none is typed.

    ``typed_suffixes``: the suffixes that count as typed; any does when there are none.
    """
    option = QFileDialog.Option(0) if confirm else QFileDialog.Option.DontConfirmOverwrite
    file_name, _ = QFileDialog.getSaveFileName(over, title, str(start), export.filter, options=option)
    if not file_name:
        return None
    path = Path(file_name)
    if path.suffix.lower() in typed_suffixes if typed_suffixes else path.suffix:
        return ChosenFile(path, confirmed=confirm)
    return ChosenFile(path.with_name(path.name + export.suffix), confirmed=False)


def exported_message(report: Exported, text: str, remedy: Remedy | None = None) -> Message:
    """``text``, and how many items were left out; the remedy opens the folder unless another one is given."""
    if remedy is None:
        url = QUrl.fromLocalFile(str(report.folder))
        remedy = Remedy("Open folder", lambda: QDesktopServices.openUrl(url))
    if not report.skipped:
        return info(text, remedy=remedy)
    return warning(f"{text} {count(len(report.skipped))} left out.", report.reasons(), remedy)
