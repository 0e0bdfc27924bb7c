"""Look with a worker in miniature: what is opened, searched, marked, cancelled and refused."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from PySide6.QtCore import Qt
from pytestqt.qtbot import QtBot

from core.config import override
from core.presets import preset_config
from core.rundir import RunState
from sdgui.main_window import MainWindow
from sdgui.panels.look import LookPanel

OpenWindow = Callable[..., MainWindow]


@pytest.fixture
def look(qtbot: QtBot, open_window: OpenWindow) -> LookPanel:
    """Look at a finished run that has a checkpoint; nothing is opened before the place is entered."""
    window = open_window("--steps", "3")
    window.experiment_commands.add(override(preset_config("clip", "tiny"), ["data.val=val.csv", "data.test=slow"]), "x")
    window.acts.launch()
    qtbot.waitUntil(lambda: [r.state for r in window.services.store.runs()] == [RunState.DONE], timeout=15000)
    folder = window.services.store.runs()[0].dir.checkpoints / "step-00000003"
    folder.mkdir()
    (folder / "checkpoint.json").write_text("{}", encoding="utf-8")
    place = window.show_place("look")
    assert isinstance(place, LookPanel)
    return place


def opened(qtbot: QtBot, look: LookPanel) -> None:
    qtbot.waitUntil(lambda: look.captions.model.rowCount() == 4, timeout=10000)
    qtbot.waitUntil(lambda: len(look.sides["student"].gallery.items()) == 3, timeout=10000)


def test_the_hardest_caption_comes_first_and_its_rank_is_told_though_outside_the_hits(
    qtbot: QtBot, look: LookPanel
) -> None:
    opened(qtbot, look)
    assert look.captions.current() == 3
    student, teacher = look.sides["student"], look.sides["teacher"]
    assert "rank 4 of 4, not among these" in student.rank.text()
    assert [item.correct for item in student.gallery.items()] == [None, None, None]
    assert "rank 1 of 4" in teacher.rank.text()
    assert [item.correct for item in teacher.gallery.items()] == [True, None, None]
    assert [item.rank for item in teacher.gallery.items()] == [1, 2, 3]
    assert teacher.gallery.items()[1].score == pytest.approx(0.5)
    assert "R@1 25.0 %" in student.recall.text()


def test_choosing_another_caption_searches_it(qtbot: QtBot, look: LookPanel) -> None:
    opened(qtbot, look)
    look.captions.table.setFocus()
    qtbot.keyClick(look.captions.table, Qt.Key.Key_Down)
    qtbot.waitUntil(lambda: "rank 3 of 4" in look.sides["student"].rank.text())
    assert look.captions.current() == 2
    assert "a green star" in look.asked.text()


def test_words_are_searched_as_one_types_and_the_caption_comes_back_without_them(qtbot: QtBot, look: LookPanel) -> None:
    opened(qtbot, look)
    look.focus_search()
    qtbot.keyClicks(look.query, "moon")
    qtbot.waitUntil(lambda: "nearest of 4 pictures" in look.sides["student"].rank.text())
    assert len(look.sides["student"].gallery.items()) == 3
    assert look.asked.text() == "“moon”"
    look.query.clear()
    qtbot.waitUntil(lambda: "rank 4 of 4" in look.sides["student"].rank.text())


def test_captions_can_be_filtered_and_sorted(qtbot: QtBot, look: LookPanel) -> None:
    opened(qtbot, look)
    table = look.captions
    table.filter_box.setText("SQUARE")
    assert table.found.text() == "1 of 4 captions"
    table.filter_box.clear()
    table.table.sortByColumn(1, Qt.SortOrder.AscendingOrder)
    assert table.table.model().index(0, 0).data() == "a red circle"


def test_opening_can_be_cancelled_and_taken_up_again(qtbot: QtBot, look: LookPanel) -> None:
    opened(qtbot, look)
    box = look.source.data
    box.setCurrentIndex(box.findText("test data"))
    box.activated.emit(box.currentIndex())
    qtbot.waitUntil(lambda: "encoding" in look.strip.text)
    look.strip.cancelled.emit()
    qtbot.waitUntil(lambda: "cancelled" in look.bar.text)
    assert not look.strip.isVisible()


def test_data_that_cannot_be_read_says_why(qtbot: QtBot, look: LookPanel) -> None:
    opened(qtbot, look)
    box = look.source.data
    box.insertItem(0, "broken", "broken")
    box.setCurrentIndex(0)
    box.activated.emit(0)
    qtbot.waitUntil(lambda: "no column filepath" in look.bar.text, timeout=10000)


def test_a_worker_that_died_is_replaced(qtbot: QtBot, look: LookPanel) -> None:
    opened(qtbot, look)
    look._services.worker.shutdown()
    qtbot.waitUntil(lambda: look._services.worker.state == "off")
    look.captions.choose(1)
    qtbot.waitUntil(lambda: "rank 2 of 4" in look.sides["student"].rank.text(), timeout=10000)
    assert look.captions.current() == 1


def test_a_run_without_a_checkpoint_says_so(qtbot: QtBot, open_window: OpenWindow) -> None:
    window = open_window("--steps", "3")
    window.experiment_commands.add(preset_config("clip", "tiny"), "x")
    window.acts.launch()
    qtbot.waitUntil(lambda: [r.state for r in window.services.store.runs()] == [RunState.DONE], timeout=15000)
    place = window.show_place("look")
    assert isinstance(place, LookPanel)
    assert place.empty.isVisible()
    assert "ended before its first checkpoint" in place.empty.accessibleDescription()
    assert window.services.worker.state == "off"
