"""Small dialogs by themselves: the list of shortcuts, the dialog of a failure, Ctrl+K by keys."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PySide6.QtCore import QPoint, Qt
from PySide6.QtWidgets import QApplication, QDialogButtonBox, QPushButton, QWidget
from pytestqt.qtbot import QtBot

from core.spec.presets import PRESETS, SIZES
from core.spec.run.status import RunState
from sdgui.actions.failure_dialog import FailureDialog
from sdgui.actions.menus import palette_entries
from sdgui.actions.palette import CommandPalette, Entry, match, score
from sdgui.actions.shortcuts import ShortcutsDialog
from sdgui.widgets.actions import Action, Actions


@pytest.fixture
def over(qtbot: QtBot) -> QWidget:
    over = QWidget()
    qtbot.addWidget(over)
    over.resize(500, 400)
    over.show()
    return over


def test_the_list_of_shortcuts_is_filtered_by_words(over: QWidget) -> None:
    actions = Actions(over)
    actions.register([
        Action("a", "Run", "&Launch it", "Start training", lambda _: None, "Ctrl+Return"),
        Action("b", "Run", "Stop", "End training", lambda _: None),
        Action("c", "View", "Log", "Logarithmic axes", lambda _: None, "L"),
    ], over)  # fmt: skip
    dialog = ShortcutsDialog(actions, over)

    def listed(group: str) -> list[list[str]]:
        (found,) = dialog.list.findItems(group, Qt.MatchFlag.MatchExactly)
        if found.isHidden():
            return []
        rows = [found.child(at) for at in range(found.childCount())]
        return [[row.text(column) for column in range(3)] for row in rows if not row.isHidden()]

    assert listed("Run") == [["Launch it", "Ctrl+Return", "Start training"], ["Stop", "", "End training"]]
    assert listed("Tree")[1] == ["", "Enter", "Show the run"], "and what widgets do themselves"
    (head,) = dialog.list.findItems("Run", Qt.MatchFlag.MatchExactly)
    assert (head.isExpanded(), head.font(0).bold()) == (True, True)
    assert not head.flags() & Qt.ItemFlag.ItemIsSelectable
    assert head.child(0).toolTip(2) == "Start training"
    dialog.filter_box.setText("TRAIN end")
    assert (listed("Run"), listed("View"), listed("Tree")) == ([["Stop", "", "End training"]], [], [])
    dialog.filter_box.setText("ctrl+ret")
    assert [row[0] for row in listed("Run")] == ["Launch it"]
    dialog.filter_box.clear()
    assert (len(listed("Run")), len(listed("View")), len(listed("Tree"))) == (2, 1, 2)


def test_an_error_has_details_to_copy_where_available(qtbot: QtBot, over: QWidget) -> None:
    dialog = FailureDialog("It broke.", "line 5", over)
    dialog.show()
    assert (dialog.details.isVisible(), dialog.details.isReadOnly(), dialog.isModal()) == (True, True, False)
    copy = next(one for one in dialog.findChildren(QPushButton) if "Copy" in one.text())
    copy.click()
    assert QApplication.clipboard().text() == "It broke.\n\nline 5"
    close = dialog.findChildren(QDialogButtonBox)[0].button(QDialogButtonBox.StandardButton.Close)
    assert (close.isDefault(), copy.autoDefault()) == (True, False)
    with qtbot.waitSignal(dialog.rejected):
        close.click()
    assert not dialog.isVisible()
    bare = FailureDialog("It broke.", "", over)
    bare.show()
    assert not bare.details.isVisible()
    bare.close()


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
    rows = [(down, 1), (page_down, 9), (page_up, 1), (up, 0), (up, 0), (page_up, 0)]
    rows += [(page_down, min(8 * times, 59)) for times in range(1, 10)]
    for key, row in rows:
        qtbot.keyClick(palette.line, key)
        assert palette.list.currentRow() == row, (key, row)
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


def test_contents_of_the_command_palette(over: QWidget) -> None:
    actions, chosen = Actions(over), list[tuple[object, ...]]()
    local = QWidget(over)
    local.show()
    actions.register([
        Action("a", "View", "&Log", "x", lambda _: None, "L"), Action("b", "Run", "Launch", "Starts.", lambda _: None),
    ], over)  # fmt: skip
    actions.register([Action("c", "Data", "Own", "x", lambda _: None)], local, local)
    runs = [SimpleNamespace(id=number, state=RunState.DONE) for number in (3, 4)]
    model: Any = SimpleNamespace(
        experiment_ids=lambda: [7], experiment_name=lambda one: f"experiment {one}", runs=lambda: runs,
        name=lambda run: f"run {run}",
    )  # fmt: skip
    found = palette_entries(
        actions, model, lambda *what: chosen.append(("new", *what)), lambda one: chosen.append(("experiment", one)),
        lambda one: chosen.append(("run", one)), "Run",
    )  # fmt: skip
    assert [(one.title, one.hint) for one in found[:3]] == [("Own", "Data"), ("Launch", "Run"), ("Log", "View · L")]
    assert found[1].about == "Starts."
    preset, size = next(iter(PRESETS.values())), SIZES[0]
    assert (found[3].title, found[3].hint) == (f"New experiment: {preset.title}, {size}", "Preset")
    last = [(one.title, one.hint) for one in found[-3:]]
    assert last == [("experiment 7", "Experiment"), ("run 4", "Run · done"), ("run 3", "Run · done")]
    for one in (found[3], *found[-3:]):
        one.run()
    assert chosen == [("new", preset.name, size), ("experiment", 7), ("run", 4), ("run", 3)]
    assert len(found) == 3 + len(PRESETS) * len(SIZES) + 3


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


def test_a_description_must_contain_every_word_and_ranks_below_titles() -> None:
    entry = Entry("Dare", "Run", lambda: None, "Cycle between light and dark")
    about = score("dark cycle", entry)
    assert about is not None
    assert about < -50
    assert score("dark bicycle", entry) is None
    assert score("dar", entry) == match("dar", "Dare Run")
    longer = score("dark cycle", Entry("Dare", "Run", lambda: None, "Cycle between light and dark, or as the system"))
    assert longer is not None
    assert longer < about, "the shorter is nearer to what was typed"


TITLES = ["Launch", "Search", "Queue", "Tags and note…", "New experiment: CLIP, demo", "sd-clip demo · run 12"]


def best(words: str) -> str:
    scored = [(score, title) for title in TITLES if (score := match(words, title)) is not None]
    return max(scored)[1]


def test_letters_in_order_match() -> None:
    assert best("lnch") == "Launch"
    assert best("clip demo new") == "New experiment: CLIP, demo"
    assert best("run 12") == "sd-clip demo · run 12"
    assert best("note") == "Tags and note…"


def test_a_missing_letter_excludes() -> None:
    assert match("launchx", "Launch") is None
    assert match("hcraes", "Search") is None


@given(st.text(max_size=20), st.text(max_size=30))
def test_a_title_matches_its_parts(words: str, rest: str) -> None:
    assert match(words, f"{rest} {words}") is not None


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
