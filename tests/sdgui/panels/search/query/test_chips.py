"""The row of chips: the parts of a query, with their weights."""

from __future__ import annotations

from PySide6.QtCore import Qt
from pytestqt.qtbot import QtBot

from sdgui.app.start import make_application
from sdgui.panels.search.model import Part
from sdgui.panels.search.query.chips import ChipRow
from sdgui.widgets.icon_button import IconButton


def test_chips_turn_weigh_and_go(qtbot: QtBot) -> None:
    make_application()
    row, changes = ChipRow(), list[tuple[Part, ...]]()
    qtbot.addWidget(row)
    row.resize(400, 40)
    row.show()
    row.changed.connect(lambda: changes.append(row.parts()))
    for words in ("one", "two", "three"):
        row.add(Part(words, weight=2.0))
    qtbot.keyClick(row.chips()[1], Qt.Key.Key_Minus)
    assert [part.weight for part in row.parts()] == [2, -2, 2]
    qtbot.keyClick(row.chips()[1], Qt.Key.Key_Minus)
    assert row.parts()[1].weight == -2
    qtbot.keyClick(row.chips()[1], Qt.Key.Key_Plus)
    assert row.parts()[1].weight == 2
    row.activateWindow()
    qtbot.keyClick(row.chips()[1], Qt.Key.Key_Delete)
    assert [part.words for part in row.parts()] == ["one", "three"]
    qtbot.waitUntil(lambda: row.chips()[1].hasFocus())
    assert len(changes) == 6
    row.chips()[0]._sign.click()
    assert [part.weight for part in row.parts()] == [-2, 2]
    next(one for one in row.chips()[0].findChildren(IconButton) if one is not row.chips()[0]._sign).click()
    assert [part.words for part in row.parts()] == ["three"]
    assert len(changes) == 8
