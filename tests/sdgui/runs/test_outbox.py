"""What gathers for a window that is busy: the newest of each, and of curves every name."""

from __future__ import annotations

from core.spec.run.status import RunState
from sdgui.runs.outbox import Outbox


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
