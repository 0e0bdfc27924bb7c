"""The Runs panel on runs whose events the test writes: which run it is about, and what is said of its end."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import pytest
from PySide6.QtCore import Qt
from PySide6.QtGui import QGuiApplication
from PySide6.QtWidgets import QApplication
from pytestqt.qtbot import QtBot

from core.spec.presets import preset_config
from core.spec.run.events import (
    CheckpointSaved,
    Event,
    Log,
    Metrics,
    RunFailed,
    RunFinished,
    RunStarted,
    Sample,
)
from core.spec.run.folder import RunDir
from core.spec.run.status import RunState
from sdgui.app.start import make_application
from sdgui.panels.runs import tabs
from sdgui.panels.runs.compare import board
from sdgui.panels.runs.event_log import EventLog
from sdgui.panels.runs.header import RunHeader, status_line
from sdgui.panels.runs.model import end_message
from sdgui.panels.runs.panel import RunsPanel
from sdgui.panels.runs.plots.arrangement import Arrangement
from sdgui.runs.history import RunHistory
from sdgui.runs.live import RunProgress
from sdgui.runs.machines.colleagues import colleague_dir
from sdgui.shared.services import Selection, Services
from sdgui.store.records import Progress, Run, StoreError
from sdgui.store.store import Store
from sdgui.widgets.actions import Action, Actions
from sdgui.widgets.message import Message
from tests.sdgui.panels.runs.table.tabling import settle

START = RunStarted(
    step=0, total_steps=9, config_digest="d", device="cpu", precision="fp32", pairs=55, parameters=1234, time=1.0
)


def test_the_step_slider_is_fully_visible_beside_the_tabs(panel: RunsPanel) -> None:
    time = panel.tabs.view.time
    time.set_steps([26, 234], 234)
    panel.view.show()
    panel._stack.setCurrentWidget(panel.view)
    tabs = panel.tabs.view.tabs
    for width in (832, 1400):
        panel.resize(width, 600)
        QApplication.processEvents()
        assert time.mapTo(tabs, time.rect().topRight()).x() < tabs.width()
        assert time.mapTo(tabs, time.rect().topLeft()).x() >= tabs.tabBar().geometry().left()
        assert time.slider.width() >= 40


def make_run(services: Services, name: str = "clip", state: RunState = RunState.DONE) -> Run:
    store = services.store
    run = store.add_run(store.add_experiment(preset_config("clip", "tiny"), name).id)
    run.dir.create()
    store.record(run.id, Progress(state=state, offset=1))
    return store.run(run.id)


def select(panel: RunsPanel, run: Run, *ticked: int) -> None:
    panel.select(Selection(run.experiment_id, run.id, run.id, ticked))


def report(services: Services, run: Run, *events: Event) -> None:
    follower = services.follower
    follower.curves_changed.emit(run.id, follower.show(run.id).apply(events))


def progress_of(run: Run, state: RunState, **fields: object) -> RunProgress:
    bare = RunProgress(run.id, state, 3, 9, "", None, None, "")
    return replace(bare, **fields)  # type: ignore[arg-type]


def lines(panel: RunsPanel) -> list[str]:
    model = panel.tabs.view.log.model()
    return [str(model.index(row, 0).data()).split("   ")[1] for row in range(model.rowCount())]


def test_the_header_names_the_selected_experiment_study_or_all_runs(
    panel: RunsPanel, services: Services, tmp_path: Path
) -> None:
    run = make_run(services, "first")
    study = services.store.add_study(tmp_path / "study", "noisy")
    head = panel.view.head
    select(panel, run)
    assert head.title.text() == "first"
    assert head.line.text().endswith("1 run")
    panel.select(Selection(study_id=study.id))
    assert (head.title.text(), head.line.text()) == ("noisy", "Study · no runs yet")
    panel.select(Selection())
    assert (head.title.text(), head.line.text()) == ("All runs", "")
    panel.select(Selection(study_id=study.id + 1))
    assert head.title.text() == "All runs", "a study that is gone"


def test_header_events_and_samples_show_the_current_run(panel: RunsPanel, services: Services) -> None:
    first, second = make_run(services, "first"), make_run(services, "second")
    panel.select(Selection())
    assert panel._stack.currentWidget() is panel.empty
    services.follower.show(first.id).apply([START, Log(level="info", message="of the first", time=2.0)])
    services.follower.show(second.id).apply([START, Log(level="info", message="of the second", time=2.0)])
    select(panel, second, first.id)
    assert panel._stack.currentWidget() is not panel.empty
    assert set(panel.tabs.view.grid.runs()) == {str(first.id), str(second.id)}
    assert panel.tabs.view.header.title.text() == "second · run 1"
    assert lines(panel)[1:] == ["of the second"]
    report(services, first, Log(level="info", message="more of the first", time=3.0))
    assert lines(panel)[1:] == ["of the second"]
    report(services, second, Log(level="info", message="more of the second", time=3.0))
    assert lines(panel)[1:] == ["of the second", "more of the second"]
    content = {"student": [{"image": "/a.png", "caption": "a cat", "truth": "a dog"}]}
    report(services, second, Sample(step=1, what="captions", content=content))
    assert panel.tabs.view.samples.caption_table.rowCount() == 1
    select(panel, first)
    assert lines(panel)[1:] == ["of the first", "more of the first"]
    assert panel.tabs.view.samples.caption_table.rowCount() == 0
    services.store.rename_experiment(first.experiment_id, "renamed")
    panel.refresh()
    assert panel.tabs.view.header.title.text() == "renamed · run 1"
    panel.select(Selection())
    assert panel.tabs._run is None
    services.follower.state_changed.emit(first.id, RunState.FAILED)
    assert panel.tabs._run is None


def test_one_step_moves_samples_crosshair_and_other_panels(qtbot: QtBot, panel: RunsPanel, services: Services) -> None:
    run = make_run(services)
    content = {"student": [{"image": "/a.png", "caption": "a cat", "truth": "a dog"}]}
    samples = [Sample(step=step, what="captions", content=content) for step in (2, 4, 8)]
    points = [Metrics(step=step, values={"train/loss": 1.0 / step}, time=float(step)) for step in range(1, 10)]
    services.follower.show(run.id).apply([START, *points, *samples, CheckpointSaved(step=6, name="step-00000006")])
    select(panel, run)
    assert panel.tabs.view.time.steps == (2, 4, 6, 8)
    for tab, is_offered in ((panel.tabs.view.board, False), (panel.tabs.view.samples, True)):
        panel.tabs.view.tabs.setCurrentWidget(tab)
        assert panel.tabs.view.time.isVisibleTo(panel) is is_offered
    received: list[int] = []
    services.time_travel.moved.connect(lambda _run, step: received.append(step))
    panel.tabs.view.time.slider.setValue(2)
    qtbot.waitUntil(lambda: received == [6])
    assert panel.tabs.view.samples._step.text() == "Step 4", "the last samples before it"
    assert panel.tabs.view.grid._pinned == 6.0
    services.time_travel.go(run.folder, 8)  # by another panel
    assert (panel.tabs.view.time.step(), panel.tabs.view.samples._step.text()) == (8, "Step 8")
    assert panel.tabs.view.grid._pinned == 8.0
    services.time_travel.go(run.folder.parent / "other", 4)
    assert panel.tabs.view.time.step() == 8


def test_a_bad_end_is_reported_once_per_run_and_cleared_on_resume(panel: RunsPanel, services: Services) -> None:
    first, second = make_run(services, state=RunState.FAILED), make_run(services, state=RunState.FAILED)
    first.dir.stderr.write_text("CUDA is tired\n")
    services.follower.show(first.id).apply(
        [START, RunFailed(step=2, error="E", message="It broke.", traceback="line 5")]
    )
    select(panel, make_run(services))
    QApplication.processEvents()
    place = panel.tabs.view.tabs.geometry()
    select(panel, first)
    QApplication.processEvents()
    assert panel.tabs.view.bar.isVisible()
    assert panel.tabs.view.tabs.geometry() == place, "nothing moves"
    assert panel.tabs.view.bar.text == "The run failed."
    assert panel.tabs.view.bar._details.toPlainText() == "CUDA is tired\n\nline 5"
    panel.tabs.view.bar.clear()
    services.follower.state_changed.emit(first.id, RunState.FAILED)
    assert panel.tabs.view.bar.text == "", "closed by the user, it stays closed"
    select(panel, second)
    assert panel.tabs.view.bar.text == "The run failed.", "of another run it is news"
    services.store.record(second.id, Progress(state=RunState.RUNNING, offset=2))
    services.follower.state_changed.emit(second.id, RunState.RUNNING)
    assert panel.tabs.view.bar.text == ""
    services.store.record(second.id, Progress(state=RunState.INTERRUPTED, offset=3))
    panel.tabs._run = services.store.run(second.id)
    report(services, second, RunFinished(step=3))
    assert "exited unexpectedly" in panel.tabs.view.bar.text, "news of its end without a change of state"


def test_header_buttons_are_shown_while_they_apply(qtbot: QtBot) -> None:
    header = RunHeader()
    qtbot.addWidget(header)
    actions = Actions(header)
    names = ("end_now", "pause", "resume", "stop", "use_search")
    actions.register([Action(name, "Run", name, name, lambda _: None) for name in names], header)
    for name in ("end_now", "resume"):
        actions[name].setEnabled(False)
    header.set_actions(actions)
    header.resize(900, 60)
    header.show()
    buttons = [header._row.itemAt(row).widget() for row in range(3, 8)]
    assert [button.isVisible() for button in buttons] == [False, True, False, True, True]
    actions["resume"].setEnabled(True)
    actions["pause"].setEnabled(False)
    assert [button.isVisible() for button in buttons] == [False, False, True, True, True]
    actions["resume"].setEnabled(False)
    QApplication.processEvents()
    place = buttons[3].geometry()
    actions["stop"].setEnabled(False)  # it was asked to stop
    actions["end_now"].setEnabled(True)
    QApplication.processEvents()
    assert [button.isVisible() for button in buttons] == [True, False, False, True, True]
    assert (buttons[3].geometry(), buttons[3].isEnabled()) == (place, False), "a second click there ends nothing"


@pytest.mark.parametrize(("kind", "shown"), [("fork", True), ([], False), ({"fork": 1}, False), ("x", False)])
def test_the_header_names_the_relation_to_a_parent_whatever_it_says(
    filled: tuple[Store, list[int]], kind: object, shown: bool
) -> None:
    store, runs = filled
    start = RunStarted(step=3, total_steps=9, config_digest="d", parent={"kind": kind, "step": 3})
    assert ("forked at step 3" in status_line(store.run(runs[0]), None, start)) is shown


def test_reasons_of_a_bad_end(tmp_path: Path) -> None:
    run = Run(1, 1, "k", tmp_path, "d", 0.0, RunState.FAILED)
    messages = {
        state: end_message(replace(run, failure="No such data."), state, None, None)
        for state in (RunState.FAILED, RunState.INTERRUPTED, RunState.LOST_CONTACT, RunState.DONE)
    }
    assert [
        None if message is None else (message.level, message.text.split(".")[0]) for message in messages.values()
    ] == [
        ("error", "No such data"),
        ("error", "No such data"),
        ("warning", "The trainer has stopped reporting"),
        None,
    ]
    progress = progress_of(run, RunState.FAILED, failure="Killed.")
    assert end_message(run, RunState.FAILED, progress, None).text == "Killed."  # type: ignore[union-attr]


def test_the_log_keeps_its_position_and_copies_the_selection(qtbot: QtBot) -> None:
    make_application()
    log, history = EventLog(), RunHistory()
    qtbot.addWidget(log)
    log.resize(400, 100)
    log.show()
    history.apply([Log(level="info", message=f"line {number}", time=float(number)) for number in range(50)])
    log.show_history(history)
    bar = log.verticalScrollBar()
    qtbot.waitUntil(lambda: bar.maximum() > 0 and bar.value() == bar.maximum())
    bar.setValue(0)
    history.apply([Log(level="info", message="line 50", time=50.0)])
    log.show_history(history)
    qtbot.wait(1)
    assert bar.value() == 0
    log.selectAll()
    qtbot.keyClick(log, Qt.Key.Key_C, Qt.KeyboardModifier.ControlModifier)
    assert [line.split("   ")[1] for line in QGuiApplication.clipboard().text().splitlines()] == [
        f"line {number}" for number in range(51)
    ]
    QGuiApplication.clipboard().clear()
    second = RunHistory()
    second.apply([Log(level="info", message=f"other {number}", time=float(number)) for number in range(60)])
    log.show_history(second)
    assert "other 0" in str(log.model().index(0, 0).data())
    log.show_history(None)
    assert log.model().rowCount() == 0


def test_the_empty_page_offers_the_next_step(qtbot: QtBot, panel: RunsPanel) -> None:
    actions, triggered = Actions(panel), list[str]()
    names = ("end_now", "pause", "resume", "stop", "use_search", "launch", "queue", "new", "machines", "study")
    actions.register(
        [Action(name, "Run", name, name, lambda _, name=name: triggered.append(name)) for name in names], panel
    )
    panel.set_actions(actions)
    titles = []
    for selection in (Selection(), Selection(study_id=1), Selection(experiment_id=1)):
        panel.select(selection)
        titles.append(panel.empty._button.text())
        panel.empty.activated.emit()
    assert titles == ["New experiment", "Show the study", "Launch"]
    assert triggered == ["new", "study", "launch"]


def test_pinned_and_folded_sections_are_remembered(qtbot: QtBot, panel: RunsPanel, services: Services) -> None:
    arranged = Arrangement(("train/loss",), frozenset({"Losses"}))
    panel.tabs.view.grid.arrange(arranged)
    again = RunsPanel(services)
    qtbot.addWidget(again)
    assert again.tabs.view.grid._arrangement == arranged


def test_a_filter_without_matches_can_still_be_changed(panel: RunsPanel, services: Services) -> None:
    make_run(services)
    panel.on_enter()
    table = panel.view.table
    for text in ("seed = 77", ""):
        table.show_layout(replace(table.current_layout, filter=text))
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
        services.follower.show(run.id).apply([START, Sample(step=4, what="retrieval", content={})])
        select(panel, run)
        assert panel.tabs.view.samples.captions.item(0).text() == folder.name
    assert requests == folders


def test_images_side_by_side_are_looked_up_on_their_machine(
    panel: RunsPanel, services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    theirs = make_run(services, "theirs")
    requests: list[Path] = []

    def shown(_home: Path, run: RunDir, samples: tuple[Sample, ...]) -> tuple[Sample, ...]:
        requests.append(run.path)
        return samples

    monkeypatch.setattr(board, "shown_samples", shown)
    far = replace(services.store.run(theirs.id), owner_host="another-computer")
    monkeypatch.setattr(services.store, "runs_by_id", lambda _ids: {theirs.id: far})
    services.follower.show(theirs.id).apply([START, Sample(step=4, what="retrieval", content={})])
    panel.tabs.view.board.show_runs([theirs.id])
    panel.tabs.view.board._read_samples()
    assert requests == [colleague_dir(services.store.home, theirs).path]


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


def test_curves_of_a_groups_runs_are_fetched_from_their_owners(
    panel: RunsPanel, services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine, theirs = make_run(services, "mine"), make_run(services, "theirs")
    watched: list[list[int]] = []
    monkeypatch.setattr(services.hosts.colleagues, "watch", lambda runs: watched.append([run.id for run in runs]))
    read = services.store.runs_by_id

    def runs_by_id(run_ids: Iterable[int]) -> dict[int, Run]:
        return {
            run_id: replace(run, owner_host="another-computer") if run_id == theirs.id else run
            for run_id, run in read(run_ids).items()
        }

    monkeypatch.setattr(services.store, "runs_by_id", runs_by_id)
    select(panel, mine, theirs.id)
    assert watched == [], "at home there are no others"
    monkeypatch.setattr(Store, "shared", True)
    select(panel, mine, theirs.id)
    assert watched == [[theirs.id]]
