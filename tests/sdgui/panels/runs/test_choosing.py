"""The table in the panel: what is ticked and chosen there is asked of the window; tags of many, with undo."""

from __future__ import annotations

from pathlib import Path

from PySide6.QtCore import Qt
from pytestqt.qtbot import QtBot

from core.spec.presets import preset_config
from sdgui.panels.runs.panel import RunsPanel
from sdgui.panels.runs.table.many import ManyEdit
from sdgui.store.changes import Changes
from tests.sdgui.conftest import OpenWindow, settle


def test_rows_tick_choose_and_are_tagged_in_the_window(qtbot: QtBot, open_window: OpenWindow, home: Path) -> None:
    window = open_window()
    store = window.services.store
    experiment = store.add_experiment(preset_config("clip", "tiny"))
    runs = [store.add_run(experiment.id) for _ in range(3)]
    window.reload()
    panel = window.show_panel("runs")
    assert isinstance(panel, RunsPanel)
    table = panel.view.table
    qtbot.waitUntil(lambda: table.model.rowCount() == 3)

    table.view.setCurrentIndex(table.model.index(1, 0))
    assert window.selection.run_id == runs[1].id
    table.view.selectAll()
    qtbot.keyClick(table.view, Qt.Key.Key_Space)
    assert set(window.selection.ticked) == {run.id for run in runs}
    colors = {run_id: label.color for run_id, label in store.run_labels([run.id for run in runs]).items()}
    assert len(set(colors.values())) == 3
    assert table.model.ticks == set(colors)
    settle(window)
    rows = [table.model.index(row, 0) for row in range(3)]
    qtbot.waitUntil(lambda: [table.model.color(row) for row in rows] == [colors[run.id] for run in runs[::-1]])
    assert window.selection.run_id == runs[1].id, "ticking chooses nothing"

    panel.commands.edit_many()
    qtbot.waitUntil(lambda: panel.commands._sheet is not None and panel.commands._sheet.isVisible())
    assert panel.commands._sheet is not None
    assert set(panel.commands._sheet._run_ids) == {run.id for run in runs}
    panel.commands._sheet.close()
    table.view.clearSelection()
    panel.commands.edit_many()
    settle(window)
    assert not panel.commands._sheet.isVisible(), "of no run there is nothing to edit"
    store.note_run(runs[0].id, "mine")
    panel.commands.apply(ManyEdit(tuple(run.id for run in runs), add=("paper",), note="seen", append=True))
    settle(window)
    assert [store.run(run.id).tags for run in runs] == [("paper",)] * 3
    assert [store.run(run.id).note for run in runs] == ["mine\nseen", "seen", "seen"]
    assert "Changed 3 runs" in window.bar.text
    window.bar.press_remedy()
    settle(window)
    assert [store.run(run.id).tags for run in runs] == [()] * 3
    assert [store.run(run.id).note for run in runs] == ["mine", "", ""]
    panel.commands.apply(ManyEdit((runs[0].id,), add=("paper",)))
    settle(window)
    assert (window.bar.text, store.run(runs[0].id).note) == ("Changed 1 run.", "mine")
    panel.commands.apply(ManyEdit((runs[0].id,), add=("paper",)))
    settle(window)
    assert window.bar.message is not None
    assert (window.bar.text, window.bar.message.remedy) == ("Changed 0 runs.", None), "it has the tag already"
    received: list[Changes] = []
    panel.changed.connect(received.append)
    panel.commands.apply(ManyEdit((runs[1].id,), note="a note alone"))
    settle(window)
    window.bar.press_remedy()
    settle(window)
    assert [changes.runs for changes in received] == [{runs[1].id}] * 2, "undoing emits the change too"


def test_a_note_is_added_to_what_is_there() -> None:
    assert ManyEdit((1,), note="b", append=True).note_of("a\n") == "a\nb"
    assert ManyEdit((1,), note="b", append=True).note_of(" ") == "b"
    assert ManyEdit((1,), note="b").note_of("a") == "b"
    assert ManyEdit((1,), add=("x",)).note_of("a") == "a"
    assert not ManyEdit((1,))


def test_a_run_has_one_colour_with_whatever_it_is_drawn(qtbot: QtBot, open_window: OpenWindow, home: Path) -> None:
    window = open_window()
    store = window.services.store
    experiment = store.add_experiment(preset_config("clip", "tiny"))
    runs = [store.add_run(experiment.id).id for _ in range(4)]
    window.reload()
    panel = window.show_panel("runs")
    assert isinstance(panel, RunsPanel)
    color_of_run = {run_id: label.color for run_id, label in store.run_labels(runs).items()}
    for ticked in ([runs[3]], [runs[3], runs[1]], [runs[1], runs[2]]):
        window.experiments.set_ticked(ticked)
        window.experiments.select_run(ticked[0])
        settle(window)
        assert panel.view.table.model.ticks == set(ticked)
        drawn = {int(key): color for key, (_, color, _) in panel.tabs.view.grid._runs.items()}
        assert drawn == {run_id: color_of_run[run_id] for run_id in ticked}
