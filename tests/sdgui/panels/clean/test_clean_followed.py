"""What the Clean panel keeps while it is sorted, marked, and its run or networks are chosen again."""

from __future__ import annotations

from pathlib import Path

from PySide6.QtCore import QMimeData, QPoint, QPointF, Qt, QUrl
from PySide6.QtGui import QDragEnterEvent, QDropEvent
from pytestqt.qtbot import QtBot

from core.spec.config import RunConfig
from sdgui.panels.clean.model import RankedPairs
from sdgui.panels.clean.panel import CleanPanel
from tests.sdgui.panels.clean.cleaning import make_run, some_pairs
from tests.sdgui.panels.clean.test_clean_parts import place

__all__ = ["place"]


def test_the_chosen_pair_stays_chosen_in_whatever_order_it_stands(place: CleanPanel) -> None:
    place._show(RankedPairs(some_pairs(), {}))
    head = place.view.table.horizontalHeader()
    head.setSortIndicator(1, Qt.SortOrder.DescendingOrder)
    place._choose(1)
    assert place.view.gallery.items()[place.view.gallery.current()].caption == "c"
    head.setSortIndicator(0, Qt.SortOrder.AscendingOrder)
    assert (place.view.gallery.current(), place.view.table.currentIndex().row()) == (2, 2)
    place.view.words.setText("c")
    assert place.visible_indices == [2]
    place.view.words.setText("d")
    assert place.view.gallery.current() == 0, "of another filter the first"


def test_the_table_is_told_of_the_rows_that_were_marked(place: CleanPanel) -> None:
    place._show(RankedPairs(some_pairs(), {}))
    changed_rows: list[tuple[int, int]] = []
    place.view.table.pairs.dataChanged.connect(lambda first, last, *_: changed_rows.append((first.row(), last.row())))
    place.view.gallery.set_selected([1, 2])
    place.mark(True)
    assert changed_rows == [(1, 2)]
    place.undo()
    assert changed_rows == [(1, 2), (1, 2)]


def test_a_ranking_is_not_recalled_again_for_the_same_run_and_data(place: CleanPanel, tmp_path: Path) -> None:
    recalled: list[tuple[str, str]] = []
    place.work.recall = lambda run, _title, data: recalled.append((run, data))  # type: ignore[method-assign]
    place.use_run(make_run(place._services, tmp_path / "run", tmp_path / "pairs.csv"))
    count = len(recalled)
    place.view.source.networks.setCurrentIndex(1)
    place.view.source.networks.activated.emit(1)
    assert len(recalled) == count, "marks since then can still be undone"
    place.view.source.data.set_source(str(tmp_path / "other.csv"))
    assert recalled[count:] == [(str(tmp_path / "run"), str(tmp_path / "other.csv"))]


def test_the_copy_of_an_experiment_with_the_longest_name_can_be_used(
    qtbot: QtBot, place: CleanPanel, tmp_path: Path
) -> None:
    make_run(place._services, tmp_path / "run", tmp_path / "pairs.csv", "n" * 120)
    place.work._recalled(str(tmp_path / "run"), "run", RankedPairs(some_pairs(), {}))
    place._was_saved({"path": "/clean.csv", "kept": 1, "captions": 1})
    with qtbot.waitSignal(place.define_asked) as signal:
        place.use()
    RunConfig.model_validate(signal.args[0].model_dump())
    assert signal.args[0].name.startswith("n" * 90)


def test_data_that_are_dropped_anywhere_on_the_page_are_chosen(place: CleanPanel, tmp_path: Path) -> None:
    data = QMimeData()
    data.setUrls([QUrl.fromLocalFile(str(tmp_path / "pairs.csv"))])
    none, keys, copy = Qt.MouseButton.NoButton, Qt.KeyboardModifier.NoModifier, Qt.DropAction.CopyAction
    entering = QDragEnterEvent(QPoint(5, 5), copy, data, none, keys)
    place.dragEnterEvent(entering)
    place.dropEvent(QDropEvent(QPointF(5, 5), copy, data, none, keys))
    assert (place.acceptDrops(), entering.isAccepted()) == (True, True)
    assert place.view.source.data.source() == str(tmp_path / "pairs.csv")
