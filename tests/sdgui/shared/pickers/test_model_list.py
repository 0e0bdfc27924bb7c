"""The list of models by itself: what is listed, found, told and reached by keys; and its popover."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from PySide6.QtCore import QModelIndex, QRect, Qt
from PySide6.QtGui import QColor, QImage, QPainter
from PySide6.QtWidgets import QStyle, QStyleOptionViewItem, QWidget
from pytestqt.qtbot import QtBot

from sdgui.runs.models import RunFacts
from sdgui.shared.pickers.entries import ModelEntry
from sdgui.shared.pickers.model_list import ModelDelegate, ModelLines
from sdgui.shared.pickers.model_popover import UNTRAINED, ModelPopover
from sdgui.widgets.style.theme import theme

ONE = ModelEntry("run", "/r/1", "clip · run 1", metric="mean recall 50.0 %", about="today · search")
TWO = ModelEntry("run", "/r/2", "coca · run 1", "It has not saved a checkpoint yet.")
THREE = ModelEntry("open_clip", "ViT-B-32,openai", "ViT-B-32 · openai", about="to download")
BARE = ModelEntry("open_clip", "RN50", "RN50 · no weights")
GROUPS = [("Recent", []), ("Runs", [ONE, TWO]), ("Pretrained, by open_clip", [THREE]), (UNTRAINED, [BARE])]
Role = Qt.ItemDataRole


def shown(lines: ModelLines) -> list[str]:
    return [str(lines.index(row).data()) for row in range(lines.rowCount())]


def test_entries_are_grouped_and_found_by_every_word(qapp: object) -> None:
    lines = ModelLines()
    lines.replace(GROUPS, "", (UNTRAINED,))
    runs, pretrained = "Runs", "Pretrained, by open_clip"
    assert shown(lines) == [runs, ONE.title, TWO.title, pretrained, THREE.title], "random weights are seldom wanted"
    assert lines.entries() == [ONE, TWO, THREE]
    titles_by_words = {
        "RUN clip": [runs, ONE.title],
        "recall": [runs, ONE.title],
        "/r/2": [runs, TWO.title],
        "download": [pretrained, THREE.title],
        "open_clip:vit": [pretrained, THREE.title],
        "rn50": [UNTRAINED, BARE.title],
        "clip coca": [],
    }
    for words, titles in titles_by_words.items():
        lines.find(words)
        assert shown(lines) == titles, words
    lines.replace(GROUPS)
    assert shown(lines)[-2:] == [UNTRAINED, BARE.title]


def test_keys_skip_headings_and_disabled_entries(qapp: object) -> None:
    lines = ModelLines()
    lines.replace(GROUPS)
    assert [lines.next_row(row, 1) for row in (-1, 1, 4, 6)] == [1, 4, 6, 6]
    assert [lines.next_row(row, -1) for row in (6, 4, 1)] == [4, 1, 1]
    assert [lines.entry(row) for row in (-1, 0, 1, 99)] == [None, None, ONE, None]
    flags = [lines.flags(lines.index(row)) for row in range(3)]
    assert flags == [
        Qt.ItemFlag.NoItemFlags, Qt.ItemFlag.ItemIsSelectable | Qt.ItemFlag.ItemIsEnabled, Qt.ItemFlag.ItemIsSelectable
    ]  # fmt: skip
    empty = ModelLines()
    assert (empty.next_row(-1, 1), empty.rowCount(), empty.rowCount(lines.index(0))) == (-1, 0, 0)


def test_a_line_has_an_accessible_description(qapp: object) -> None:
    lines = ModelLines()
    lines.replace(GROUPS)
    first, two = lines.index(1), lines.index(2)
    assert [first.data(role) for role in (Role.UserRole, Role.ToolTipRole, Role.AccessibleTextRole)] == [
        ONE, "/r/1", "clip · run 1, mean recall 50.0 %, today · search"
    ]  # fmt: skip
    assert [two.data(role) for role in (Role.ToolTipRole, Role.AccessibleTextRole)] == [
        TWO.reason, f"coca · run 1, {TWO.reason}"
    ]  # fmt: skip
    assert first.data(Role.DecorationRole) is None
    assert [lines.index(0).data(role) for role in (Role.DisplayRole, Role.UserRole)] == ["Runs", None]
    assert lines.data(QModelIndex()) is None


@pytest.fixture
def popover(qtbot: QtBot) -> Iterator[ModelPopover]:
    window = QWidget()
    qtbot.addWidget(window)
    window.resize(900, 700)
    chip = QWidget(window)
    chip.setGeometry(800, 10, 90, 30)
    window.show()
    popover = ModelPopover("search", window)
    popover.open_below(chip, "")
    yield popover
    popover.hide()


def current(popover: ModelPopover) -> ModelEntry | None:
    return popover.lines.entry(popover.list.currentIndex().row())


def test_the_popover_stays_within_its_window_and_names_missing_parts(popover: ModelPopover) -> None:
    window = popover.parentWidget()
    assert window is not None
    assert popover.geometry().right() <= window.mapToGlobal(window.rect().topRight()).x()
    assert popover.geometry().bottom() <= window.mapToGlobal(window.rect().bottomRight()).y()
    assert popover.focusWidget() is popover.line
    assert (popover.note.text(), popover.note.isVisible()) == ("Reading the models …", True)
    popover.show_groups(GROUPS)
    assert (popover.note.text(), popover.note.isVisible(), current(popover)) == ("", False, ONE)
    popover.line.setText("nobody")
    assert popover.note.text().startswith("No model matches “nobody”.")
    assert current(popover) is None
    popover.open_below(window, "coca")
    assert (popover.line.text(), popover.lines.entries(), current(popover)) == ("coca", [TWO], None)


def test_arrow_and_page_keys_move_through_selectable_entries(qtbot: QtBot, popover: ModelPopover) -> None:
    picked: list[ModelEntry] = []
    popover.picked.connect(picked.append)
    many = [replace(ONE, name=f"/r/{number}", title=f"run {number}") for number in range(20)]
    popover.show_groups([("Runs", many)])
    currents: list[str] = []
    for key in (Qt.Key.Key_Down, Qt.Key.Key_PageDown, Qt.Key.Key_Up, Qt.Key.Key_PageUp, Qt.Key.Key_PageUp):
        qtbot.keyClick(popover.line, key)
        entry = current(popover)
        assert entry is not None
        currents.append(entry.title)
    assert currents == ["run 1", "run 7", "run 6", "run 0", "run 0"]
    qtbot.keyClick(popover.line, Qt.Key.Key_Down)
    popover.show_groups([("Runs", many[::-1])])
    assert current(popover) == many[1], "the line that was reached stays"
    qtbot.keyClick(popover.line, Qt.Key.Key_Return)
    assert (picked, popover.isVisible()) == ([many[1]], False)


def test_checkpoints_and_networks_of_a_run_are_offered(popover: ModelPopover) -> None:
    requests: list[object] = []
    popover.checkpoint_picked.connect(requests.append)
    popover.network_picked.connect(requests.append)
    facts = RunFacts(steps=(200, 100), best=100, last=200, networks=("teacher", "student"), captions=False)
    popover.show_run(facts, 200, "student")
    checkpoints, weights = popover.checkpoints, popover.weights
    assert [checkpoints.itemText(row) for row in range(checkpoints.count())] == [
        "best · step 100", "last · step 200", "step 200", "step 100"
    ]  # fmt: skip
    assert (checkpoints.currentData(), weights.currentData()) == (200, "student")
    checkpoints.setCurrentIndex(0)
    checkpoints.activated.emit(0)
    weights.setCurrentIndex(0)
    weights.activated.emit(0)
    assert requests == ["best", "teacher"]
    parts = (popover._which_title, checkpoints, popover._weights_title, weights)
    assert [part.isVisible() for part in parts] == [True] * 4
    popover.show_run(replace(facts, networks=("student",), best=None), "last", "student")
    assert [part.isVisible() for part in parts] == [True, True, False, False]
    assert checkpoints.itemText(0) == "last · step 200"
    popover.show_run(None, "", "")
    assert [part.isVisible() for part in parts] == [False] * 4


def test_a_typed_folder_is_offered_first(popover: ModelPopover, tmp_path: Path) -> None:
    (tmp_path / "open_clip_config.json").write_text("{}")
    popover.show_groups(GROUPS)
    popover.line.setText(f" {tmp_path} ")
    assert shown(popover.lines) == ["Folder", tmp_path.name]
    popover.line.setText(str(tmp_path / "open_clip_config.json"))
    assert popover.lines.rowCount() == 0, "a file is none"


def test_a_typed_folder_with_an_unsuitable_model_is_not_selectable(qtbot: QtBot, tmp_path: Path) -> None:
    (tmp_path / "open_clip_config.json").write_text("{}")
    window = QWidget()
    qtbot.addWidget(window)
    captioners = ModelPopover("caption", window)
    captioners.line.setText(str(tmp_path))
    entry = captioners.lines.entry(1)
    assert entry is not None
    assert (entry.name, entry.reason) == (str(tmp_path), "It cannot caption: its architecture is not CoCa.")
    picked: list[ModelEntry] = []
    captioners.picked.connect(picked.append)
    qtbot.keyClick(captioners.line, Qt.Key.Key_Return)
    captioners._on_clicked(captioners.lines.index(1))
    assert picked == []


def test_a_line_is_painted_under_its_heading_with_its_metric_at_the_right(qtbot: QtBot) -> None:
    widget, lines = QWidget(), ModelLines()
    qtbot.addWidget(widget)
    delegate = ModelDelegate(widget)
    lines.replace(GROUPS)
    wide, high = 400, 48

    def painted(row: int, selected: bool = False) -> QImage:
        option: Any = QStyleOptionViewItem()
        option.rect, option.widget = QRect(0, 0, wide, high), widget
        option.state = QStyle.StateFlag.State_Selected if selected else QStyle.StateFlag.State_None
        image = QImage(wide, high, QImage.Format.Format_RGB32)
        image.fill(Qt.GlobalColor.white)
        painter = QPainter(image)
        delegate.paint(painter, option, lines.index(row))
        painter.end()
        return image

    def ink(image: QImage, left: int, top: int, right: int, bottom: int) -> bool:
        white = QColor("white").rgb()
        return any(image.pixel(x, y) != white for x in range(left, right) for y in range(top, bottom))

    heading, first, two, bare = (painted(row) for row in (0, 1, 2, 6))
    upper, lower, right = (0, high // 2), (high // 2 + 4, high), wide - 100
    assert not ink(heading, 0, 0, wide, 8), "it stands above its lines"
    assert [ink(image, 0, lower[0], right, lower[1]) for image in (heading, first, two)] == [True] * 3
    assert [ink(image, right, upper[0], wide, upper[1]) for image in (first, two)] == [True, False]
    assert ink(first, 0, upper[0], right, upper[1])
    assert ink(bare, 0, high // 4, right, 3 * high // 4)
    assert not ink(bare, 0, high - 8, wide, high), "nothing is said of it"
    selected_line = painted(1, selected=True)
    assert selected_line.pixelColor(wide // 2, 1) == theme().color("selection")
    assert first.pixelColor(wide // 2, 1) == QColor("white")
    option = QStyleOptionViewItem()
    heights = [delegate.sizeHint(option, lines.index(row)).height() for row in (0, 1)]
    assert heights[0] < heights[1] < 2.2 * heights[0]
