"""The status bar: what it says of runs and workers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from PySide6.QtCore import QObject, Signal
from PySide6.QtWidgets import QApplication, QPushButton, QWidget
from pytestqt.qtbot import QtBot

from core.spec.run.status import RunState
from sdgui.app.closing import ask_about_training
from sdgui.app.demo_report import DemoReport
from sdgui.app.status import Status
from sdgui.runs.live import RunProgress
from sdgui.store.records import Run
from sdgui.widgets.message import Message
from sdgui.widgets.progress_strip import ProgressStrip
from sdgui.widgets.style.theme import SPACE
from sdgui.worker.pool import WorkerState


class News(QObject):
    """What the bar listens to."""

    progress_changed = Signal(int, object)
    queue_changed = Signal()
    state_changed = Signal(int, object)

    def __init__(self) -> None:
        super().__init__()
        self.known = dict[int, RunProgress]()

    def progress(self, run_id: int) -> RunProgress | None:
        return self.known.get(run_id)


class Pool(QObject):
    state_changed = Signal()

    def __init__(self) -> None:
        super().__init__()
        self.list: list[WorkerState] = []

    def states(self) -> list[WorkerState]:
        return self.list


class Fixes(QObject):
    """A basket that holds two fixes once it is read."""

    changed = Signal(int)

    def read_count(self) -> None:
        self.changed.emit(2)


class Studies(QObject):
    changed = Signal(int)

    def __init__(self) -> None:
        super().__init__()
        self.known = dict[int, Any]()

    def alive(self) -> list[int]:
        return list(self.known)

    def snapshot(self, study_id: int) -> Any:
        return self.known[study_id]


class Model:
    def __init__(self, folder: Path) -> None:
        self.all = [
            Run(number, 1, f"k{number}", folder / str(number), "d", 0.0, RunState.QUEUED) for number in range(4)
        ]

    def runs(self) -> list[Run]:
        return self.all

    def run(self, run_id: int) -> Run | None:
        return next((run for run in self.all if run.id == run_id), None)

    def name(self, run_id: int) -> str:
        return f"mine · run {run_id}"


@pytest.fixture
def bar(qtbot: QtBot, tmp_path: Path) -> Status:
    services = SimpleNamespace(follower=News(), launcher=News(), pool=Pool(), studies=Studies(), basket=Fixes())
    bar = Status(cast(Any, services), cast(Any, Model(tmp_path)))
    qtbot.addWidget(bar)
    return bar


def going(run: int, state: RunState = RunState.RUNNING, **more: Any) -> RunProgress:
    fields: dict[str, Any] = {
        "step": 0,
        "total_steps": 0,
        "doing": "",
        "seconds_left": None,
        "best": None,
        "failure": "",
    }
    return RunProgress(run, state, **(fields | more))


def test_active_runs_are_listed_and_queued_ones_counted(qtbot: QtBot, bar: Status) -> None:
    assert bar.runs.text() == "No active runs · 4 queued"
    news = cast(News, bar._services.follower)
    news.known = {
        0: going(0, step=31, total_steps=50, seconds_left=70.0),
        1: going(1, RunState.STARTING),
        2: going(2, RunState.DONE, step=50, total_steps=50),
    }
    news.progress_changed.emit(0, None)
    assert bar.runs.text() == "No active runs · 4 queued", "gathered for a moment"
    qtbot.waitUntil(lambda: bar.runs.text().startswith("2 running"))
    assert bar.runs.text() == ("2 running · mine · run 0: 62 %, 1 min 10 s left · mine · run 1: starting · 1 queued")
    launcher = cast(News, bar._services.launcher)
    tell: list[Callable[[], object]] = [
        lambda: news.state_changed.emit(0, None),
        lambda: launcher.queue_changed.emit(),
    ]
    for one in tell:
        news.known[0] = going(0, RunState.DONE)
        bar.runs.setText("")
        one()
        qtbot.waitUntil(lambda: bar.runs.text() == "mine · run 1: starting · 1 queued")


def test_progress_has_reserved_room_and_never_widens_the_window(bar: Status) -> None:
    strips = [ProgressStrip(), ProgressStrip()]
    bar.add_progress(strips)
    bar.resize(900, bar.sizeHint().height())
    bar.show()
    before, least = (bar.sizeHint().height(), bar.basket.pos()), bar.minimumSizeHint().width()
    assert not any(strip.isVisible() for strip in strips)
    for strip in strips:
        strip.start("Encoding all the images of a folder with a long name", 2_000_000, "images")
        strip.advance(10)
    assert all(strip.isVisible() and bar.isAncestorOf(strip) for strip in strips)
    assert (bar.sizeHint().height(), bar.basket.pos()) == before
    assert bar.minimumSizeHint().width() < least + 3 * SPACE, "only the gaps"
    places = [strip.geometry() for strip in strips]
    bar.showMessage("What the command under the mouse does")
    QApplication.processEvents()
    assert [strip.geometry() for strip in strips] == places, "a status tip moves nothing"
    assert places[0].left() > 200, "it has room"


def test_progress_added_under_a_status_tip_does_not_show_the_runs_over_it(bar: Status) -> None:
    bar.show()
    bar.showMessage("What the command under the mouse does")
    bar.add_progress([ProgressStrip()])
    QApplication.processEvents()
    assert bar.runs.isVisible() != bool(bar.currentMessage())


def test_no_text_moves_a_cancel_button(qtbot: QtBot, bar: Status) -> None:
    strip = ProgressStrip()
    bar.add_progress([strip])
    bar.resize(1200, 40)
    bar.show()
    strip.start("Encoding images", 10)
    QApplication.processEvents()
    before = strip.geometry()
    bar.worker.setText("worker: a run with a very long name · run 1 starting · data starting")
    bar.runs.setText("1 running · a run with a very long name · run 1: 12 %, 1 min 2 s left")
    strip.advance(4, title="Evaluating")
    QApplication.processEvents()
    assert strip.geometry() == before
    assert strip._cancel.geometry().right() == strip.rect().right()


def test_workers_are_named_and_a_crash_has_details(bar: Status) -> None:
    assert bar.worker.text() == "worker: not started"
    pool = cast(Pool, bar._services.pool)
    pool.list = [WorkerState("a", "teacher @9", "ready"), WorkerState("b", "data", "gone", "It ended.", "Traceback")]
    pool.state_changed.emit()
    assert bar.worker.text() == "worker: teacher @9 ready · data crashed"
    assert "data crashed\nIt ended.\nTraceback" in bar.worker.toolTip()
    pool.list = [WorkerState(key, key, "ready") for key in ("a", "b", "c")] + pool.list[1:]
    pool.state_changed.emit()
    assert bar.worker.text() == "worker: a ready · b ready · data crashed", "room is left for progress"
    assert "c ready" in bar.worker.toolTip()
    run = bar._model.runs()[2]
    pool.list = [WorkerState(f"{run.folder}@best", "mine-20261202-ee185b44 @best", "ready")]
    pool.state_changed.emit()
    assert bar.worker.text() == "worker: mine · run 2 ready", "the folder's name contains an id"


@pytest.mark.parametrize(
    ("label", "expected"), [("&Keep training", ["keep"]), ("&Stop and close", ["stop"]), ("Cancel", [])]
)
def test_closing_while_runs_train_follows_the_answer(qtbot: QtBot, label: str, expected: list[str]) -> None:
    window, answers = QWidget(), list[str]()
    qtbot.addWidget(window)
    ask_about_training(["one", "two"], lambda: answers.append("keep"), lambda: answers.append("stop"), window)
    box: Any = next(child for child in window.children() if child.objectName() == "closing")
    assert box.text() == "2 runs are training."
    assert "one, two" in box.informativeText()
    assert box.defaultButton().text() == "&Keep training"
    (button,) = (one for one in box.findChildren(QPushButton) if one.text().replace("&", "") == label.replace("&", ""))
    button.click()
    assert answers == expected


class Demo(QObject):
    progress = Signal(int, int, str)
    ready = Signal()
    failed = Signal(str, str)

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[str] = []

    def make(self) -> None:
        self.asked.append("make")

    def cancel(self) -> None:
        self.asked.append("cancel")


@pytest.fixture
def strip(qtbot: QtBot) -> ProgressStrip:
    strip = ProgressStrip()
    qtbot.addWidget(strip)
    return strip


def test_the_strip_is_shown_while_demo_data_are_rendered(strip: ProgressStrip) -> None:
    demo, told = Demo(), list[Message]()
    report = DemoReport(cast(Any, demo), strip)
    report.message_requested.connect(told.append)
    assert strip.isHidden()
    demo.progress.emit(5, 50, "Drawing")
    assert (strip.isVisible(), strip.text) == (True, "Drawing · 10 % · 5 of 50 images")
    demo.progress.emit(25, 50, "Writing")
    assert strip.text.startswith("Writing · 50 %")
    demo.ready.emit()
    assert (strip.isHidden(), told) == (True, [])
    demo.progress.emit(5, 50, "Drawing")
    demo.failed.emit("No room.", "details")
    assert strip.isHidden()
    demo.progress.emit(5, 50, "Drawing")
    strip.cancelled.emit()
    assert strip.isHidden()
    assert [(one.level, one.details, one.remedy.label if one.remedy else "") for one in told] == [
        ("error", "details", "Try again"), ("info", "", "Create it")
    ]  # fmt: skip
    for one in told:
        assert one.remedy is not None
        one.remedy.do()
    assert demo.asked == ["cancel", "make", "make"]
