"""Parts of the Clean panel over rankings that are given by hand: words, keys, messages, choices."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PySide6.QtCore import QItemSelectionModel, QModelIndex, Qt
from PySide6.QtWidgets import QFileDialog
from pytestqt.qtbot import QtBot

from sdgui.app.start import make_application, make_services
from sdgui.panels.clean.model import RankedPairs
from sdgui.panels.clean.panel import CleanPanel
from sdgui.shared.pickers.entries import ModelChoice
from sdgui.worker.replies import Cancelled, Failure
from tests.sdgui.conftest import program
from tests.sdgui.panels.clean.cleaning import close, make_run, press, some_pairs

CTRL = Qt.KeyboardModifier.ControlModifier
SHIFT = Qt.KeyboardModifier.ShiftModifier


@pytest.fixture
def place(qtbot: QtBot, tmp_path: Path) -> Iterator[CleanPanel]:
    """The panel without a run: no worker is asked anything."""
    make_application()
    panel = CleanPanel(make_services(tmp_path / "home", worker=program("fake_clean_worker.py")))
    qtbot.addWidget(panel)
    panel.resize(1000, 700)
    panel.show()
    panel.activateWindow()
    yield panel
    close(panel, qtbot)


def test_facts_counts_and_threshold_as_text(place: CleanPanel) -> None:
    view = place.view
    place._show(RankedPairs(some_pairs(), {("/d.png", "d"): False}))
    assert view.stack.currentWidget() is view.body
    assert view.facts.text() == "4 pairs ranked: 2 likely mislabelled."
    assert (view.facts.wordWrap(), view.threshold_text.wordWrap()) == (True, True)
    assert view.threshold_text.text() == "2 below 0.201"
    assert view.counts.text() == "0 of 4 excluded · 0 marked mismatched, 1 correct · 4 shown"
    assert (view.save_button.isEnabled(), view.basket_button.isEnabled()) == (False, False)
    assert view.filters.findData("shuffled") < 0
    place.mark(True)
    assert (view.save_button.isEnabled(), view.basket_button.isEnabled()) == (True, True)
    assert view.counts.text() == "1 of 4 excluded · 1 marked mismatched, 1 correct · 4 shown"
    bins = [0] * 1000
    bins[100] = 1
    place._show(RankedPairs(some_pairs(shuffled=2, precision=0.5, shuffled_bins=bins, total=9), {}))
    assert view.facts.text() == (
        "9 pairs ranked: 2 likely mislabelled. "
        "The 4 with the lowest match score are listed. "
        "The data marks 2 as shuffled. Precision at 2: 50.0 %."
    )
    assert view.threshold_text.text() == "2 below 0.201: 50.0 % of them shuffled, 50.0 % of all shuffled"
    assert view.filters.findData("shuffled") > 0
    view.histogram.box.setValue(0.0)
    assert view.threshold_text.text() == ""
    place._show(RankedPairs(some_pairs(shuffled=0, shuffled_bins=[0] * 1000, groups=1), {}, ranked_at=1.7e9))
    assert "none stands out as mislabelled" in view.facts.text()
    assert " Ranked 2023-11-1" in view.facts.text()
    assert "marked as shuffled" not in view.facts.text()
    assert view.threshold_text.text() == "2 below 0.201"
    assert [view.filters.itemData(row) for row in range(view.filters.count())].count("shuffled") == 1
    place._show(RankedPairs(some_pairs(), {}))
    assert view.filters.findData("shuffled") < 0


def test_an_image_shows_its_score_mark_and_known_label(place: CleanPanel) -> None:
    place._show(RankedPairs(some_pairs(shuffled=1), {("/b.png", "b"): True, ("/c.png", "c"): False}))
    items = place.view.gallery.items()
    assert [(item.score, item.rank, item.correct, item.badge, item.badge_spoken, item.faint) for item in items] == [
        (0.1, 1, None, "", "", False),
        (0.2, 2, False, "mismatched", "marked mismatched", True),
        (0.4, 3, True, "correct", "marked correct", False),
        (0.8, 4, None, "", "", False),
    ]
    assert [item.detail for item in items] == [
        "probability of a correct caption: 0.900\nknown to be shuffled",
        "probability of a correct caption: 0.800\nknown to be correct",
        "probability of a correct caption: 0.600\nknown to be correct",
        "",
    ]
    second_ranking = RankedPairs(some_pairs(names="wxyz"), {})
    place._show(second_ranking)
    assert [item.caption for item in place.view.gallery.items()] == list("wxyz"), "none of the ranking before"


def test_keys_mark_only_without_control_and_the_last_pair_stays_selected(qtbot: QtBot, place: CleanPanel) -> None:
    pairs = RankedPairs(some_pairs(), {})
    place.mark(True)
    place.undo()
    place.show_pairs()
    assert place.visible_indices == [], "there is nothing yet"
    place._show(pairs)
    view = place.view
    assert view.gallery.view.hasFocus()
    qtbot.keyClick(view.gallery.view, Qt.Key.Key_X, CTRL)
    assert pairs.marks == {}
    qtbot.keyClick(view.gallery.view, Qt.Key.Key_X, SHIFT)
    assert list(pairs.marks.values()) == [True]
    place._choose(3)
    press(qtbot, place, Qt.Key.Key_Space)
    assert (view.gallery.current(), pairs.marked(wrong=False)) == (3, 1)
    press(qtbot, place, Qt.Key.Key_U)
    assert view.gallery.current() == 3, "there is none after the last"
    qtbot.keyClick(view.gallery.view, Qt.Key.Key_Z, CTRL)
    assert pairs.marked(wrong=False) == 1
    view.table.setFocus()
    qtbot.keyClick(view.table, Qt.Key.Key_Home)  # no Control is held any more
    view.table.selectRow(1)
    assert place.chosen_rows() == [1]
    flags = QItemSelectionModel.SelectionFlag.Select | QItemSelectionModel.SelectionFlag.Rows
    view.table.selectionModel().setCurrentIndex(view.table.pairs.index(3, 0), flags)
    assert (view.gallery.selected(), view.gallery.current()) == ([1, 3], 3)
    view.gallery.view.setFocus()
    view.gallery.view.setCurrentIndex(view.gallery.model.index(2))
    assert [index.row() for index in view.table.selectionModel().selectedRows()] == [2]
    assert view.table.currentIndex().row() == 2
    view.gallery.view.clearSelection()
    assert place.chosen_rows() == [2], "what has the focus"
    view.table.setFocus()
    view.table.setCurrentIndex(QModelIndex())
    assert place.chosen_rows() == []
    previewed: list[int] = []
    view.gallery.preview = previewed.append  # type: ignore[method-assign]
    view.table.doubleClicked.emit(view.table.pairs.index(1, 0))
    assert previewed == [1]


def test_the_line_is_hidden_in_another_order_and_exclusions_follow(qtbot: QtBot, place: CleanPanel) -> None:
    pairs = RankedPairs(some_pairs(), {})
    place._show(pairs)
    head = place.view.table.horizontalHeader()

    def lines() -> list[bool]:
        return [item.line for item in place.view.gallery.items()]

    assert lines() == [False, False, True, False]
    head.setSortIndicator(1, Qt.SortOrder.DescendingOrder)
    assert [item.caption for item in place.view.gallery.items()] == list("dcba")
    assert lines() == [False] * 4
    place.view.histogram.box.setValue(0.5)
    assert (pairs.threshold, place._settle.isActive()) == (500, True)
    assert place.view.threshold_text.text() == "3 below 0.500"
    place._threshold_settled()
    assert lines() == [False] * 4
    head.setSortIndicator(0, Qt.SortOrder.AscendingOrder)
    assert lines() == [False, False, False, True]
    place.view.exclude_below.setChecked(True)
    assert [item.faint for item in place.view.gallery.items()] == [True, True, True, False]
    place.view.histogram.box.setValue(0.2)
    place._threshold_settled()
    assert [item.faint for item in place.view.gallery.items()] == [True, False, False, False]
    place.view.filters.setCurrentIndex(place.view.filters.findData("below"))
    place.view.filters.activated.emit(place.view.filters.currentIndex())
    assert place.visible_indices == [0]
    assert place.view.gallery.current() == 0
    assert place.view.counts.text().endswith("1 shown")
    again = RankedPairs(some_pairs(), {})
    place._show(again)
    assert again.exclude_below
    place.view.words.setText("nothing has this")
    assert (place.visible_indices, place.view.table.pairs.rowCount()) == ([], 0)


def test_pairs_sent_to_the_basket_are_counted(qtbot: QtBot, place: CleanPanel) -> None:
    place.to_basket()
    place.ask_where()
    place.save(Path("/nowhere.csv"))
    place.use()
    assert (place.view.bar.message, place.view.strip.isVisible()) == (None, False), "there is nothing yet"
    pairs = RankedPairs(some_pairs(total=9), {})
    place._show(pairs)
    place.to_basket()
    assert place.view.bar.message is None
    place.mark(True)
    place.to_basket()
    assert place.view.bar.text == "1 pair is in the basket."
    place.view.histogram.box.setValue(0.995)
    place.view.exclude_below.setChecked(True)
    place.to_basket()
    assert place.view.bar.text == (
        "4 pairs are in the basket. 5 more are excluded and not listed; Save as new data leaves them out too."
    )
    qtbot.waitUntil(lambda: place._services.basket.count == 4)
    place._services.writer.wait()
    assert {entry.fix.panel for entry in place._services.store.fixes()} == {"Clean"}


def test_the_empty_page_shows_the_next_step(qtbot: QtBot, place: CleanPanel, tmp_path: Path) -> None:
    view = place.view
    assert (view.empty.accessibleName(), view.empty._button.isVisible()) == ("Find mislabelled pairs", False)
    assert view.empty.accessibleDescription().startswith("Choose a run and a data source.")
    assert view.stack.currentWidget() is view.empty
    view.show_empty(ready=True, ranking=False)
    assert view.empty._button.text() == "Rank the pairs   Ctrl+Shift+R"
    view.show_empty(ready=True, ranking=True)
    assert (view.empty.accessibleName(), view.empty._button.isVisible()) == ("Ranking the pairs", False)
    place.use_run(99)
    assert view.bar.message is not None
    assert view.bar.message.level == "error"
    fresh = make_run(place._services, tmp_path / "fresh", tmp_path / "fresh.csv", checkpoint=False)
    place.use_run(fresh)
    assert view.bar.text == "This run has no checkpoint to rank pairs with yet."
    ready = make_run(place._services, tmp_path / "run", tmp_path / "pairs.csv")
    recalled: list[tuple[str, str]] = []
    place.work.recall = lambda run, _title, data: recalled.append((run, data))  # type: ignore[method-assign]
    place.use_run(ready)
    assert set(recalled) == {(str(tmp_path / "run"), str(tmp_path / "pairs.csv"))}, "what it found before is looked for"
    assert view.empty._button.text() == "Rank the pairs   Ctrl+Shift+R"
    assert view.source.rank.isEnabled()
    view.bar.clear()
    view.source.data.refused.emit("It has no column.")
    assert view.bar.text == "It has no column."
    place._rank_failed(Failure("It ended.", "a traceback"))
    assert (view.bar._action.text(), view.bar._details.toPlainText()) == ("Try again", "a traceback")
    place._rank_failed(Cancelled())
    assert (view.bar.text, view.bar._action.text()) == ("Ranking was cancelled.", "Rank the pairs")
    place._not_saved(Failure("The disk is full.", "more"))
    assert (view.bar.text, view.bar._details.toPlainText()) == ("The disk is full.", "more")
    requests: list[str] = []
    view.source.model.refresh = lambda: requests.append("refresh")  # type: ignore[method-assign]
    view.source.model.setFocus = lambda *_: requests.append("model")  # type: ignore[assignment, method-assign]
    place.refresh()
    place.ask_model()
    assert requests == ["refresh", "model"]
    messages: list[Any] = []
    place.message_requested.connect(messages.append)
    place.work.not_kept.emit("The disk is full.")
    assert [(message.level, message.text) for message in messages] == [("error", "The disk is full.")]


def test_selections_are_restored_and_invalid_ones_ignored(qtbot: QtBot, place: CleanPanel, tmp_path: Path) -> None:
    source = place.view.source
    settings = place._services.settings
    place.left()
    assert settings.value("clean/source") is None, "it was never shown"
    for text in ("", "{", "[]", '{"model": {"x": 1}}', '{"data": 5, "both": false}', '{"data": "/gone.csv"}'):
        source.restore(text)
        assert source.request() is None
        assert source.data.source() == ""
    assert source.networks.currentIndex() == 0
    make_run(place._services, tmp_path / "run", tmp_path / "pairs.csv")
    place.entered()
    qtbot.waitUntil(lambda: source.run() == tmp_path / "run")  # the newest run, where nothing was chosen before
    assert source.data.source() == str(tmp_path / "pairs.csv")
    assert source.model.set_choice(ModelChoice(f"{tmp_path / 'run'}@last", "teacher", "run"))
    source.networks.setCurrentIndex(1)
    source.networks.activated.emit(1)
    assert source.request() == {
        "run": str(tmp_path / "run"), "checkpoint": "last", "data": str(tmp_path / "pairs.csv"), "weights": "teacher",
    }  # fmt: skip
    state = source.state()
    assert json.loads(state)["both"] is False
    source.restore("{}")
    assert source.networks.currentIndex() == 0
    source.restore(state)
    assert source.networks.currentIndex() == 1
    place.view.gallery.set_thumbnail_size(200)
    place.view.split.setSizes([300, 600])
    place.view.sides.setSizes([100, 400])
    place.left()
    again = CleanPanel(place._services)
    qtbot.addWidget(again)
    again.resize(1000, 700)
    again.show()
    assert again.view.gallery.thumbnail_size() == 200
    for restored, original in ((again.view.split, place.view.split), (again.view.sides, place.view.sides)):
        share, expected = (split.sizes()[0] / sum(split.sizes()) for split in (restored, original))
        assert share == pytest.approx(expected, abs=0.05)
    again.view.words.setText("hat")
    again.focus_search()
    assert again.view.words.selectedText() == "hat"
    assert again.focusWidget() is again.view.words
    again.work.background.wait()
    again.view.gallery.close_threads()


def test_a_missing_config_is_reported_when_the_saved_data_are_used(
    qtbot: QtBot, place: CleanPanel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_run(place._services, tmp_path / "run", tmp_path / "pairs.csv")
    place.entered()
    place.work._recalled(str(tmp_path / "run"), "run", RankedPairs(some_pairs(data=str(tmp_path / "pairs.csv")), {}))
    assert place.ranked is not None
    assert place.work.run == str(tmp_path / "run")
    starts: list[str] = []
    monkeypatch.setattr(QFileDialog, "getSaveFileName", lambda _o, _t, start, _f: (starts.append(start), ("", ""))[1])
    place.ask_where()
    (tmp_path / "pairs-cleaned.csv").touch()
    place.ask_where()
    assert [Path(start).name for start in starts] == ["pairs-cleaned.csv", "pairs-cleaned-2.csv"]
    assert not place.view.strip.isVisible(), "no file was chosen"
    place._show(RankedPairs(some_pairs(data=str(tmp_path / "run")), {}))
    place.ask_where()
    assert Path(starts[-1]) == tmp_path / "run" / "run-cleaned.csv", "inside of a folder that is the data"
    place._was_saved({"path": "/clean.csv", "captions": 1234, "kept": 1, "excluded": 1})  # type: ignore[typeddict-unknown-key]
    assert place.view.bar.text == "1\u2009234 pairs saved as /clean.csv. You can use them in a new experiment."
    assert place.view.use_button.isEnabled()
    (tmp_path / "run" / "config.json").write_text("{")
    place.use()
    assert place.view.bar.text.startswith("The run's config cannot be read: ")
