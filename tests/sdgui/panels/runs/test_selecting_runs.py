"""Runs that are chosen: ticked, tagged, grouped and shown side by side."""

from __future__ import annotations

from pathlib import Path

import pytest
from PySide6.QtCore import Qt
from PySide6.QtWidgets import QApplication
from pytestqt.qtbot import QtBot

from core.spec.presets import preset_config
from core.spec.run.events import Sample
from core.spec.run.status import RunState
from sdgui.panels.runs.compare.board import MAX_RUNS, SamplesBoard
from sdgui.panels.runs.panel import RunsPanel
from sdgui.panels.runs.table.bulk_edit import BulkEdit
from sdgui.panels.runs.table.layout import TableLayout
from sdgui.shared.services import Selection, Services
from sdgui.store.changes import Changes
from sdgui.store.records import Progress, Run, StoreError
from sdgui.widgets.style.theme import theme
from tests.sdgui.conftest import OpenWindow, settle


def test_rows_are_ticked_selected_and_tagged_in_the_window(qtbot: QtBot, open_window: OpenWindow, home: Path) -> None:
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
    for ticked in ([runs[2]], [runs[2], runs[0]]):
        window.experiments.set_ticked([run.id for run in ticked])
        window.experiments.select_run(ticked[0].id)
        settle(window)
        drawn = {int(key): color for key, (_, color, _) in panel.tabs.view.grid._runs.items()}
        assert drawn == {run.id: colors[run.id] for run in ticked}, "a run has one colour everywhere"
    table.view.selectAll()

    panel.commands.bulk_edit()
    qtbot.waitUntil(lambda: panel.commands._sheet is not None and panel.commands._sheet.isVisible())
    assert panel.commands._sheet is not None
    assert set(panel.commands._sheet._run_ids) == {run.id for run in runs}
    panel.commands._sheet.close()
    table.view.clearSelection()
    panel.commands.bulk_edit()
    settle(window)
    assert not panel.commands._sheet.isVisible(), "of no run there is nothing to edit"
    store.set_run_note(runs[0].id, "mine")
    panel.commands.apply(BulkEdit(tuple(run.id for run in runs), add=("paper",), note="seen", append=True))
    settle(window)
    assert [store.run(run.id).tags for run in runs] == [("paper",)] * 3
    assert [store.run(run.id).note for run in runs] == ["mine\nseen", "seen", "seen"]
    assert "Changed 3 runs" in window.bar.text
    window.bar.press_remedy()
    settle(window)
    assert [store.run(run.id).tags for run in runs] == [()] * 3
    assert [store.run(run.id).note for run in runs] == ["mine", "", ""]
    panel.commands.apply(BulkEdit((runs[0].id,), add=("paper",)))
    settle(window)
    assert (window.bar.text, store.run(runs[0].id).note) == ("Changed 1 run.", "mine")
    panel.commands.apply(BulkEdit((runs[0].id,), add=("paper",)))
    settle(window)
    assert window.bar.message is not None
    assert (window.bar.text, window.bar.message.remedy) == ("Changed 0 runs.", None), "it has the tag already"
    received: list[Changes] = []
    panel.changed.connect(received.append)
    panel.commands.apply(BulkEdit((runs[1].id,), note="a note alone"))
    settle(window)
    window.bar.press_remedy()
    settle(window)
    assert [changes.runs for changes in received] == [{runs[1].id}] * 2, "undoing emits the change too"


def make_run(services: Services, name: str) -> Run:
    store = services.store
    run = store.add_run(store.add_experiment(preset_config("clip", "tiny"), name).id)
    run.dir.create()
    store.record(run.id, Progress(state=RunState.DONE, offset=1))
    return store.run(run.id)


def read(panel: RunsPanel) -> None:
    for _ in range(5):
        panel.view.table.reader._tasks.wait()
        QApplication.processEvents()


def watch(panel: RunsPanel, *runs: Run) -> None:
    panel.select(Selection(runs[0].experiment_id, runs[0].id, runs[0].id, tuple(run.id for run in runs)))


@pytest.fixture
def panel(panel: RunsPanel) -> RunsPanel:
    panel.on_enter()
    return panel


def test_groups_of_the_table_are_groups_of_the_plots(panel: RunsPanel, services: Services) -> None:
    a, b = make_run(services, "a"), make_run(services, "b")
    watch(panel, a, b)
    read(panel)
    grouping = panel.tabs.view.grid.grouping
    assert not grouping.is_active
    panel.view.table.show_layout(TableLayout(group_by=("state",)))
    read(panel)
    assert grouping.is_active
    ((_, color),) = panel.tabs.view.grid.legend.shown_entries().values()
    assert color == services.store.run_labels([b.id])[b.id].color, "a mean has the colour of its newest run"
    titles = set(grouping._groups.values())
    assert (set(grouping._groups), len(titles)) == ({str(a.id), str(b.id)}, 1)
    watch(panel, a)
    read(panel)
    assert not grouping.is_active, "one run is no group"


