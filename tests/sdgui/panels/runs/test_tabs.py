"""What is below the table of Runs: what is kept of it, what it says without curves, and whom it asks."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from PySide6.QtWidgets import QApplication
from pytestqt.qtbot import QtBot

from core.spec.run.events import CheckpointSaved, Sample
from core.spec.run.folder import RunDir
from core.spec.run.status import RunState
from sdgui.panels.runs import tabs
from sdgui.panels.runs.panel import RunsPanel
from sdgui.panels.runs.plots.arrangement import Arrangement
from sdgui.runs.machines.colleagues import colleague_dir
from sdgui.shared.services import Selection, Services
from sdgui.store.records import StoreError
from sdgui.store.store import Store
from sdgui.widgets.message import Message
from tests.sdgui.panels.runs.table.tabling import settle
from tests.sdgui.panels.runs.test_runs_panel import START, make_run, progress_of, select


def test_pinned_and_folded_sections_are_remembered(qtbot: QtBot, panel: RunsPanel, services: Services) -> None:
    arranged = Arrangement(("train/loss",), frozenset({"Losses"}))
    panel.tabs.view.grid.arrange(arranged)
    again = RunsPanel(services)
    qtbot.addWidget(again)
    assert again.tabs.view.grid._arranged == arranged


def test_the_curves_get_more_of_a_large_window_than_the_table(panel: RunsPanel, services: Services) -> None:
    select(panel, make_run(services))
    panel.resize(1000, 1600)
    QApplication.processEvents()
    above, below = panel.view.split.sizes()
    assert below > above > 300


def test_texts_without_curves_and_without_steps(
    panel: RunsPanel, services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = make_run(services)
    empty, time = panel.tabs.view.grid.empty, panel.tabs.view.time
    select(panel, run)
    assert (empty._title.text(), empty._text.text()) == ("No curves", "This run has not reported any steps.")
    for phase, text in (("loading data", "Loading data…"), ("", "Starting…")):
        alive = progress_of(run, RunState.RUNNING, doing=phase)
        monkeypatch.setattr(services.tailer, "progress", lambda _run, alive=alive: alive)
        panel.tabs._show_header()
        assert (empty._title.text(), empty._text.text()) == ("No steps yet", text)
    tailer = services.tailer
    saved = [CheckpointSaved(step=step, name=f"step-{step:08d}") for step in (3, 6)]
    calls = []
    for events in ([START, saved[0]], saved[1:]):
        tailer.curves_changed.emit(run.id, tailer.show(run.id).apply(events))
        calls.append((time.isHidden(), panel.tabs.view.grid._pinned))
    assert calls == [(True, None), (False, None)], "of one step there is no choice"
    services.time_travel.go(run.folder, 3)
    assert panel.tabs.view.grid._pinned == 3.0
    later = CheckpointSaved(step=9, name="step-00000009")
    tailer.curves_changed.emit(run.id, tailer.show(run.id).apply([later]))
    assert (time.steps, time.step(), panel.tabs.view.grid._pinned) == ((3, 6, 9), 3, 3.0), "who looks back stays there"
    select(panel, make_run(services, "another"))
    assert (time.isHidden(), panel.tabs.view.grid._pinned) == (True, None)


def test_the_first_of_several_runs_of_a_study_is_described(panel: RunsPanel, services: Services) -> None:
    runs = [make_run(services, name) for name in ("first", "second")]
    panel.select(Selection(study_runs=tuple(run.id for run in runs)))
    assert panel.tabs.view.header.title.text() == "first · run 1"


def test_a_filter_without_matches_can_still_be_changed(panel: RunsPanel, services: Services) -> None:
    make_run(services)
    panel.entered()
    table = panel.view.table
    for text in ("seed = 77", ""):
        table.show_layout(replace(table.arrangement, filter=text))
        settle(table)
        assert (table.model.rowCount() == 0) == bool(text)
        assert panel._stack.currentWidget() is panel.view


def test_images_of_a_run_are_looked_up_on_its_machine(
    panel: RunsPanel, services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine, theirs = make_run(services, "mine"), make_run(services, "theirs")
    requests: list[Path] = []

    def shown(_home: Path, run: RunDir, samples: tuple[Sample, ...]) -> tuple[Sample, ...]:
        requests.append(run.path)
        return tuple(replace(sample, content={"student": [{"caption": run.path.name}]}) for sample in samples)

    read = services.store.run
    monkeypatch.setattr(tabs, "shown_samples", shown)
    monkeypatch.setattr(
        services.store,
        "run",
        lambda number: replace(read(number), owner_host="another-computer") if number == theirs.id else read(number),
    )
    folders = [mine.folder, colleague_dir(services.store.home, theirs).path]
    for run, folder in zip((mine, theirs), folders, strict=True):
        services.tailer.show(run.id).apply([START, Sample(step=4, what="retrieval", content={})])
        select(panel, run)
        assert panel.tabs.view.samples.captions.item(0).text() == folder.name
    assert requests == folders


def test_the_samples_tab_is_created_when_needed(panel: RunsPanel, services: Services) -> None:
    view, run = panel.tabs.view, make_run(services)
    select(panel, run)
    view.show_tab(view.scatter)
    assert not view.has_samples()
    view.show_tab(view._no_samples)
    assert view.has_samples()
    assert view.tabs.currentWidget() is view.samples
    tailer, content = services.tailer, {"student": [{"caption": "a hat", "hits": []}]}
    tailer.curves_changed.emit(run.id, tailer.show(run.id).apply([Sample(step=4, what="retrieval", content=content)]))
    assert view.samples.captions.item(0).text() == "a hat"
    panel.view.table.run_opened.emit(run.id)
    assert view.tabs.currentWidget() is view.grid, "its curves are what one opens a run for"


def test_unreadable_samples_are_reported(panel: RunsPanel, services: Services, monkeypatch: pytest.MonkeyPatch) -> None:
    received: list[Message] = []
    panel.message_requested.connect(received.append)
    run = make_run(services)

    def locked(*_: object) -> None:
        raise StoreError("The database is locked.")

    with monkeypatch.context() as broken:
        broken.setattr(services.store, "run", locked)
        select(panel, run)
    assert [(message.level, message.text) for message in received] == [("error", "The database is locked.")]
    assert panel.tabs._run is None
    panel.view.table.failed.emit("No such column.")
    assert (received[-1].level, received[-1].text) == ("error", "No such column.")


def test_ticked_runs_are_larger_in_the_scatter_at_once(
    panel: RunsPanel, services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[object] = []
    monkeypatch.setattr(panel.tabs.view.scatter, "show_ticks", lambda: calls.append("scatter"))
    monkeypatch.setattr(panel.tabs.view.compare, "show_runs", lambda run_ids: calls.append(("compare", run_ids)))
    monkeypatch.setattr(panel.tabs.view.board, "show_runs", calls.append)
    run = make_run(services)
    select(panel, run)
    assert calls == [(run.id,), "scatter", ("compare", (run.id,))]


def test_colours_are_reread_when_a_study_is_selected_or_left(
    panel: RunsPanel, services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, named = make_run(services), list[None]()
    monkeypatch.setattr(panel.tabs.feed, "rename", lambda: named.append(None))
    steps = ((Selection(run.experiment_id, run.id, run.id), 0), (Selection(study_runs=(run.id,)), 1),
             (Selection(study_runs=(run.id,)), 1), (Selection(run.experiment_id, run.id, run.id), 2))  # fmt: skip
    for selection, number in steps:
        panel.select(selection)
        assert len(named) == number
    assert panel.tabs._run is not None
    assert panel.tabs._run.id == run.id


def test_curves_of_a_groups_runs_are_fetched_from_their_owners(
    panel: RunsPanel, services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine, theirs = make_run(services, "mine"), make_run(services, "theirs")
    watched: list[list[int]] = []
    monkeypatch.setattr(services.hosts.colleagues, "watch", lambda runs: watched.append([run.id for run in runs]))
    read = services.store.run

    def run(run_id: int) -> Any:
        return replace(read(run_id), owner_host="another-computer") if run_id == theirs.id else read(run_id)

    monkeypatch.setattr(services.store, "run", run)
    select(panel, mine, theirs.id)
    assert watched == [], "at home there are no others"
    monkeypatch.setattr(Store, "shared", True)
    select(panel, mine, theirs.id)
    assert watched == [[theirs.id]]


def test_the_filter_text_is_selected_for_retyping(qtbot: QtBot, panel: RunsPanel, services: Services) -> None:
    select(panel, make_run(services))
    panel.activateWindow()
    box = panel.view.table.bar.filter
    box.setText("seed = 1")
    panel.view.table.view.setFocus()
    panel.focus_search()
    qtbot.waitUntil(box.hasFocus)
    assert box.selectedText() == "seed = 1"
