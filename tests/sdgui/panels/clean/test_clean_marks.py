"""Clean: marks taken back and undone, the threshold's line, what comes back after a restart, another ranking."""

from __future__ import annotations

from pathlib import Path

from PySide6.QtCore import QMimeData, QPoint, QPointF, Qt, QUrl
from PySide6.QtGui import QDragEnterEvent, QDropEvent, QGuiApplication
from PySide6.QtWidgets import QApplication, QLineEdit
from pytestqt.qtbot import QtBot

from core.spec.config import RunConfig
from sdgui.panels.clean.model import RankedPairs
from sdgui.panels.clean.panel import CleanPanel
from sdgui.worker.replies import Cancelled
from tests.sdgui.panels.clean.cleaning import Open, close, make_run, press, ranked, some_pairs
from tests.sdgui.panels.clean.test_clean_parts import place


def test_keys_unmark_and_copy_rows_and_a_partly_marked_selection_is_marked_whole(
    qtbot: QtBot, open_noise: Open
) -> None:
    panel = open_noise()
    pairs = ranked(qtbot, panel)
    press(qtbot, panel, Qt.Key.Key_X)
    assert panel.view.gallery.current() == 1
    panel._choose(0)
    press(qtbot, panel, Qt.Key.Key_X)
    assert pairs.marks == {}
    assert panel.view.gallery.current() == 0, "who takes a mark back stays"
    press(qtbot, panel, Qt.Key.Key_Space)
    panel._choose(0)
    press(qtbot, panel, Qt.Key.Key_U)
    assert pairs.marks == {}
    panel.undo()
    assert pairs.mark_count(mismatched=False) == 1
    assert panel.view.gallery.current() == 0, "what was undone is chosen"
    panel.view.table.setFocus()
    panel.view.table.selectRow(1)
    qtbot.keyClick(panel.view.table, Qt.Key.Key_C, Qt.KeyboardModifier.ControlModifier)
    assert QGuiApplication.clipboard().text().splitlines()[1].split("\t")[1] == "a dog"
    QGuiApplication.clipboard().clear()
    assert panel.view.gallery.current() == 1, "the gallery follows the table"
    panel.undo()
    assert pairs.marks == {}
    panel._choose(0)
    press(qtbot, panel, Qt.Key.Key_X)
    for badge in ("mismatched", ""):  # the same mark again takes it back
        panel.view.gallery.set_selected([0, 1, 2])
        panel.mark(True)
        assert [item.badge for item in panel.view.gallery.items()[:4]] == [badge, badge, badge, ""]


def test_a_caption_is_corrected_in_place_and_its_fix_is_in_the_basket(qtbot: QtBot, open_noise: Open) -> None:
    panel = open_noise()
    pairs, table, entries = ranked(qtbot, panel), panel.view.table, list[tuple[str, str, str]]()

    def basket() -> list[tuple[str, str, str]]:
        panel._services.basket.read(
            lambda stored: (entries.clear(), entries.extend((e.fix.kind, e.fix.caption, e.fix.value) for e in stored))
        )
        return sorted(entries)  # as last read

    press(qtbot, panel, Qt.Key.Key_S)
    assert [table.pairs.index(0, column).data() for column in (1, 2, 5)] == ["a dog", "a dog", "✎"]
    assert panel.view.gallery.items()[0].badge == "corrected"
    panel._choose(1)
    press(qtbot, panel, Qt.Key.Key_F2)
    editor = table.findChild(QLineEdit)
    assert editor is not None
    assert editor.text() == "a dog"
    editor.setText(" two  dogs ")
    qtbot.keyClick(editor, Qt.Key.Key_Return)
    corrected = [("recaptioned", "a cat", "a dog"), ("recaptioned", "a dog", "two dogs")]
    qtbot.waitUntil(lambda: basket() == corrected)
    assert pairs.excluded_count() == 2, "the saved data has no wrong captions"
    panel.add_to_basket()
    assert panel.view.bar.text == "", "a corrected pair is not left out"
    panel.undo()
    qtbot.waitUntil(lambda: basket() == corrected[:1])
    assert (table.pairs.index(1, 1).data(), pairs.marks.get(pairs.pairs[1].key)) == ("a dog", None)


