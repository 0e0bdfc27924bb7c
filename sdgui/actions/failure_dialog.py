"""The dialog for an unexpected error, with its traceback collapsed."""

from __future__ import annotations

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QApplication, QDialog, QDialogButtonBox, QPlainTextEdit, QWidget

from sdgui.widgets.layouts.boxes import vbox
from sdgui.widgets.plain_text import PlainLabel


class FailureDialog(QDialog):
    """Shows an error message, with details to copy into a bug report."""

    def __init__(self, sentence: str, details: str, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setWindowTitle("sdgui")
        self.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        self.setModal(False)
        label = PlainLabel(sentence, self)
        label.setWordWrap(True)
        label.setTextInteractionFlags(
            Qt.TextInteractionFlag.TextSelectableByMouse | Qt.TextInteractionFlag.TextSelectableByKeyboard
        )
        self.details = QPlainTextEdit(details, self)
        self.details.setReadOnly(True)
        self.details.setAccessibleName("Details")
        self.details.setVisible(bool(details))
        buttons = QDialogButtonBox(QDialogButtonBox.StandardButton.Close, self)
        copy = buttons.addButton("&Copy details", QDialogButtonBox.ButtonRole.ActionRole)
        copy.setAutoDefault(False)
        buttons.button(QDialogButtonBox.StandardButton.Close).setDefault(True)
        copy.clicked.connect(lambda: QApplication.clipboard().setText(f"{sentence}\n\n{details}"))
        buttons.rejected.connect(self.reject)
        vbox(label, (self.details, 1), buttons, into=self, spacing=16, margins=16)
        self.resize(640, 360 if details else 160)
