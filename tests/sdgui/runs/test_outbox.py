"""What threads hand to the window, in order and until they are closed: news, writes, results of tasks."""

from __future__ import annotations

import threading
from pathlib import Path
from types import SimpleNamespace

import pytest
import shiboken6
from PySide6.QtCore import QObject
from pytestqt.qtbot import QtBot

from core.spec.errors import UserError
from core.spec.run.status import RunState
from sdgui.runs import follower as follower_module
from sdgui.runs.background_tasks import BackgroundTasks, StoreWriter
from sdgui.runs.follower import Follower
from sdgui.runs.follower_thread import Outbox


def test_curves_changed_while_the_window_was_busy_are_all_delivered() -> None:
    outbox = Outbox()
    outbox.curves(1, frozenset({"train/loss"}))
    outbox.curves(1, frozenset({"val/student/mean_recall"}))
    outbox.curves(2, frozenset({"log"}))
    outbox.state(1, RunState.RUNNING)
    outbox.state(1, RunState.DONE)
    news = outbox.take()
    assert news.curves == {1: {"train/loss", "val/student/mean_recall"}, 2: {"log"}}
    assert news.states == {1: RunState.DONE}
    assert not outbox.take()


def test_news_is_delivered_in_short_slices_over_several_turns(
    follower: Follower, qtbot: QtBot, monkeypatch: pytest.MonkeyPatch
) -> None:
    now, told = [0.0], list[int]()
    monkeypatch.setattr(follower_module, "time", SimpleNamespace(perf_counter=lambda: now[0]))

    def tell(number: int, takes: float) -> None:
        told.append(number)
        now[0] += takes

    follower._pending.extend(lambda number=number: tell(number, 0.0) for number in range(40))  # type: ignore[misc]
    follower._emit_pending()
    assert told == list(range(40)), "what takes no time waits for no turn"
    told.clear()
    follower._pending.extend(lambda number=number: tell(number, 0.006) for number in range(5))  # type: ignore[misc]
    follower._emit_pending()
    assert told == [0, 1], "then the window has its turn"
    qtbot.waitUntil(lambda: len(told) == 5)
    assert told == [0, 1, 2, 3, 4]
    assert not follower._pending


def test_every_kind_of_news_has_its_signal_and_curves_reach_only_their_viewers(follower: Follower) -> None:
    heard: list[tuple[object, ...]] = []
    for name in ("run_added", "run_removed", "state_changed", "curves_changed", "curves_loaded", "trouble"):
        getattr(follower, name).connect(lambda *what, name=name: heard.append((name, *what)))
    follower.show(1)
    outbox = follower._outbox
    outbox.trouble(0, "It is locked.")
    for run in (1, 2):
        outbox.added(run)
        outbox.curves(run, frozenset({"log"}))
        outbox.loaded(run)
        outbox.state(run, RunState.DONE)
    outbox.removed(3)
    follower._deliver()
    assert heard == [
        ("run_added", 1), ("run_added", 2), ("run_removed", 3), ("curves_changed", 1, frozenset({"log"})),
        ("curves_loaded", 1), ("state_changed", 1, RunState.DONE), ("state_changed", 2, RunState.DONE),
        ("trouble", 0, "It is locked."),
    ]  # fmt: skip
    follower.hide(1)
    assert follower.history(1) is None


@pytest.fixture
def writer(qapp: object) -> StoreWriter:
    return StoreWriter()


def refuse() -> None:
    raise UserError("It is locked.")


def test_writes_are_done_and_delivered_in_order(qtbot: QtBot, writer: StoreWriter) -> None:
    done, threads = list[int](), set[object]()

    def write(number: int) -> int:
        threads.add(threading.current_thread())
        return number

    for number in range(5):
        writer.submit(lambda number=number: write(number), done.append)
    assert writer.pending == 5
    with qtbot.waitSignal(writer.idle):
        pass
    assert done == [0, 1, 2, 3, 4]
    assert (writer.pending, writer.failures) == (0, 0)
    assert threading.main_thread() not in threads


def test_a_failure_reaches_its_caller_or_else_everybody(qtbot: QtBot, writer: StoreWriter) -> None:
    told, done, failed = list[str](), list[object](), list[UserError]()
    writer.trouble.connect(told.append)
    writer.submit(refuse, done.append, failed.append)
    writer.submit(refuse, done.append)
    writer.submit(lambda: 7, done.append)
    with qtbot.waitSignal(writer.idle):
        pass
    assert [str(error) for error in failed] == told == ["It is locked."]
    assert done == [7]
    assert writer.failures == 2


def test_an_exception_in_a_callback_leaves_the_writer_idle(qtbot: QtBot, writer: StoreWriter) -> None:
    def wrong(_result: object) -> None:
        raise RuntimeError("a fault of ours")

    with qtbot.captureExceptions() as faults, qtbot.waitSignal(writer.idle):
        writer.submit(lambda: None, wrong)
    assert len(faults) == 1
    assert writer.pending == 0


def test_a_failure_is_a_message(qtbot, tmp_path: Path) -> None:
    tasks = BackgroundTasks()
    said: list[str] = []
    missing = tmp_path / "missing.txt"

    def refuse() -> None:
        raise UserError("The table has no label column.")

    tasks.run(refuse, None, said.append)
    tasks.run(missing.read_text, None, said.append)
    tasks.run(lambda: 1 / 0, None, said.append)
    qtbot.waitUntil(lambda: len(said) == 3)
    assert said[0] == "The table has no label column."
    assert said[1].startswith(f"The file {missing} cannot be used")
    assert said[2].startswith("ZeroDivisionError")


def test_nothing_is_delivered_after_close(qtbot) -> None:
    tasks = BackgroundTasks()
    results: list[object] = []
    tasks.run(lambda: 1, results.append)
    tasks.close()
    qtbot.wait(20)
    assert results == []


def test_a_task_with_a_deleted_owner_ends_quietly(qtbot) -> None:
    owner = QObject()
    tasks = BackgroundTasks(owner)
    results: list[object] = []
    running, deleting = threading.Event(), threading.Event()

    def work() -> int:
        running.set()
        deleting.wait(120)
        return 1

    tasks.run(work, results.append)
    assert running.wait(120)
    with qtbot.captureExceptions() as raised:
        owner.destroyed.connect(deleting.set)  # emitted before the tasks are deleted, which waits for their thread
        shiboken6.delete(owner)
        qtbot.wait(20)
    assert raised == []
    assert results == []