def test_nothing_of_a_run_is_shown_once_no_run_is_selected(panel: RunsPanel, services: Services) -> None:
    run, tabs = make_run(services, "a"), panel.tabs
    watch(panel, run)
    read(panel)
    grid = tabs.view.grid
    grid.set_points(str(run.id), "train/loss", [1, 2], [2.0, 1.0])
    assert grid._stack.currentWidget() is grid.page
    panel.select(Selection())
    assert tabs.view.header.title.text() == "No run selected"
    assert grid._stack.currentWidget() is grid.empty, "not empty plots"
    watch(panel, run)
    read(panel)
    assert tabs.view.header.title.text() == "a · run 1"


def found(run: str, step: int, captions: tuple[str, ...] = ("a hat", "a boat")) -> Sample:
    def entries(network: str) -> list[dict[str, object]]:
        image = f"/{run}-{network}-{step}"
        return [{"caption": caption, "image": "/0.png", "hits": [{"image": f"{image}-{caption[2:]}.png", "score": 0.5,
                 "true": False}]} for caption in captions]  # fmt: skip

    return Sample(step=step, what="retrieval", content={"student": entries("student"), "teacher": entries("teacher")})


def locked(*_: object) -> None:
    raise StoreError("The database is locked.")


def test_each_run_is_shown_at_its_last_validation_before_the_step(
    qtbot: QtBot, services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, follower = services.store, services.follower
    experiment = store.add_experiment(preset_config("clip", "tiny"))
    runs = [store.add_run(experiment.id).id for _ in range(3)]
    for run_id, name, steps in zip(runs, "abc", ((10, 30), (20, 40), ()), strict=True):
        follower.show(run_id).apply([found(name, step) for step in steps])
    holder = SamplesBoard(services, None)  # type: ignore[arg-type]
    qtbot.addWidget(holder)
    holder.show_runs([])
    holder.show()
    assert holder.step.text() == "Samples are recorded at each validation. Tick runs to compare their results."
    assert not holder.slider.isEnabled()
    holder.hide()
    holder.show_runs(runs)
    assert holder._steps == [], "nobody sees it"
    holder.show()

    def shown() -> list[tuple[str, list[str]]]:
        return [(column.step.text(), [item.path.name for item in column.gallery.items()]) for column in holder._columns]

    assert holder._steps == [10, 20, 30, 40]
    assert shown() == [
        ("Step 30", ["a-student-30-hat.png"]), ("Step 40", ["b-student-40-hat.png"]),
        ("No samples up to this step", []),
    ]  # fmt: skip
    assert (holder.slider.isEnabled(), holder.step.text()) == (True, "Step 40")
    first = holder._columns[0]
    assert first.name.text() == store.run_labels([runs[0]])[runs[0]].name
    assert theme().run_color(0).name() in first.name.styleSheet()
    holder.slider.setValue(0)
    assert holder.step.text() == "Step 10"
    assert shown()[:2] == [("Step 10", ["a-student-10-hat.png"]), ("No samples up to this step", [])]
    holder.captions.setCurrentRow(1)
    holder.network.setCurrentIndex(holder.network.findData("teacher"))
    assert shown()[0][1] == ["a-teacher-10-boat.png"]
    follower.curves_changed.emit(runs[0], follower.show(runs[0]).apply([found("a", 50)]))
    assert holder._steps[-1] == 50
    assert shown()[0][0] == "Step 10", "who looks back stays there"
    follower.curves_changed.emit(runs[1], follower.show(runs[1]).apply([found("b", 5)]))
    assert holder._steps[0] == 5
    assert shown()[0][0] == "Step 10", "the step stays, whichever place it has now"
    assert holder.captions.currentRow() == 1
    holder.slider.setValue(holder.slider.maximum())
    follower.curves_changed.emit(runs[1], follower.show(runs[1]).apply([found("b", 60)]))
    assert shown()[1][0] == "Step 60", "who looks at the newest goes on with it"
    holder.show_runs(runs[1:])
    assert [column.isVisible() for column in holder._columns] == [True, True, False]
    assert shown()[0][0] == "Step 60"
    with monkeypatch.context() as broken:
        broken.setattr(store, "run_labels", locked)
        holder._reload_if_shown(runs[1])
    assert shown()[0][0] == "Step 60", "what cannot be read leaves what is there"
    holder._reload_if_shown(runs[0])
    follower.curves_changed.emit(runs[1], frozenset({"train/loss"}))
    holder.hide()
    follower.curves_changed.emit(runs[1], follower.show(runs[1]).apply([found("b", 70, ("x" * 500,))]))
    assert holder._steps[-1] == 60, "nobody sees it"
    holder.show()
    assert (holder._steps[-1], len(holder.captions.item(0).text()) <= 400) == (70, True)
    assert shown()[0][1] == [f"b-teacher-70-{'x' * 498}.png"], "by the whole caption"
    holder.show_runs(range(20))
    assert len(holder._ids) == MAX_RUNS
