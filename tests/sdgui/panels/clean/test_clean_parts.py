"""Parts of the Clean panel over rankings that are given by hand: words, keys, messages, choices."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from PySide6.QtCore import Qt
from PySide6.QtWidgets import QFileDialog
from pytestqt.qtbot import QtBot

from sdgui.app.start import make_application, make_services
from sdgui.panels.clean.model import RankedPairs
from sdgui.panels.clean.panel import CleanPanel
from tests.sdgui.conftest import program
from tests.sdgui.panels.clean.cleaning import close, make_run, some_pairs


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
    assert (pairs.threshold, place._settle_timer.isActive()) == (500, True)
    assert place.view.threshold_text.text() == "3 below 0.500"
    place._on_threshold_settled()
    assert lines() == [False] * 4
    head.setSortIndicator(0, Qt.SortOrder.AscendingOrder)
    assert lines() == [False, False, False, True]
    place.view.exclude_below.setChecked(True)
    assert [item.faint for item in place.view.gallery.items()] == [True, True, True, False]
    place.view.histogram.box.setValue(0.2)
    place._on_threshold_settled()
    assert [item.faint for item in place.view.gallery.items()] == [True, False, False, False]
    place.view.filters.setCurrentIndex(place.view.filters.findData("below"))
    place.view.filters.activated.emit(place.view.filters.currentIndex())
    assert place.visible_indices == [0]
    assert place.view.gallery.current() == 0
    assert place.view.counts.text().endswith("1 shown")
    again = RankedPairs(some_pairs(), {})
    place._show(again)
    assert again.exclude_below
    place.view.filter_box.setText("nothing has this")
    assert (place.visible_indices, place.view.table.pairs.rowCount()) == ([], 0)


def test_no_line_is_drawn_before_the_first_pair(qtbot: QtBot, place: CleanPanel) -> None:
    place._show(RankedPairs(some_pairs(), {}))
    place.view.histogram.box.setValue(0)
    place._on_threshold_settled()
    place.view.gallery.set_current(0)
    place.mark(True)
    assert not any(item.line for item in place.view.gallery.items())


def test_pairs_sent_to_the_basket_are_counted(qtbot: QtBot, place: CleanPanel) -> None:
    place.add_to_basket()
    place.ask_where()
    place.save(Path("/nowhere.csv"))
    place.use_in_experiment()
    assert (place.view.bar.message, place.view.strip.isVisible()) == (None, False), "there is nothing yet"
    pairs = RankedPairs(some_pairs(total=9), {})
    place._show(pairs)
    place.add_to_basket()
    assert place.view.bar.message is None
    place.mark(True)
    place.add_to_basket()
    assert place.view.bar.text == "1 pair is in the basket."
    place.view.histogram.box.setValue(0.995)
    place.view.exclude_below.setChecked(True)
    place.add_to_basket()
    assert place.view.bar.text == ("4 pairs are in the basket. Only “Save as new data” also excludes 5 unlisted pairs.")
    qtbot.waitUntil(lambda: place._services.basket.count == 4)
    place._services.writer.wait()
    assert {entry.fix.panel for entry in place._services.store.fixes()} == {"Clean"}


def test_a_path_for_saved_data_is_asked_and_a_missing_config_is_reported_when_they_are_used(
    qtbot: QtBot, place: CleanPanel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_run(place._services, tmp_path / "run", tmp_path / "pairs.csv")
    place.on_enter()
    answer = some_pairs(data=str(tmp_path / "pairs.csv"))
    place.work._recalled(f"{tmp_path / 'run'}@best", (RankedPairs(answer, {}), answer))
    assert place.ranked is not None
    assert place.work.model == f"{tmp_path / 'run'}@best"
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
    (tmp_path / "mine.csv").touch()
    saved: list[tuple[str, bool]] = []
    monkeypatch.setattr(place, "save", lambda path, replace: saved.append((path.name, replace)))
    for typed in ("mine", "mine.csv", "other"):
        monkeypatch.setattr(QFileDialog, "getSaveFileName", lambda *_, typed=typed: (str(tmp_path / typed), ""))
        place.ask_where()
    assert saved == [("mine.csv", False), ("mine.csv", True), ("other.csv", False)], "only what the dialog asked about"
    place._on_saved({"path": "/clean.csv", "captions": 1234, "images": 1}, place.work.model)
    assert place.view.bar.text == "1,234 pairs saved as /clean.csv. You can use them in a new experiment."
    assert place.view.use_button.isEnabled()
    (tmp_path / "run" / "config.json").write_text("{")
    place.use_in_experiment()
    assert place.view.bar.text.startswith("No experiment can be created: ")
