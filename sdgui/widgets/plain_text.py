"""Names, captions and paths as plain text: Qt would render anything that looks like HTML, and load its images.

Everything that shows text which somebody else may have written goes through here: ``PlainLabel`` for labels,
``plain_tip`` for tooltips (of widgets, tabs and items), ``make_plain`` for message boxes.
"""

from __future__ import annotations

from typing import Any

from PySide6.QtGui import Qt  # QtGui's has the functions for text
from PySide6.QtWidgets import QLabel, QMessageBox

from sdgui.widgets.style.theme import Role, set_role


class PlainLabel(QLabel):
    """A label whose text is never HTML; made as a QLabel is, with a text or without. ``role``: of the stylesheet."""

    def __init__(self, *args: Any, role: Role = "", **properties: Any) -> None:
        super().__init__(*(arg for arg in args if not isinstance(arg, str)), **properties)
        self.setTextFormat(Qt.TextFormat.PlainText)  # before there is a text
        for text in args:
            if isinstance(text, str):
                self.setText(text)
        if role:
            set_role(self, role)


def plain_tip(text: str) -> str:
    """``text`` as a tooltip that shows it literally."""
    if not Qt.mightBeRichText(text):
        return text
    return Qt.convertFromPlainText(text, Qt.WhiteSpaceMode.WhiteSpacePre)


def make_plain(box: QMessageBox) -> None:
    """Show the texts of a message box as they are written; call it when they are set."""
    for label in box.findChildren(QLabel):
        label.setTextFormat(Qt.TextFormat.PlainText)
