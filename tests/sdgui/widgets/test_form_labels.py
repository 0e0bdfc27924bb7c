"""Labels of a form stand level with fields of one line, whatever kind these are of."""

from __future__ import annotations

from PySide6.QtCore import QPoint, Qt
from PySide6.QtWidgets import (
    QApplication,
    QComboBox,
    QFormLayout,
    QHBoxLayout,
    QLineEdit,
    QPlainTextEdit,
    QPushButton,
    QSpinBox,
    QVBoxLayout,
    QWidget,
)
from pytestqt.qtbot import QtBot

from sdgui.app.start import make_application
from sdgui.widgets.layouts.form_labels import level_labels


def test_labels_are_level_with_fields_of_one_line(qtbot: QtBot) -> None:
    make_application()
    page = QWidget()
    qtbot.addWidget(page)
    beside, text = QHBoxLayout(), QPlainTextEdit(page)
    line = QLineEdit(page)
    for part in (line, QPushButton("Browse", page)):
        beside.addWidget(part)
    form = QFormLayout()
    form.setLabelAlignment(Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter)
    fields = [QLineEdit(page), QSpinBox(page), QComboBox(page)]
    for field in fields:
        form.addRow("Label", field)
    form.addRow("Folder", beside)
    form.addRow("Text", text)
    level_labels(form)
    column = QVBoxLayout(page)
    column.addLayout(form)
    column.addStretch(1)
    page.resize(400, 500)
    page.show()
    QApplication.processEvents()

    def middle(widget: QWidget) -> int:
        return widget.mapTo(page, QPoint(0, widget.height() // 2)).y()

    labels = [form.itemAt(row, QFormLayout.ItemRole.LabelRole).widget() for row in range(5)]
    for label, field in zip(labels, [*fields, line], strict=False):
        assert abs(middle(label) - middle(field)) <= 1
    assert middle(labels[-1]) < middle(text) - 20, "of several lines it stands at the first"
