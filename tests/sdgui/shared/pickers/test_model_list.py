"""The list of models by itself: what is listed, found, told and reached by keys; and its popover."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from PySide6.QtCore import QEvent, Qt
from PySide6.QtGui import QKeyEvent
from PySide6.QtWidgets import QListView, QWidget
from pytestqt.qtbot import QtBot

from sdgui.runs.models import RunFacts
from sdgui.shared.pickers.entries import ModelEntry
from sdgui.shared.pickers.model_list import ModelLines
from sdgui.shared.pickers.model_popover import UNTRAINED, ModelPopover
from sdgui.widgets.popovers.list_keys import handle_list_key

ONE = ModelEntry("run", "/r/1", "clip · run 1", metric="mean recall 50.0 %", about="today · search")
TWO = ModelEntry("run", "/r/2", "coca · run 1", "This run has not saved a checkpoint yet.")
THREE = ModelEntry("open_clip", "ViT-B-32,openai", "ViT-B-32 · openai", about="not downloaded")
BARE = ModelEntry("open_clip", "RN50", "RN50 · no weights")
GROUPS = [("Recent", []), ("Runs", [ONE, TWO]), ("Pretrained, by open_clip", [THREE]), (UNTRAINED, [BARE])]


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
        lines.replace(GROUPS, words, (UNTRAINED,))
        assert shown(lines) == titles, words
    lines.replace(GROUPS)
    assert shown(lines)[-2:] == [UNTRAINED, BARE.title]


def test_keys_skip_headings_and_disabled_entries(qtbot: QtBot) -> None:
    lines, view = ModelLines(), QListView()
    qtbot.addWidget(view)
    lines.replace(GROUPS)
    view.setModel(lines)
    view.show()

    def press(key: Qt.Key) -> int:
        pressed = QKeyEvent(QEvent.Type.KeyPress, key, Qt.KeyboardModifier.NoModifier)
        assert handle_list_key(view, pressed)
        return view.currentIndex().row()

    assert lines.first_row() == 1
    view.setCurrentIndex(lines.index(1))
    assert [press(Qt.Key.Key_Down) for _ in range(3)] == [4, 6, 6]
    assert [press(Qt.Key.Key_Up) for _ in range(3)] == [4, 1, 1]
    assert not handle_list_key(view, QKeyEvent(QEvent.Type.KeyPress, Qt.Key.Key_A, Qt.KeyboardModifier.NoModifier))
    assert [lines.entry(row) for row in (-1, 0, 1, 99)] == [None, None, ONE, None]
    flags = [lines.flags(lines.index(row)) for row in range(3)]
    assert flags == [
        Qt.ItemFlag.NoItemFlags, Qt.ItemFlag.ItemIsSelectable | Qt.ItemFlag.ItemIsEnabled, Qt.ItemFlag.ItemIsSelectable
    ]  # fmt: skip
    empty = ModelLines()
    assert (empty.first_row(), empty.rowCount(), empty.rowCount(lines.index(0))) == (-1, 0, 0)


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


def test_checkpoints_and_networks_of_a_run_are_offered(popover: ModelPopover) -> None:
    requests: list[object] = []
    popover.checkpoint_picked.connect(requests.append)
    popover.network_picked.connect(requests.append)
    facts = RunFacts(steps=(200, 100), best=100, last=200, networks=("teacher", "student"), can_caption=False)
    popover.show_run(facts, 200, "student")
    checkpoints, weights = popover.checkpoints, popover.networks
    assert [checkpoints.itemText(row) for row in range(checkpoints.count())] == [
        "best · step 100", "last · step 200", "step 200", "step 100"
    ]  # fmt: skip
    assert (checkpoints.currentData(), weights.currentData()) == (200, "student")
    checkpoints.setCurrentIndex(0)
    checkpoints.activated.emit(0)
    weights.setCurrentIndex(0)
    weights.activated.emit(0)
    assert requests == ["best", "teacher"]
    parts = (popover._checkpoints_title, checkpoints, popover._networks_title, weights)
    assert [part.isVisible() for part in parts] == [True] * 4
    popover.show_run(replace(facts, networks=("student",), best=None), "last", "student")
    assert [part.isVisible() for part in parts] == [True, True, False, False]
    assert checkpoints.itemText(0) == "last · step 200"
    popover.show_run(None, "", "")
    assert [part.isVisible() for part in parts] == [False] * 4


def test_a_typed_folder_with_an_unsuitable_model_is_not_selectable(qtbot: QtBot, tmp_path: Path) -> None:
    (tmp_path / "open_clip_config.json").write_text("{}")
    window = QWidget()
    qtbot.addWidget(window)
    captioners = ModelPopover("caption", window)
    captioners.line.setText(str(tmp_path))
    entry = captioners.lines.entry(1)
    assert entry is not None
    assert (entry.name, entry.reason) == (str(tmp_path), "This model cannot caption: its architecture is not CoCa.")
    picked: list[ModelEntry] = []
    captioners.picked.connect(picked.append)
    qtbot.keyClick(captioners.line, Qt.Key.Key_Return)
    captioners._on_clicked(captioners.lines.index(1))
    assert picked == []
