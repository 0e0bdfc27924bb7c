"""Names, captions and paths as plain text: Qt would render anything that looks like HTML, and load its images.

All text that others may have written is displayed through this module: ``PlainLabel`` for labels,
``plain_tip`` for tooltips (of widgets, tabs and items), ``make_plain`` for message boxes.
"""

from __future__ import annotations

from typing import Any

from PySide6.QtGui import Qt  # QtGui's Qt has the text functions
from PySide6.QtWidgets import QLabel, QMessageBox, QWidget

from sdgui.widgets.style.theme import Role, set_role


class PlainLabel(QLabel):
    """A label that never renders HTML, with the constructor of QLabel.

    ``role``: a role of the stylesheet; ``buddy``: the widget that the mnemonic of the text focuses.
    """

    def __init__(self, *args: Any, role: Role = "", buddy: QWidget | None = None, **properties: Any) -> None:
        super().__init__(*(arg for arg in args if not isinstance(arg, str)), **properties)
        self.setTextFormat(Qt.TextFormat.PlainText)  # before the text is set
        for text in args:
            if isinstance(text, str):
                self.setText(text)
        if role:
            set_role(self, role)
        if buddy is not None:
            self.setBuddy(buddy)


def plain_tip(text: str) -> str:
    """A tooltip that shows ``text`` literally."""
    if not Qt.mightBeRichText(text):
        return text
    return Qt.convertFromPlainText(text, Qt.WhiteSpaceMode.WhiteSpacePre)


def make_plain(box: QMessageBox) -> None:
    """Show the texts of a message box literally; call this after setting them."""
    for label in box.findChildren(QLabel):
        label.setTextFormat(Qt.TextFormat.PlainText)
