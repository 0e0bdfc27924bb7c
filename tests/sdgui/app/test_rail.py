"""The rail: its labels are whole, however narrow the window is."""

from __future__ import annotations

from PySide6.QtGui import QAction
from PySide6.QtWidgets import QApplication, QHBoxLayout, QToolButton, QWidget
from pytestqt.qtbot import QtBot

from sdgui.app.rail import Rail
from sdgui.panels.registry import PANELS


def test_no_label_is_cut_in_a_narrow_window(qtbot: QtBot) -> None:
    window = QWidget()
    qtbot.addWidget(window)
    rail, beside = Rail(window), QWidget(window)
    for spec in PANELS:
        rail.add_panel(QAction(spec.title, window), spec.group)
    beside.setMinimumWidth(300)
    row = QHBoxLayout(window)
    row.addWidget(rail)
    row.addWidget(beside, 1)
    window.resize(320, 500)
    window.show()
    QApplication.processEvents()
    buttons = rail.findChildren(QToolButton)
    assert [one.text() for one in buttons] == [spec.title for spec in PANELS]
    assert [one.text() for one in buttons if one.width() < one.sizeHint().width()] == []
