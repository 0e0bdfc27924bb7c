"""Small dialogs by themselves: the list of shortcuts, the dialog of a failure, Ctrl+K by keys."""

from __future__ import annotations

import pytest
from PySide6.QtCore import QPoint, Qt
from PySide6.QtWidgets import QWidget
from pytestqt.qtbot import QtBot

from sdgui.actions.palette import CommandPalette, Entry, match


@pytest.fixture
def over(qtbot: QtBot) -> QWidget:
    over = QWidget()
    qtbot.addWidget(over)
    over.resize(500, 400)
    over.show()
    return over


def test_arrow_keys_select_in_the_palette_while_typing(qtbot: QtBot, over: QWidget) -> None:
    palette, used = CommandPalette(over), list[int]()
    entries = [
        Entry(f"entry {number}", "Hint" * (number == 7), lambda number=number: used.append(number))
        for number in range(70)
    ]
    palette.open(entries)
    assert (palette.width(), palette.height(), palette.list.count()) == (436, 304, 60)
    away = palette.geometry().topLeft() - over.mapToGlobal(QPoint(32, 48))
    assert away.manhattanLength() <= 8, "in the middle of the top, but for a frame that a screen may add"
    assert [palette.list.item(row).text() for row in (0, 7)] == ["entry 0", "entry 7"], "the hint has its own column"
    qtbot.waitUntil(palette.line.hasFocus)
    down, up, page_down, page_up = Qt.Key.Key_Down, Qt.Key.Key_Up, Qt.Key.Key_PageDown, Qt.Key.Key_PageUp
    for key, row in [(down, 1), (down, 2), (up, 1), (up, 0), (up, 0), (page_up, 0)]:
        qtbot.keyClick(palette.line, key)
        assert palette.list.currentRow() == row, (key, row)
    qtbot.keyClick(palette.line, page_down)
    assert 4 < palette.list.currentRow() < 30
    for _ in range(30):
        qtbot.keyClick(palette.line, page_down)
    qtbot.keyClick(palette.line, Qt.Key.Key_Enter)
    assert (used, palette.isVisible()) == ([59], False)
    palette.open(entries)
    qtbot.keyClicks(palette.line, "zzz")
    assert [palette.list.item(0).text(), palette.list.count()] == ["No matches. Try fewer letters.", 1]
    qtbot.keyClick(palette.line, Qt.Key.Key_Return)
    assert (used, palette.isVisible(), palette.list.item(0).flags()) == ([59], True, Qt.ItemFlag.NoItemFlags)
    palette.list.itemClicked.emit(palette.list.item(0))
    for number in (3, 1, 2, 4, 5, 6, 4):
        palette.open(entries)
        assert palette.line.text() == ""
        palette.line.setText(f"entry {number}")
        assert palette.list.currentRow() == 0
        palette.list.itemClicked.emit(palette.list.item(0))
    palette.open(entries[:5])
    listed = [palette.list.item(row).text().split()[1] for row in range(5)]
    assert listed == ["4", "2", "1", "0", "3"], "the five that were used last, and then as they are given"
    assert used == [59, 3, 1, 2, 4, 5, 6, 4]
    palette.hide()


@pytest.mark.parametrize(
    ("words", "better", "worse"),
    [
        ("log", "Log of everything that there is in it", "Xlog"),
        ("log", "A log of everything that there is in it", "Xlog"),
        ("tag", "a tag of it", "a set tag x"),
        ("tag", "tag", "tag x"),
        ("ab", "xab", "xaxb"),
        ("nps", "a new pair set", "onxpxsx"),
        ("nps", "onpxsx", "onxpxsx"),
        ("one two", "one two", "one xtwo"),
    ],
)
def test_prefix_contiguous_and_early_matches_rank_higher(words: str, better: str, worse: str) -> None:
    first, second = match(words, better), match(words, worse)
    assert first is not None
    assert second is not None
    assert first > second


def test_the_palette_starts_with_common_actions_and_searches_descriptions(qtbot: QtBot) -> None:
    used: list[str] = []
    about = "Cycle between system, light and dark"
    entries = [Entry(title, "Run", lambda title=title: used.append(title)) for title in ("Launch", "Pause", "Dare")]
    entries.append(Entry("Switch appearance", "View", lambda: used.append("appearance"), about))
    parent = QWidget()
    qtbot.addWidget(parent)
    palette = CommandPalette(parent)

    def listed() -> list[str]:
        return [palette.list.item(row).text() for row in range(palette.list.count())]

    palette.open(entries)
    assert listed() == ["Launch", "Pause", "Dare", "Switch appearance"], "as they are given"
    assert palette.list.item(0).data(Qt.ItemDataRole.AccessibleTextRole) == "Launch, Run"
    palette.line.setText("dark")
    assert listed() == ["Switch appearance"]
    palette.line.setText("dar")
    assert listed() == ["Dare", "Switch appearance"], "titles before descriptions"
    palette.line.setText("pause")
    palette._choose(palette.list.currentItem())
    palette.open(entries)
    assert listed() == ["Pause", "Launch", "Dare", "Switch appearance"], "what was used last comes first"
    assert used == ["Pause"]
