"""The row of chips: the parts of a query, with their weights."""

from __future__ import annotations

from PySide6.QtCore import QEvent, QPoint, QPointF, Qt
from PySide6.QtGui import QKeyEvent, QWheelEvent
from PySide6.QtWidgets import QWidget
from pytestqt.qtbot import QtBot

from sdgui.app.start import make_application
from sdgui.panels.search.model import Part
from sdgui.panels.search.query.chips import ChipRow
from sdgui.widgets.gallery.image_label import ImageLabel
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
    other = QKeyEvent(QEvent.Type.KeyPress, Qt.Key.Key_A, Qt.KeyboardModifier.NoModifier)
    row.chips()[0].keyPressEvent(other)
    assert not other.isAccepted(), "other keys are for what is around it"
    row.chips()[0]._sign.click()
    assert [part.weight for part in row.parts()] == [-2, 2]
    next(child for child in row.chips()[0].findChildren(IconButton) if child is not row.chips()[0]._sign).click()
    assert [part.words for part in row.parts()] == ["three"]
    assert len(changes) == 8


def test_a_chip_has_a_description_and_a_full_row_scrolls(qtbot: QtBot) -> None:
    make_application()
    host = QWidget()
    qtbot.addWidget(host)
    row, changes = ChipRow(host), list[tuple[Part, ...]]()
    row.resize(200, 40)
    host.resize(300, 100)
    host.show()
    row.changed.connect(lambda: changes.append(row.parts()))
    assert (row.isVisible(), row.minimumSizeHint().width()) == (False, 0)
    words = "a very long sentence of many words"
    row.set_parts((Part(words, weight=-0.5), Part(image="/p/red hat.png")))
    assert (row.isVisible(), changes) == (True, []), "who sets them knows it"
    long, image = row.chips()
    assert [one._title.text() for one in (long, image)] == [f"{words[:27]}…", "red hat.png"]
    assert [one._title.toolTip() for one in (long, image)] == [words, "/p/red hat.png"]
    assert [len(one.findChildren(ImageLabel)) for one in (long, image)] == [0, 1]
    assert [one.accessibleName() for one in (long, image)] == [
        f"Part of the query: without {words}, weight 0.5", "Part of the query: red hat.png"
    ]  # fmt: skip
    assert [one._sign.accessibleName().rpartition(": ")[2] for one in (long, image)] == [
        "Excluded; press to include", "Included; press to exclude"
    ]  # fmt: skip
    assert [one._weight.value() for one in (long, image)] == [0.5, 1.0]
    assert long._weight.text() == "×0.5"
    line = long._weight.lineEdit().geometry()
    assert line.width() == long._weight.width() - 4, "its text has the room of the step buttons too"
    long._weight.setValue(2.0)
    assert [(part.weight, part.words) for part in row.parts()] == [(-2.0, words), (1.0, "")]
    long._weight.setValue(99)
    assert (row.parts()[0].weight, len(changes)) == (-9.9, 2)
    long._sign.click()
    assert (row.parts()[0].weight, long.accessibleName()) == (9.9, f"Part of the query: {words}, weight 9.9")
    row.add(Part("the last"))
    bar = row.horizontalScrollBar()
    qtbot.waitUntil(lambda: bar.value() > 0)
    assert bar.value() == bar.maximum() > 0, "what was added is seen"
    centre = QPointF(row.rect().center())
    keys = (Qt.MouseButton.NoButton, Qt.KeyboardModifier.NoModifier, Qt.ScrollPhase.NoScrollPhase, False)
    before = bar.value()
    for turn in (QPoint(0, 40), QPoint(40, 0)):
        row.wheelEvent(QWheelEvent(centre, centre, QPoint(), turn, *keys))
    assert bar.value() == before - 40
    for _ in range(3):
        row.chips()[-1].removed.emit()
    assert (row.parts(), row.isVisible(), len(changes)) == ((), False, 7)
