"""The watching thread ends a rank whose main thread waits for ranks that have exited."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from core.ranks.messages import Failure
from core.spec.run.processes import own_start_time
from core.training.team import watch as watching
from core.training.team.watch import Peer, Watch

PATIENCE = 120.0
GONE: Peer = (1, os.getpid(), 0.0)  # another process has its number now
GONE_MESSAGE = f"rank 1 (process {os.getpid()}) died"


class FakeMessages:
    """Fake messages, in which a watch looks for failures of other ranks."""

    def __init__(self, failure: Failure | None = None) -> None:
        self._failure, self.asked = failure, threading.Semaphore(0)

    def failure(self) -> Failure | None:
        self.asked.release()
        return self._failure

    def wait(self, times: int) -> None:
        """Wait for ``times`` more polls."""
        while self.asked.acquire(blocking=False):
            pass
        for _ in range(times):
            assert self.asked.acquire(timeout=PATIENCE)


@pytest.fixture(autouse=True)
def sigterm_handler(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Installs a SIGTERM handler as in a trainer, and shortens the polling interval."""
    monkeypatch.setattr(watching, "POLL_INTERVAL_S", 0.01)
    before = signal.signal(signal.SIGTERM, lambda number, frame: None)
    yield
    signal.signal(signal.SIGTERM, before)


def watched(
    fake_messages: FakeMessages, *peers: Peer
) -> tuple[Watch, list[tuple[str, Failure | None]], threading.Event]:
    """A watch, its reported exits, and an event that is set when it exits."""
    exits: list[tuple[str, Failure | None]] = []
    ended = threading.Event()

    def leave(why: str, failure: Failure | None) -> None:
        exits.append((why, failure))
        ended.set()

    messages: Any = fake_messages
    return Watch(messages, peers, leave), exits, ended


def test_the_watch_exits_on_a_stop_when_a_rank_is_gone() -> None:
    messages = FakeMessages()
    watch, exits, ended = watched(messages, GONE)
    with watch:
        messages.wait(3)
        assert not exits, "this rank was not asked to end"
        signal.raise_signal(signal.SIGTERM)
        assert ended.wait(PATIENCE)
    assert exits == [(GONE_MESSAGE, None)]


def test_the_watch_reacts_to_a_signal_between_polls(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watching, "POLL_INTERVAL_S", 1e6)
    watch, exits, ended = watched(FakeMessages(), GONE)
    with watch:
        signal.raise_signal(signal.SIGTERM)
        assert ended.wait(PATIENCE)
    assert len(exits) == 1


def test_the_watch_exits_when_ranks_do_not_agree_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    messages = FakeMessages()
    watch, exits, ended = watched(messages, (1, os.getpid(), own_start_time()))
    with watch:
        signal.raise_signal(signal.SIGTERM)
        messages.wait(3)
        assert not exits, "all ranks may still agree"
        monkeypatch.setattr(watching, "SIGNAL_GRACE_S", 0.0)
        assert ended.wait(PATIENCE)
    assert exits == [("the other ranks do not respond", None)]


def test_the_main_thread_handles_an_announced_exit_first(monkeypatch: pytest.MonkeyPatch) -> None:
    """It records the failure at its step; if it waits for the failed rank, the watch exits with the message."""
    failure = Failure(1, "elsewhere", "KeyError", "it broke")
    messages = FakeMessages(failure)
    watch, exits, ended = watched(messages, GONE)
    with watch:
        signal.raise_signal(signal.SIGTERM)
        messages.wait(3)
        assert not exits
        monkeypatch.setattr(watching, "FAILURE_GRACE_S", 0.0)
        assert ended.wait(PATIENCE)
    assert exits == [(GONE_MESSAGE, failure)]


def test_the_watch_ends_with_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """After all ranks have agreed to end, the watch no longer exits, and closing it does not wait for a poll."""
    monkeypatch.setattr(watching, "POLL_INTERVAL_S", 1e6)
    watch, exits, _ = watched(FakeMessages(), GONE)
    with watch:
        watch.allow_slow_exit()
        watch._thread.join(PATIENCE)
        assert not watch._thread.is_alive()
        signal.raise_signal(signal.SIGTERM)
    assert not exits
