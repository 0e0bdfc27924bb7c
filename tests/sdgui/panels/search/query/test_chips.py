"""The row of chips: the parts of a query, with their weights."""

from __future__ import annotations

from PySide6.QtCore import QEvent, Qt
from PySide6.QtGui import QKeyEvent
from pytestqt.qtbot import QtBot

from sdgui.app.start import make_application
from sdgui.panels.search.model import Part
from sdgui.panels.search.query.chips import ChipRow
from sdgui.widgets.icon_button import IconButton


def test_chips_toggle_weigh_and_close(qtbot: QtBot) -> None:
    make_application()
    row, changes = ChipRow(), list[tuple[Part, ...]]()
    qtbot.addWidget(row)
    row.resize(400, 40)
    row.show()
    row.changed.connect(lambda: changes.append(row.parts()))
    for words in ("one", "two", "three"):
        row.add(Part(words, weight=2.0))
    qtbot.keyClick(row.chips[1], Qt.Key.Key_Minus)
    assert [part.weight for part in row.parts()] == [2, -2, 2]
    qtbot.keyClick(row.chips[1], Qt.Key.Key_Minus)
    assert row.parts()[1].weight == -2
    qtbot.keyClick(row.chips[1], Qt.Key.Key_Plus)
    assert row.parts()[1].weight == 2
    row.activateWindow()
    qtbot.keyClick(row.chips[1], Qt.Key.Key_Delete)
    assert [part.words for part in row.parts()] == ["one", "three"]
    qtbot.waitUntil(lambda: row.chips[1].hasFocus())
    assert len(changes) == 6
    other = QKeyEvent(QEvent.Type.KeyPress, Qt.Key.Key_A, Qt.KeyboardModifier.NoModifier)
    row.chips[0].keyPressEvent(other)
    assert not other.isAccepted(), "other keys are for what is around it"
    row.chips[0]._sign.click()
    assert [part.weight for part in row.parts()] == [-2, 2]
    next(child for child in row.chips[0].findChildren(IconButton) if child is not row.chips[0]._sign).click()
    assert [part.words for part in row.parts()] == ["three"]
    assert len(changes) == 8
