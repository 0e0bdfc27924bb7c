"""What gathers for a window that is busy: the newest of each, and of curves every name."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from pytestqt.qtbot import QtBot

from core.spec.run.status import RunState
from sdgui.runs import tailer as tailer_module
from sdgui.runs.follower import Outbox
from sdgui.runs.tailer import Tailer


def test_curves_that_changed_while_the_window_was_busy_are_all_delivered() -> None:
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


def test_the_window_is_notified_once_of_what_was_not_taken_yet() -> None:
    outbox = Outbox()
    assert not outbox.should_notify()
    outbox.added(1)
    assert outbox.should_notify()
    outbox.added(2)
    assert not outbox.should_notify()
    assert list(outbox.take().added) == [1, 2]
    outbox.added(3)
    assert outbox.should_notify()


def test_news_is_handed_out_for_a_short_while_and_goes_on_at_the_next_turn(
    tailer: Tailer, qtbot: QtBot, monkeypatch: pytest.MonkeyPatch
) -> None:
    now, told = [0.0], list[int]()
    monkeypatch.setattr(tailer_module, "time", SimpleNamespace(perf_counter=lambda: now[0]))

    def tell(number: int, takes: float) -> None:
        told.append(number)
        now[0] += takes

    tailer._pending.extend(lambda number=number: tell(number, 0.0) for number in range(40))  # type: ignore[misc]
    tailer._hand_out()
    assert told == list(range(40)), "what takes no time waits for no turn"
    told.clear()
    tailer._pending.extend(lambda number=number: tell(number, 0.006) for number in range(5))  # type: ignore[misc]
    tailer._hand_out()
    assert told == [0, 1], "then the window has its turn"
    qtbot.waitUntil(lambda: len(told) == 5)
    assert told == [0, 1, 2, 3, 4]
    assert not tailer._pending


def test_every_kind_of_news_reaches_its_signal_and_curves_only_those_who_show_them(tailer: Tailer) -> None:
    heard: list[tuple[object, ...]] = []
    for name in ("run_added", "run_removed", "state_changed", "curves_changed", "curves_loaded", "trouble"):
        getattr(tailer, name).connect(lambda *what, name=name: heard.append((name, *what)))
    tailer.show(1)
    outbox = tailer._outbox
    outbox.trouble(0, "It is locked.")
    for run in (1, 2):
        outbox.added(run)
        outbox.curves(run, frozenset({"log"}))
        outbox.loaded(run)
        outbox.state(run, RunState.DONE)
    outbox.removed(3)
    tailer._deliver()
    assert heard == [
        ("run_added", 1), ("run_added", 2), ("run_removed", 3), ("curves_changed", 1, frozenset({"log"})),
        ("curves_loaded", 1), ("state_changed", 1, RunState.DONE), ("state_changed", 2, RunState.DONE),
        ("trouble", 0, "It is locked."),
    ]  # fmt: skip
    tailer.hide(1)
    assert tailer.history(1) is None
