"""Makes the message about a finished export."""

from __future__ import annotations

from PySide6.QtCore import QUrl
from PySide6.QtGui import QDesktopServices

from sdgui.shared.export.formats import ExportResult
from sdgui.widgets.formats import count
from sdgui.widgets.message import Message, Remedy, info, warning


def exported_message(report: ExportResult, text: str, remedy: Remedy | None = None) -> Message:
    """A message with ``text`` and the number of skipped items. By default, the remedy opens the folder."""
    if remedy is None:
        url = QUrl.fromLocalFile(str(report.folder))
        remedy = Remedy("Open folder", lambda: QDesktopServices.openUrl(url))
    if not report.skipped:
        return info(text, remedy=remedy)
    return warning(f"{text} {count(len(report.skipped))} left out.", report.reasons(), remedy)
