"""Parts of the table by themselves: the filter's completions by keys, the bar, the chooser of columns, saved views."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PySide6.QtCore import QEvent, QPoint, QSettings, Qt
from PySide6.QtGui import QKeyEvent, QKeySequence
from PySide6.QtWidgets import QApplication, QInputDialog, QMenu, QWidget
from pytestqt.qtbot import QtBot

from sdgui.app.start import make_application
from sdgui.panels.runs.table.bar import TIP, FilterBox, TableBar
from sdgui.panels.runs.table.columns import ColumnChooser
from sdgui.panels.runs.table.completion import completions
from sdgui.panels.runs.table.layout import TableLayout
from sdgui.panels.runs.table.views import LONGEST, MOST, SavedViews, views_menu
from sdgui.store.run_table.expressions import ExpressionError
from sdgui.store.run_table.fields import Catalogue, metric
from sdgui.widgets.style.theme import theme

RECALL = "val/student/mean_recall"
CATALOGUE = Catalogue(["train/loss", RECALL])
CTRL, ALT = Qt.KeyboardModifier.ControlModifier, Qt.KeyboardModifier.AltModifier


@pytest.fixture
def box(qtbot: QtBot) -> FilterBox:
    window = QWidget()
    qtbot.addWidget(window)
    window.resize(800, 300)
    box = FilterBox(window)
    box.catalogue, box.values = CATALOGUE, {"tag": ["paper", "my tag"]}
    window.show()
    window.activateWindow()
    box.setFocus()
    qtbot.waitUntil(box.hasFocus)
    box.window_kept = window  # type: ignore[attr-defined]
    return box


def offered(box: FilterBox) -> list[str]:
    """The completions that are seen."""
    if not box._list.isVisible():
        return []
    return [str(box._offered.index(row, 0).data()) for row in range(box._offered.rowCount())]


def test_completions_are_offered_while_typing(qtbot: QtBot, box: FilterBox) -> None:
    qtbot.keyClicks(box, "se")
    assert offered(box)[0].startswith("seed")
    qtbot.keyClicks(box, "ed ")
    assert offered(box) == [], "what may follow is not pushed upon who types"
    qtbot.keyClick(box, Qt.Key.Key_Space, CTRL)
    assert offered(box)[:2] == ["=", "!="]
    box.clear()
    qtbot.keyClicks(box, "tag:")
    assert offered(box) == ["paper", '"my tag"']
    box.clearFocus()
    assert offered(box) == []


def test_a_completion_is_accepted_by_tab_enter_or_a_click(qtbot: QtBot, box: FilterBox) -> None:
    received: list[str] = []
    box.changed.connect(received.append)
    qtbot.keyClicks(box, "tag:")
    qtbot.keyClick(box, Qt.Key.Key_Tab)
    assert (box.text(), box.cursorPosition(), offered(box)) == ("tag:paper", 9, [])
    box.clear()
    qtbot.keyClicks(box, "tag:")
    for key, row in ((Qt.Key.Key_Down, 0), (Qt.Key.Key_Down, 1), (Qt.Key.Key_Down, 0), (Qt.Key.Key_Up, 1)):
        qtbot.keyClick(box, key)
        assert box._list.currentIndex().row() == row, "it goes round"
    qtbot.keyClick(box, Qt.Key.Key_Return)
    assert box.text() == 'tag:"my tag"'
    assert received == [], "the first Enter takes, the next one asks"
    qtbot.keyClick(box, Qt.Key.Key_Enter)
    assert received == ['tag:"my tag"']
    box.setText("tag:")
    qtbot.keyClick(box, Qt.Key.Key_Space, CTRL)
    box._list.clicked.emit(box._offered.index(0, 0))
    assert box.text() == "tag:paper"
    box.setText("a tag: b")
    box.setCursorPosition(6)
    qtbot.keyClick(box, Qt.Key.Key_Space, CTRL)
    qtbot.keyClick(box, Qt.Key.Key_Tab)
    assert (box.text(), box.cursorPosition()) == ("a tag:paper b", 11)


def test_keys_close_completions_submit_and_leave(qtbot: QtBot, box: FilterBox) -> None:
    received, escapes = list[str](), list[None]()
    box.changed.connect(received.append)
    box.leave_requested.connect(lambda: escapes.append(None))
    qtbot.keyClicks(box, "tag:")
    popup = box._list.geometry()
    assert popup.top() == box.mapToGlobal(QPoint(0, box.height() + 2)).y(), "below the box"
    assert popup.height() > 2 * box.fontMetrics().height(), "both fit"

    def kept(key: Qt.Key) -> bool:
        override = QKeyEvent(QEvent.Type.ShortcutOverride, key, Qt.KeyboardModifier.NoModifier)
        override.ignore()
        QApplication.sendEvent(box, override)
        return override.isAccepted()

    assert kept(Qt.Key.Key_Escape), "it closes the list and nothing else"
    qtbot.keyClick(box, Qt.Key.Key_Escape)
    assert (offered(box), box.text()) == ([], "tag:")
    assert not kept(Qt.Key.Key_Escape)
    qtbot.keyClick(box, Qt.Key.Key_Down)
    assert len(escapes) == 1
    qtbot.keyClick(box, Qt.Key.Key_Up)
    assert (len(escapes), offered(box)) == (1, [])
    qtbot.keyClicks(box, "x")
    qtbot.keyClick(box, Qt.Key.Key_Return)
    qtbot.keyClick(box, Qt.Key.Key_Return)
    assert received == ["tag:x"], "the same is not asked twice"
    qtbot.keyClicks(box, "y")
    qtbot.waitUntil(lambda: received == ["tag:x", "tag:xy"])
    box.show_filter("seed = 1")
    assert (box.text(), box._pause.isActive()) == ("seed = 1", False)
    box.apply()
    assert len(received) == 2, "what is shown is no wish"


def test_an_error_is_marked_until_the_next_edit(qtbot: QtBot, box: FilterBox) -> None:
    make_application()
    box.resize(600, 40)
    box.setText("seed = 1 and nonsense")
    plain = box.grab().toImage()
    box.show_error(ExpressionError("There is no nonsense.", 13, 21))
    marked = box.grab().toImage()
    assert marked != plain
    metrics, text = box.fontMetrics(), box.text()
    text_start = box.cursorRect().center().x() - metrics.horizontalAdvance(text)
    red = theme().color("error")
    rows = range(box.height() // 2 + 3, box.height() - 4)
    inked = [x for y in rows for x in range(4, box.width() - 4) if marked.pixelColor(x, y) == red]
    assert abs(min(inked) - text_start - metrics.horizontalAdvance(text[:13])) < 4
    assert abs(max(inked) - text_start - metrics.horizontalAdvance(text)) < 6, "below the word that is wrong"
    assert (box.property("invalid"), box.accessibleDescription()) == ("true", "There is no nonsense.")
    assert box.toolTip() not in (TIP, "")
    qtbot.keyClicks(box, "x")
    assert (box.property("invalid"), box.accessibleDescription(), box._error) == ("false", "", None)


@pytest.mark.parametrize(
    ("typed", "expected"),
    [
        ("tag |", [":", "!="]),
        ("created |", [">", "<"]),
        ("seed |", ["=", "!=", "<", ">", "<=", ">=", ":", "in ("]),
        ("seed =|", []),
        ("state : don|", ["done"]),
        ("(at|", ["at("]),
        ("at (|", None),
        ("xat(|", None),
        ("seed = 1 an|", ["and"]),
        ("an|", None),
        ("seed = 1 and no|", ["note"]),
    ],
)
def test_completions_at_the_cursor(typed: str, expected: list[str] | None) -> None:
    cursor, text = typed.index("|"), typed.replace("|", "")
    texts = [completion.text for completion in completions(text, cursor, CATALOGUE, {})]
    if expected is None:
        assert "and" not in texts
        assert "train/loss, " not in texts
    else:
        assert texts[: len(expected)] == expected
        assert expected or not texts


def test_the_bar_shows_the_grouping_and_the_number_of_matches(qtbot: QtBot) -> None:
    bar, received = TableBar(), list[object]()
    qtbot.addWidget(bar)
    bar.group_requested.connect(received.append)
    bar.differing_requested.connect(received.append)
    for signal in (bar.columns_requested, bar.views_requested):
        signal.connect(lambda point: received.append(type(point).__name__))
    layout = TableLayout(columns=("seed", RECALL, "note"), filter="seed = 1", only_differing=True)
    bar.show_layout(layout, CATALOGUE)
    assert (bar.filter.text(), bar.differing.isChecked(), bar.group.text()) == ("seed = 1", True, "Group")
    bar.show_layout(layout.grouped_by("seed"), CATALOGUE)
    assert (bar.group.text(), bar.group.toolTip()) == ("By seed", "Grouped by seed")
    bar.show_layout(layout.grouped_by("seed", "state"), CATALOGUE)
    assert bar.group.text() == "By 2 fields"
    for total, groups, text in (
        (1, None, "1 run"), (1200, None, "1\u2009200 runs"), (1200, 1300, "1\u2009300 groups, 1\u2009200 runs")
    ):  # fmt: skip
        bar.show_number(total, groups)
        assert bar.number.text().replace("\u2009", "") == text.replace("\u2009", "")
    bar.show_number(3, None)
    bar.show_unread(1200)
    assert (bar.number.text(), bool(bar.number.toolTip())) == (
        "3 runs · reading 1\u2009200",
        True,
    )
    bar.show_number(4, None)
    assert bar.number.text().startswith("4 runs · reading")
    bar.show_unread(0)
    assert (bar.number.text(), bar.number.toolTip()) == ("4 runs", "")
    bar.differing.click()
    bar.columns.click()
    bar.views.click()
    assert received == [False, "QPoint", "QPoint"]


def test_the_group_menu_has_the_usual_fields_and_shown_settings(qtbot: QtBot) -> None:
    bar, received = TableBar(), list[object]()
    qtbot.addWidget(bar)
    bar.group_requested.connect(received.append)
    bar.show_layout(TableLayout(columns=("seed", RECALL, "note", f"at({RECALL}, 10)"), group_by=("seed",)), CATALOGUE)
    bar.show()
    bar.group.click()
    menu = QApplication.activePopupWidget()
    assert isinstance(menu, QMenu)
    actions = [action for action in menu.actions() if not action.isSeparator()]
    texts = [action.text() for action in actions]
    assert texts[0] == "Same settings, any seed"
    assert texts[-1] == "Do not group"
    assert "seed" in texts
    assert texts[-2].endswith(", in bands")
    assert not {"note", "Note", "student mean recall, %"} & set(texts), "neither notes nor whole metrics"
    assert [action.text() for action in actions if action.isChecked()] == ["seed"]
    assert actions[-1].isEnabled()
    actions[1].trigger()
    next(action for action in actions if action.text() == "seed").trigger()
    actions[-1].trigger()
    menu.close()
    assert received == [("seed", "experiment"), (), ()]
    bar.show_layout(TableLayout(), CATALOGUE)
    assert not bar.group_menu().actions()[-1].isEnabled()


@pytest.fixture
def chooser(qtbot: QtBot) -> ColumnChooser:
    window = QWidget()
    qtbot.addWidget(window)
    window.resize(900, 700)
    window.show()
    chooser = ColumnChooser(window)
    chooser.window_kept = window  # type: ignore[attr-defined]
    chooser.open(("seed", "state"), CATALOGUE, QPoint(10, 10), {"at": ["10", "20"]})
    return chooser


def titles(chooser: ColumnChooser) -> list[str]:
    rows = [chooser.list.item(row) for row in range(chooser.list.count())]
    return [row.text() for row in rows if not row.isHidden()]


def test_columns_are_found_ticked_and_moved_by_keys(qtbot: QtBot, chooser: ColumnChooser) -> None:
    received: list[tuple[str, ...]] = []
    chooser.changed.connect(received.append)
    assert chooser.chosen() == ("seed", "state")
    qtbot.waitUntil(chooser.search.hasFocus)
    assert "name" not in [chooser.list.item(row).data(Qt.ItemDataRole.UserRole) for row in range(chooser.list.count())]
    chooser.search.setText("LEARNING rate")
    assert titles(chooser) != []
    assert all("learning" in title.casefold() for title in titles(chooser))
    chooser.search.clear()
    assert len(titles(chooser)) == chooser.list.count()
    chooser.list.item(2).setCheckState(Qt.CheckState.Checked)
    assert len(received[-1]) == 3
    chooser.list.item(2).setCheckState(Qt.CheckState.Unchecked)
    assert received[-1] == ("seed", "state")
    chooser.search.setFocus()
    qtbot.waitUntil(chooser.search.hasFocus)
    qtbot.keyClick(chooser.search, Qt.Key.Key_Up)
    assert chooser.search.hasFocus()
    qtbot.keyClick(chooser.search, Qt.Key.Key_Down)
    assert chooser.list.hasFocus(), "down from the words to what was found"
    chooser.list.setCurrentRow(0)
    qtbot.keyClick(chooser, Qt.Key.Key_Down, ALT)
    assert (received[-1], chooser.list.currentRow()) == (("state", "seed"), 1)
    qtbot.keyClick(chooser, Qt.Key.Key_Up, ALT)
    assert (received[-1], chooser.list.currentRow()) == (("seed", "state"), 0)
    number = len(received)
    qtbot.keyClick(chooser, Qt.Key.Key_Up, ALT)
    assert len(received) == number, "above the first there is no place"
    chooser.add("seed")
    assert len(received) == number, "it is shown already"
    chooser.hide()


def test_a_metric_at_a_step_is_added_as_a_column(qtbot: QtBot, chooser: ColumnChooser) -> None:
    received: list[tuple[str, ...]] = []
    chooser.changed.connect(received.append)
    at_step = chooser.at_step
    assert [at_step.metrics.itemData(row) for row in range(at_step.metrics.count())] == [RECALL, "train/loss"]
    assert (at_step.isVisible(), at_step.step.currentText(), at_step.add.isEnabled()) == (True, "20", True)
    at_step.step.setCurrentText("")
    assert not at_step.add.isEnabled()
    qtbot.keyClick(at_step.edit, Qt.Key.Key_Return)
    assert received == []
    qtbot.keyClicks(at_step.edit, "x0012")
    assert at_step.step.currentText() == "0012", "a step is a number"
    at_step.add.click()
    assert received == [("seed", "state", f"at({RECALL}, 12)")]
    at_step.choose(metric("train/loss", "at", step=30))
    assert (at_step.metrics.currentData(), at_step.step.currentText(), at_step.edit.selectedText()) == (
        "train/loss",
        "30",
        "30",
    )
    qtbot.keyClick(at_step.edit, Qt.Key.Key_Return)
    assert received[-1][-1] == "at(train/loss, 30)"
    qtbot.waitUntil(at_step.edit.hasFocus)
    at_step.choose(metric("train/loss"))
    assert at_step.step.currentText() == "30", "without a step the former stays"
    chooser.open(("seed",), CATALOGUE, QPoint(10, 10), {"at": ["10", "20"]})
    assert (at_step.metrics.currentData(), at_step.step.currentText()) == ("train/loss", "30"), "what was chosen stays"
    assert [at_step.step.itemText(row) for row in range(at_step.step.count())] == ["10", "20"]
    chooser.open((), Catalogue(), QPoint(10, 10), {})
    assert not at_step.isVisible()
    chooser.hide()


def test_views_are_saved_opened_and_removed_by_their_menu(
    qtbot: QtBot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = QSettings(str(tmp_path / "window.ini"), QSettings.Format.IniFormat)
    views, parent, layouts = SavedViews(settings), QWidget(), list[TableLayout]()
    qtbot.addWidget(parent)
    mine = TableLayout(filter="seed = 1")

    def menu(current: TableLayout) -> QMenu:
        return views_menu(views, current, layouts.append, parent)

    assert [action.text() for action in menu(mine).actions()] == ["&Save this view …", "&Default view"]
    answers = [("", True), ("  ", True), ("no", False), (" r&d   view ", True), ("other", True)]
    monkeypatch.setattr(QInputDialog, "getText", lambda *_: answers.pop(0))
    for layout in (mine, mine, mine, mine, TableLayout()):
        menu(layout).actions()[-2 if not views.all() else -3].trigger()
    assert list(views.all()) == ["other", "r&d view"]
    for layout in (TableLayout(), mine):
        views.save("v" * (LONGEST + 9), layout)
    assert views.all().pop("v" * LONGEST) == mine, "a long name is one view, too"
    views.remove("v" * LONGEST)
    filled_menu = menu(mine)
    first, second, line, save, default, removal = filled_menu.actions()
    assert [(action.text(), action.isChecked()) for action in (first, second)] == [
        ("other", False),
        ("r&&d view", True),
    ]
    assert (first.toolTip(), second.toolTip(), line.isSeparator()) == ("All runs", "seed = 1", True)
    second.trigger()
    default.trigger()
    assert layouts == [mine, TableLayout()]
    inner = removal.menu()
    assert isinstance(inner, QMenu)
    assert [action.text() for action in inner.actions()] == ["other", "r&&d view"]
    inner.actions()[1].trigger()
    assert list(views.all()) == ["other"]
    assert QKeySequence.mnemonic(save.text()).toString() == "Alt+S"
    views.save("x" * 100, mine)
    assert max(map(len, views.all())) == LONGEST
    for number in range(60):
        views.save(str(number), mine)
    assert (len(views.all()), next(iter(views.all()))) == (MOST, "59")
    for broken in ("{", "[1]"):
        settings.setValue("runs/views", broken)
        assert views.all() == {}
    settings.setValue("runs/views", json.dumps({"a": 3}))
    assert views.all() == {"a": TableLayout()}