def test_undo_restores_the_earlier_correction_and_the_original_caption_takes_it_back(
    qtbot: QtBot, open_noise: Open
) -> None:
    panel = open_noise()
    pairs = ranked(qtbot, panel)
    key, store = pairs.pairs[0].key, panel._services.store

    def corrections() -> list[str]:
        panel._services.writer.wait()
        return [entry.fix.value for entry in store.fixes()]

    panel.correct(0, "first")
    panel.correct(0, "second")
    panel.undo()
    assert (pairs.corrections, pairs.marks) == ({key: "first"}, {key: True})
    qtbot.waitUntil(lambda: corrections() == ["first"])
    panel.correct(0, pairs.pairs[0].caption)
    assert (pairs.corrections, pairs.marks) == ({}, {}), "the original caption needs no fix"
    qtbot.waitUntil(lambda: corrections() == [])
    panel.undo()
    qtbot.waitUntil(lambda: corrections() == ["first"])
    panel._choose(0)
    panel.mark(False)
    qtbot.waitUntil(lambda: corrections() == [])
    panel.undo()
    assert pairs.corrections == {key: "first"}, "undo of a mark restores the correction"
    qtbot.waitUntil(lambda: corrections() == ["first"])


def test_corrections_outlive_their_ranking(qtbot: QtBot, open_noise: Open) -> None:
    panel = open_noise()
    ranked(qtbot, panel)
    panel.correct(0, "first")
    panel._choose(1)
    panel.edit_caption()
    editor = panel.view.table.findChild(QLineEdit)
    assert editor is not None
    editor.setText("being typed")
    first_ranking = panel.ranked
    panel.rank()
    qtbot.waitUntil(lambda: panel.ranked is not first_ranking)
    pairs = panel.ranked
    assert pairs is not None
    corrections = {pairs.pairs[0].key: "first", pairs.pairs[1].key: "being typed"}
    assert pairs.corrections == corrections
    assert pairs.excluded_pairs() == [], "the basket would replace the corrections"
    panel._services.writer.wait()
    close(panel, qtbot)
    again = open_noise()
    qtbot.waitUntil(lambda: again.ranked is not None)
    assert again.ranked is not None
    assert again.ranked.corrections == corrections


def test_another_ranking_starts_over(qtbot: QtBot, open_noise: Open, tmp_path: Path) -> None:
    panel = open_noise()
    ranked(qtbot, panel)
    press(qtbot, panel, Qt.Key.Key_X)
    panel.save(tmp_path / "clean.csv")
    qtbot.waitUntil(lambda: panel.view.use_button.isEnabled())
    assert panel.view.strip.isHidden()
    first_ranking, session = panel.ranked, panel.work._requested
    assert first_ranking is not None
    assert session is not None
    panel.rank()
    assert not panel.view.source.rank_button.isEnabled(), "one ranking at a time"
    panel.work._complete(session, first_ranking)
    assert not panel.view.strip.isHidden(), "the later one is still computed"
    qtbot.waitUntil(lambda: panel.ranked is not first_ranking)
    assert not panel.view.use_button.isEnabled(), "what was saved is not of this ranking"
    panel.undo()
    assert panel.ranked is not None
    assert panel.ranked.mark_count(mismatched=True) == 1, "a mark of the ranking before is not undone by chance"
    panel._on_save_failed(Cancelled())
    assert panel.view.bar.text == "Saving was cancelled."


__all__ = ["place"]


def test_the_copy_of_an_experiment_with_the_longest_name_is_valid(
    qtbot: QtBot, place: CleanPanel, tmp_path: Path
) -> None:
    make_run(place._services, tmp_path / "run", tmp_path / "pairs.csv", "n" * 120)
    place._show(RankedPairs(some_pairs(), {}))
    place._on_saved({"path": "/clean.csv", "images": 1, "captions": 1}, f"{tmp_path / 'run'}@best")
    with qtbot.waitSignal(place.new_experiment_requested) as signal:
        place.use_in_experiment()
    RunConfig.model_validate(signal.args[0].model_dump())
    assert signal.args[0].name.startswith("n" * 90)


def test_data_dropped_anywhere_on_the_page_are_chosen(place: CleanPanel, tmp_path: Path) -> None:
    data = QMimeData()
    data.setUrls([QUrl.fromLocalFile(str(tmp_path / "pairs.csv"))])
    none, keys, copy = Qt.MouseButton.NoButton, Qt.KeyboardModifier.NoModifier, Qt.DropAction.CopyAction
    entering = QDragEnterEvent(QPoint(5, 5), copy, data, none, keys)
    QApplication.sendEvent(place, entering)
    QApplication.sendEvent(place, QDropEvent(QPointF(5, 5), copy, data, none, keys))
    assert (place.acceptDrops(), entering.isAccepted()) == (True, True)
    assert place.view.source.data.source() == str(tmp_path / "pairs.csv")
