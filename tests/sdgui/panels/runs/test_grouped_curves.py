"""Runs that the table groups are one curve each group, as long as they are grouped and watched."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from PySide6.QtWidgets import QApplication

from core.spec.presets import preset_config
from core.spec.run.status import RunState
from sdgui.panels.runs.panel import RunsPanel
from sdgui.panels.runs.table.layout import TableLayout
from sdgui.shared.services import Selection, Services
from sdgui.store.records import Progress, Run


def make_run(services: Services, name: str) -> Run:
    store = services.store
    run = store.add_run(store.add_experiment(preset_config("clip", "tiny"), name).id)
    run.dir.create()
    store.record(run.id, Progress(state=RunState.DONE, offset=1))
    return store.run(run.id)


def settle(panel: RunsPanel) -> None:
    for _ in range(5):
        panel.view.table.reader.wait()
        QApplication.processEvents()


def watch(panel: RunsPanel, *runs: Run) -> None:
    panel.select(Selection(runs[0].experiment_id, runs[0].id, runs[0].id, tuple(run.id for run in runs)))


@pytest.fixture
def panel(panel: RunsPanel) -> RunsPanel:
    panel.entered()
    return panel


def test_groups_of_the_table_are_groups_of_the_plots(panel: RunsPanel, services: Services) -> None:
    a, b = make_run(services, "a"), make_run(services, "b")
    watch(panel, a, b)
    settle(panel)
    grouping = panel.tabs.view.grid.grouping
    assert not grouping.on
    panel.view.table.show_layout(TableLayout(group_by=("state",)))
    settle(panel)
    assert grouping.on
    (legend,) = panel.tabs.view.grid.legend.shown_entries()
    assert legend[1] == services.store.run_labels([b.id])[b.id].color, "a mean has the colour of its newest run"
    titles = set(grouping._groups.values())
    assert (set(grouping._groups), len(titles)) == ({str(a.id), str(b.id)}, 1)
    watch(panel, a)
    settle(panel)
    assert not grouping.on, "one run is no group"


def test_groups_of_runs_that_are_watched_no_more_are_not_shown(
    panel: RunsPanel, services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    a, b = make_run(services, "a"), make_run(services, "b")
    watch(panel, a, b)
    panel.view.table.show_layout(TableLayout(group_by=("state",)))
    settle(panel)
    grouping, late = panel.tabs.view.grid.grouping, list[Callable[[], None]]()

    def later(work: Any, done: Any) -> None:
        late.append(lambda: done(work()))

    monkeypatch.setattr(panel.view.table.reader, "run", later)
    watch(panel, b, a)
    assert len(late) == 1
    watch(panel, a)
    assert not grouping.on
    late[0]()
    assert not grouping.on
    watch(panel, a, b)
    late[-1]()
    assert grouping.on
