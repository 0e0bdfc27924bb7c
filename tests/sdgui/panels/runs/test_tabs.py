"""What is below the table of Runs: what is kept of it, what it says without curves, and whom it asks."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pytestqt.qtbot import QtBot

from core.spec.run.events import Sample
from core.spec.run.folder import RunDir
from sdgui.panels.runs import tabs
from sdgui.panels.runs.panel import RunsPanel
from sdgui.panels.runs.plots.arrangement import Arrangement
from sdgui.runs.machines.colleagues import colleague_dir
from sdgui.shared.services import Selection, Services
from sdgui.store.records import StoreError
from sdgui.store.store import Store
from sdgui.widgets.message import Message
from tests.sdgui.panels.runs.table.tabling import settle
from tests.sdgui.panels.runs.test_runs_panel import START, make_run, select


def test_pinned_and_folded_sections_are_remembered(qtbot: QtBot, panel: RunsPanel, services: Services) -> None:
    arranged = Arrangement(("train/loss",), frozenset({"Losses"}))
    panel.tabs.view.grid.arrange(arranged)
    again = RunsPanel(services)
    qtbot.addWidget(again)
    assert again.tabs.view.grid._arranged == arranged


def test_a_filter_without_matches_can_still_be_changed(panel: RunsPanel, services: Services) -> None:
    make_run(services)
    panel.on_enter()
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
