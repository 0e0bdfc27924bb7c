"""Home by itself: what its cards say and ask for, which of them are shown, and what is read of the runs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from PySide6.QtCore import QMimeData, QObject, QPoint, QPointF, QSettings, Qt, QUrl, Signal
from PySide6.QtGui import QDragEnterEvent, QDropEvent
from PySide6.QtWidgets import QApplication, QPushButton, QWidget
from pytestqt.qtbot import QtBot

from core.spec.presets import preset_config
from core.spec.run.events import EventWriter, Metrics
from core.spec.run.status import RunState
from sdgui.panels.home.cards import DoneCard, FailedCard, LiveCard, PausedCard
from sdgui.panels.home.model import HomeRuns, Image, RunPreview
from sdgui.panels.home.panel import HomePanel
from sdgui.panels.home.view import HomeView
from sdgui.runs.live import RunProgress
from sdgui.shared.run_texts import when
from sdgui.store.records import BestPoint, Progress, Run
from sdgui.store.store import Store
from sdgui.widgets.actions import Action, Actions
from sdgui.widgets.icon_button import IconButton
from sdgui.widgets.message import Message
from sdgui.widgets.plain_text import PlainLabel

RUN = Run(1, 7, "k1", Path("/r"), "d", 5.0, RunState.RUNNING)
DONE = replace(RUN, state=RunState.DONE, launched=10.0, started=20.0, finished=80.0)
FAILED = replace(RUN, id=2, state=RunState.FAILED, failure="No such file.\n\nChoose another.\nthird\nfourth")


def progress(**more: Any) -> RunProgress:
    return replace(RunProgress(1, RunState.RUNNING, 30, 120, "training", 60.0, None, ""), **more)


def test_a_live_card_shows_progress(qtbot: QtBot) -> None:
    card = LiveCard(RUN, "clip · run 1")
    qtbot.addWidget(card)
    card.show_progress(None)
    assert (card.line.text(), card.bar.maximum()) == ("Running", 0), "it wanders while nothing is known"
    card.show_progress(progress())
    assert (card.bar.maximum(), card.bar.value()) == (100, 25)
    assert card.line.text() == "Running · step 30 of 120 · 25 % · 1 min left"
    assert card.accessibleName() == f"clip · run 1: {card.line.text()}"
    card.show_progress(progress(state=RunState.PAUSED, total_steps=0, seconds_left=None))
    assert card.bar.maximum() == 0
    assert card._icon.toolTip() == "paused"
    preview = SimpleNamespace(curve=(1.0, 0.5), metric="train/loss", title="Total loss", images=())
    card.show_preview(cast(Any, preview), 3)
    assert card.curve.accessibleName() == "Total loss, 2 points, last 0.5"
    assert card.value.text() == "Total loss 0.5"


def test_a_finished_card_shows_its_metric_and_samples(qtbot: QtBot) -> None:
    card, requests = DoneCard(DONE, "clip · run 1"), list[int]()
    qtbot.addWidget(card)
    card.show()
    assert card.line.text() == f"Not validated · {when(80.0)}"
    assert not card.curve.isVisible()
    card.search_requested.connect(requests.append)
    button = card.findChild(QPushButton)
    assert button is not None
    button.click()
    assert requests == [1]
    images = (Image(Path("/a.png"), "a cat"), Image(Path("/b.png"), "a dog"))
    card.show_preview(cast(Any, SimpleNamespace(curve=(0.1,), metric="val/x", title="x", images=images)), 0)
    assert card.curve.isVisible()
    assert [image.isVisible() for image in card.images] == [True, True, False, False]
    assert [image.toolTip() for image in card.images[:2]] == ["a cat", "a dog"]
    card.show_preview(cast(Any, SimpleNamespace(curve=(), metric="", title="", images=())), 0)
    assert not card.curve.isVisible()
    for metric, who in (("val/teacher/mean_recall", "teacher"), ("val/student/mean_recall", "student")):
        best = replace(DONE, best=BestPoint(metric, 0.412, 3), finished=None)
        best_card = DoneCard(best, "x")
        qtbot.addWidget(best_card)
        assert best_card.line.text() == f"Mean recall 41.2 %, {who} · {when(5.0)}"
        assert who in best_card.line.toolTip()


def test_a_failed_card_shows_the_reason_and_the_remedy(qtbot: QtBot) -> None:
    card, requests = FailedCard(FAILED, "clip · run 2"), list[tuple[str, int]]()
    qtbot.addWidget(card)
    card.show()
    card.edit_requested.connect(lambda number: requests.append(("edit", number)))
    card.dismissed.connect(lambda number: requests.append(("dismiss", number)))
    assert card.reason.text() == "No such file. Choose another. third"
    assert card.accessibleName() == f"clip · run 2: {card.reason.text()}"
    assert card.line.isHidden()
    edit = card.findChild(QPushButton)
    close = card.findChild(IconButton)
    assert edit is not None
    assert close is not None
    edit.click()
    close.click()
    assert requests == [("edit", 7), ("dismiss", 2)]
    assert (card.reason.toolTip(), card.reason.wordWrap()) == (FAILED.failure, True)
    assert when(5.0) in [label.text() for label in card.findChildren(PlainLabel)], "when it was made"
    silent = FailedCard(replace(FAILED, failure=" \n", finished=80.0), "x")
    qtbot.addWidget(silent)
    assert when(80.0) in [label.text() for label in silent.findChildren(PlainLabel)], "when it ended"
    assert silent.reason.text() == "The process exited without an error message. Its log is in Runs, under Events."


@pytest.mark.parametrize("kind", [PausedCard, FailedCard])
def test_an_interrupted_run_is_resumed_where_possible(qtbot: QtBot, kind: type[PausedCard | FailedCard]) -> None:
    asked = list[object]()
    for changes in ({"step": 30}, {"step": 0}, {"step": 30, "is_own": False}):
        card = kind(replace(FAILED, **cast(Any, changes)), "clip · run 2")
        qtbot.addWidget(card)
        card.resume_requested.connect(asked.append)
        for button in card.findChildren(QPushButton):
            if button.text() == "Resume":
                button.click()
    assert asked == [replace(FAILED, step=30)]


def starts(owner: QWidget) -> Actions:
    actions = Actions(owner)
    names = ("demo", "caption", "train_demo", "new_from_folder", "pretrained")
    actions.register([Action(name, "x", name, "tip", lambda _: None, f"Ctrl+{name[0]}") for name in names], owner)
    return actions


def test_sections_depend_on_existing_runs(qtbot: QtBot) -> None:
    view = HomeView()
    qtbot.addWidget(view)
    view.set_actions(starts(view))
    assert list(view.empty.cards.buttons) == ["demo", "caption", "train_demo"]
    assert [button.property("role") for button in view.empty.cards.buttons.values()] == ["primary", None, None]
    row = [widget.widget() for index in range(2) if (widget := view.starts._row.itemAt(index)) is not None]
    assert [(widget.objectName(), widget.property("role")) for widget in row if widget is not None] == [
        ("do_pretrained", None), ("do_new_from_folder", "primary")
    ]  # fmt: skip
    view.show()
    assert view.currentWidget() is view.blank
    view.show_runs(HomeRuns())
    assert view.currentWidget() is view.empty
    assert view.focusWidget() is view.empty.cards.buttons["demo"]
    view.empty.cards.buttons["caption"].setFocus()
    view.show_runs(HomeRuns())
    assert view.focusWidget() is view.empty.cards.buttons["caption"], "whoever has gone on is left there"
    view.show_runs(HomeRuns(has_runs=True))
    assert view.currentWidget() is view._area
    assert (view.empty_note.isVisible(), view.queued.text(), view._live.isVisible()) == (True, "", False)
    assert view.start_cards.isVisible()
    view.show_runs(HomeRuns(has_runs=True, failed=tuple(replace(FAILED, id=10 + number) for number in range(7))))
    assert not view.start_cards.isVisible(), "seven runs fill the page"
    view.show_runs(HomeRuns(has_runs=True))
    cards: list[object] = []
    view.card_made.connect(cards.append)
    second_done = replace(DONE, id=3, key="k3")
    listed = HomeRuns((RUN,), (second_done, replace(DONE, id=4)), (FAILED,), queued=2, has_runs=True)
    view.show_runs(listed)
    assert (view.empty_note.isVisible(), view.queued.text()) == (False, "2 queued")
    assert [section.isVisible() for section in (view._live, view._done, view._failed)] == [True, True, True]
    qtbot.waitUntil(lambda: len(cards) == 4)
    former_card = view.done[4]
    assert cards == [view.live[1], view.done[3], former_card, view.failed[2]]
    assert view.done[3].title.text() == "Run k3"
    view.show_runs(replace(listed, live=(), done=(listed.done[1], second_done), failed=(), queued=0))
    assert len(cards) == 4, "cards of runs that are listed still stay"
    inside = [widget.widget() for index in range(2) if (widget := view._done.row.itemAt(index)) is not None]
    assert inside == [former_card, view.done[3]], "in the order of the runs"
    assert (view.live, view.failed, view.queued.text(), view._live.isVisible()) == ({}, {}, "", False)


def test_a_few_cards_are_created_at_once_and_the_others_later_in_order(qtbot: QtBot) -> None:
    view = HomeView()
    qtbot.addWidget(view)
    view.show()
    made: list[int] = []
    view.card_made.connect(lambda card: made.append(card.run.id))
    done = tuple(replace(DONE, id=number, key=f"k{number}") for number in range(11, 20))
    live = tuple(replace(RUN, id=number, key=f"k{number}") for number in range(1, 7))
    view.show_runs(HomeRuns(live, done, (FAILED,), has_runs=True))
    assert made == [run.id for run in live], "active runs at once"
    view.show_runs(HomeRuns((), done, (), has_runs=True))
    assert made[6:] == [11, 12]
    qtbot.waitUntil(lambda: len(view.done) == 9)
    assert made[6:] == [run.id for run in done]
    inside = [widget.widget() for index in range(9) if (widget := view._done.row.itemAt(index)) is not None]
    assert inside == [view.done[run.id] for run in done]
    assert view.failed == {}, "no longer listed"


class Signals(QObject):
    state_changed = Signal(int, object)
    progress_changed = Signal(int, object)
    queue_changed = Signal()

    def __init__(self) -> None:
        super().__init__()
        self.known: dict[int, RunProgress] = {}

    def progress(self, run_id: int) -> RunProgress | None:
        return self.known.get(run_id)


@pytest.fixture
def panel(qtbot: QtBot, tmp_path: Path) -> Iterator[HomePanel]:
    """Over an empty store, and shown."""
    signals, store = Signals(), Store.open(tmp_path / "home")
    settings = QSettings(str(tmp_path / "window.ini"), QSettings.Format.IniFormat)
    services = SimpleNamespace(store=store, follower=signals, launcher=signals, settings=settings)
    panel = HomePanel(cast(Any, services))
    qtbot.addWidget(panel)
    panel.set_actions(starts(panel))
    panel.show()
    panel.on_enter()
    qtbot.waitUntil(lambda: panel.view.currentWidget() is panel.view.empty)
    yield panel
    panel._tasks.wait()
    store.close()


def test_active_runs_are_followed_while_home_is_shown(qtbot: QtBot, panel: HomePanel) -> None:
    store, signals, view = panel._services.store, cast(Signals, panel._services.follower), panel.view
    run = store.add_run(store.add_experiment(preset_config("clip", "tiny")).id)
    store.record(run.id, Progress(RunState.RUNNING, 1, step=5, total_steps=10))
    signals.known[run.id] = progress(step=12)
    signals.state_changed.emit(run.id, RunState.RUNNING)
    qtbot.waitUntil(lambda: set(view.live) == {run.id})
    assert view.live[run.id].bar.value() == 10, "how far it is by now"
    signals.progress_changed.emit(run.id, progress())
    assert view.live[run.id].bar.value() == 25
    panel.hide()
    signals.progress_changed.emit(run.id, progress(step=60))
    panel.refresh()
    assert (view.live[run.id].bar.value(), panel._update_timer.isActive()) == (25, False), "nobody sees it"
    assert panel._read_timer.isActive()
    panel.on_leave()
    assert not panel._read_timer.isActive()
    panel.show()
    store.record(run.id, Progress(RunState.DONE, 2, step=10, total_steps=10, ending="done"))
    signals.queue_changed.emit()
    qtbot.waitUntil(lambda: (set(view.live), set(view.done)) == (set(), {run.id}))


def test_curves_update_while_a_run_trains_and_home_is_visible(
    qtbot: QtBot, panel: HomePanel, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, view = panel._services.store, panel.view
    run = store.add_run(store.add_experiment(preset_config("clip", "tiny")).id)
    run.dir.create()
    store.record(run.id, Progress(RunState.RUNNING, 1, step=5, total_steps=10))

    def told(*steps: int) -> None:
        with closing(EventWriter(run.dir.events)) as writer:
            for step in steps:
                writer.write(Metrics(step=step, values={"train/loss": 1.0 / step}))

    def curve() -> str:
        return view.live[run.id].curve.accessibleName() if run.id in view.live else ""

    told(1, 2)
    panel._list()
    qtbot.waitUntil(lambda: curve() == "Total loss, 2 points, last 0.5")
    told(4)
    panel.hide()
    panel._read_timer.timeout.emit()
    assert not panel._reading, "nobody sees it"
    panel.show()
    with monkeypatch.context() as broken:
        broken.setattr(RunPreview, "read", lambda _: 1 / 0)
        panel._read_timer.timeout.emit()
        qtbot.waitUntil(lambda: not panel._reading)
    panel._read_timer.timeout.emit()
    qtbot.waitUntil(lambda: curve() == "Total loss, 3 points, last 0.25")
    store.record(run.id, Progress(RunState.DONE, 2, step=10, total_steps=10, ending="done"))
    panel._list()
    qtbot.waitUntil(lambda: run.id in view.done and not panel._reading)
    assert view.done[run.id].curve.accessibleName() == "Total loss, 3 points, last 0.25", (
        "what was read is shown at once"
    )
    store.delete_experiment(run.experiment_id)
    panel._list()
    qtbot.waitUntil(lambda: not view.done)
    assert panel._previews == {}


def test_an_unreadable_store_is_reported_and_retried(
    qtbot: QtBot, panel: HomePanel, monkeypatch: pytest.MonkeyPatch
) -> None:
    messages: list[Message] = []
    panel.message_requested.connect(messages.append)
    with monkeypatch.context() as broken:
        broken.setattr(panel._services.store, "latest_runs", lambda *_: 1 / 0)
        panel._list()
        qtbot.waitUntil(lambda: bool(messages))
    assert messages[0].level == "error"
    (store := panel._services.store).add_run(store.add_experiment(preset_config("clip", "tiny")).id, queued=True)
    panel._list()
    qtbot.waitUntil(lambda: panel.view.currentWidget() is panel.view._area)


def test_dropped_data_create_an_experiment(panel: HomePanel, tmp_path: Path) -> None:
    requests: list[Any] = []
    panel.new_experiment_requested.connect(requests.append)
    panel.message_requested.connect(requests.append)
    (tmp_path / "pairs.csv").write_text("filepath,title\n")
    (tmp_path / "notes.txt").touch()
    none, keys = Qt.MouseButton.NoButton, Qt.KeyboardModifier.NoModifier
    for name in ("pairs.csv", "notes.txt"):
        data = QMimeData()
        data.setUrls([QUrl.fromLocalFile(str(tmp_path / name))])
        entering = QDragEnterEvent(QPoint(5, 5), Qt.DropAction.CopyAction, data, none, keys)
        QApplication.sendEvent(panel, entering)
        assert entering.isAccepted()
        QApplication.sendEvent(panel, QDropEvent(QPointF(5, 5), Qt.DropAction.CopyAction, data, none, keys))
    assert panel.acceptDrops()
    assert requests[0].data.train == str(tmp_path / "pairs.csv")
    assert (requests[1].level, "is not a table of pairs" in requests[1].text) == ("error", True)


def test_a_run_whose_folder_is_missing_is_marked_and_cannot_be_searched_or_resumed(qtbot: QtBot) -> None:
    gone = progress(state=RunState.DONE, folder_missing=True)
    done, failed = DoneCard(DONE, "clip · run 1"), FailedCard(replace(FAILED, step=5), "clip · run 2")
    paused = PausedCard(replace(RUN, state=RunState.PAUSED, step=30, total_steps=120), "clip · run 3")
    for card, button in ((done, "Search"), (failed, "Resume"), (paused, "Resume")):
        qtbot.addWidget(card)
        [shown] = [found for found in card.findChildren(QPushButton) if found.text() == button]
        assert shown.isEnabled()
        card.show_progress(gone)
        assert not shown.isEnabled()
        card.show_progress(replace(gone, folder_missing=False))
        assert shown.isEnabled()
    done.show_progress(gone)
    assert done.line.text().startswith("Folder missing · ")
    paused.show_progress(replace(gone, state=RunState.PAUSED))
    assert paused.line.text() == "Paused · folder missing · step 30 of 120 · 25 %"
