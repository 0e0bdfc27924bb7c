"""The outcome of an export as a message."""

from __future__ import annotations

from PySide6.QtCore import QUrl
from PySide6.QtGui import QDesktopServices

from sdgui.shared.export.formats import Exported
from sdgui.widgets.formats import count
from sdgui.widgets.message import Message, Remedy, info, warning


def exported_message(report: Exported, text: str, remedy: Remedy | None = None) -> Message:
    """``text``, and how many items were left out; the remedy opens the folder unless another one is given."""
    if remedy is None:
        url = QUrl.fromLocalFile(str(report.folder))
        remedy = Remedy("Open folder", lambda: QDesktopServices.openUrl(url))
    if not report.skipped:
        return info(text, remedy=remedy)
    return warning(f"{text} {count(len(report.skipped))} left out.", report.reasons(), remedy)
