"""The pool of worker processes: limits, eviction, waiting requests and crashes."""

from __future__ import annotations

import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from PySide6.QtCore import QProcess
from pytestqt.qtbot import QtBot

from sdgui.worker.client import WorkerClient
from sdgui.worker.pool import DATA_WORKER, WorkerPool
from sdgui.worker.replies import Cancelled

WORKER = textwrap.dedent(
    """
    import json, os, sys
    def say(**reply):
        print(json.dumps(reply), flush=True)
    say(event="ready")
    for line in sys.stdin:
        asked = json.loads(line)
        if asked["do"] == "pid":
            say(id=asked["id"], event="done", result={"pid": os.getpid()})
        elif asked["do"] == "cancel":
            say(id=asked["id"], event="failed", message="cancelled", details="")
        elif asked["do"] == "crash":
            sys.stderr.write("out of memory\\n"); sys.stderr.flush(); os._exit(3)
        elif asked["do"] == "shutdown":
            break
    """
)


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        self.now += 0.001  # no two uses at the same time
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def pool(tmp_path: Path, qtbot: QtBot, clock: Clock) -> Iterator[WorkerPool]:
    path = tmp_path / "worker.py"
    path.write_text(WORKER)
    pool = WorkerPool([sys.executable, "-S", "-u", str(path)], clock=clock)
    yield pool
    pool.close()


Ask = Callable[[str], int]


@pytest.fixture
def ask(pool: WorkerPool, qtbot: QtBot) -> Ask:
    """The process id of the worker for a key, once it is idle again."""

    def asked(key: str) -> int:
        client = pool.client(key)
        signals: dict[int, Any] = {}
        client.done.connect(lambda number, result: signals.update({number: result}))
        number = client.request("pid")
        qtbot.waitUntil(lambda: number in signals and client.state == "ready", timeout=10000)
        return int(signals[number]["pid"])

    return asked


def test_a_key_has_one_client_and_one_process(pool: WorkerPool, ask: Ask) -> None:
    assert pool.client("a") is pool.client("a")
    assert pool.states() == []
    first = ask("a")
    assert ask("a") == first
    assert ask("b") != first
    assert [state.key for state in pool.states()] == ["b", "a"]


def test_the_least_recently_used_worker_is_evicted_but_not_the_data_reader(
    pool: WorkerPool, ask: Ask, qtbot: QtBot
) -> None:
    a, b = ask("a"), ask("b")
    ask(DATA_WORKER)
    assert {state.key for state in pool.states()} == {"a", "b", DATA_WORKER}
    assert ask("a") == a
    ask("c")
    assert {state.key for state in pool.states()} == {"a", "c", DATA_WORKER}
    qtbot.waitUntil(lambda: not psutil.pid_exists(b))
    assert ask("b") != b


def test_when_all_are_busy_a_request_waits_and_may_be_cancelled(pool: WorkerPool, qtbot: QtBot) -> None:
    busy = [pool.client(key) for key in ("a", "b")]
    numbers = [client.request("sleep") for client in busy]  # never answered
    waiting, given_up = pool.client("c"), pool.client("d")
    signals: list[int] = []
    failed: list[tuple[int, object]] = []
    waiting.done.connect(lambda number, _result: signals.append(number))
    given_up.failed.connect(lambda number, failure: failed.append((number, failure)))
    number, other = waiting.request("pid"), given_up.request("pid")
    assert (waiting.state, given_up.state) == ("waiting", "waiting")
    given_up.cancel(other)
    assert failed == []  # not before the call returns
    qtbot.waitUntil(lambda: failed == [(other, Cancelled())])
    assert given_up.state == "off"
    busy[0].cancel(numbers[0])
    qtbot.waitUntil(lambda: signals == [number], timeout=10000)
    assert busy[0].state == "off"
    qtbot.waitUntil(lambda: busy[0].state == "off")


def test_idle_workers_are_ended(pool: WorkerPool, ask: Ask, clock: Clock, qtbot: QtBot) -> None:
    pid = ask("a")
    pool.free_idle()
    assert pool.client("a").state == "ready"
    clock.now += 11 * 60
    pool.free_idle()
    assert pool.client("a").state == "off"
    qtbot.waitUntil(lambda: not psutil.pid_exists(pid))


def test_a_crash_is_reported_with_the_end_of_stderr_and_the_next_request_restarts(
    pool: WorkerPool, ask: Ask, qtbot: QtBot
) -> None:
    pid = ask("/runs/clip-ab@2400")
    client = pool.client("/runs/clip-ab@2400")
    failed: list[tuple[str, str]] = []
    client.failed.connect(lambda _number, failure: failed.append((failure.text, failure.details)))
    client.request("crash")
    qtbot.waitUntil(lambda: len(failed) == 1, timeout=10000)
    assert "code 3" in failed[0][0]
    assert failed[0][1] == "out of memory"
    (state,) = pool.states()
    assert (state.text, state.details) == ("clip-ab @2400 crashed", "out of memory")
    assert ask("/runs/clip-ab@2400") != pid
    assert [state.text for state in pool.states()] == ["clip-ab @2400 ready"]


def test_shutdown_leaves_no_process(pool: WorkerPool, ask: Ask, qtbot: QtBot) -> None:
    pids = [ask("a"), ask("b")]
    pool.shutdown()
    qtbot.waitUntil(lambda: not any(map(psutil.pid_exists, pids)) and not pool.findChildren(QProcess))


def test_after_closing_nothing_starts(pool: WorkerPool, ask: Ask, qtbot: QtBot) -> None:
    pid = ask("a")
    client = pool.client("a")
    client.failed.connect(lambda *_: client.request("pid"))
    client.request("pid")
    pool.end()
    client.request("pid")
    qtbot.waitUntil(lambda: not psutil.pid_exists(pid) and not pool.findChildren(QProcess))
    assert not pool.findChildren(QProcess)


def test_deleting_a_client_while_its_process_exits_is_safe(tmp_path: Path, qtbot: QtBot) -> None:
    path = tmp_path / "worker.py"
    path.write_text(WORKER)
    client = WorkerClient([sys.executable, "-S", "-u", str(path)])
    client.request("pid")
    qtbot.waitUntil(lambda: client.state == "ready", timeout=10000)
    client.shutdown()
    gone: list[bool] = []
    client.destroyed.connect(lambda: gone.append(True))
    client.deleteLater()
    with qtbot.captureExceptions() as exceptions:
        qtbot.waitUntil(lambda: bool(gone))
        qtbot.wait(50)
    assert exceptions == []


def test_a_busy_worker_is_not_ended(pool: WorkerPool, clock: Clock, qtbot: QtBot) -> None:
    client = pool.client("a")
    client.request("sleep")  # never answered
    qtbot.waitUntil(lambda: client.state == "busy")
    clock.now += 60 * 60
    pool.free_idle()
    assert client.state == "busy"


def test_after_a_fetch_requests_are_answered_locally(tmp_path: Path, qtbot: QtBot) -> None:
    path = tmp_path / "worker.py"
    path.write_text(WORKER)
    there: list[str] | None = [sys.executable, "-S", "-u", str(path), "there"]
    pool = WorkerPool([sys.executable, "-S", "-u", str(path)], remote_command=lambda _key: there)
    client, signals = pool.client("/run@best"), dict[int, Any]()
    client.done.connect(lambda number, result: signals.update({number: result}))

    def words() -> list[str]:
        number = client.request("pid")
        qtbot.waitUntil(lambda: number in signals and client.state == "ready", timeout=10000)
        return psutil.Process(int(signals[number]["pid"])).cmdline()

    assert words()[-1] == "there"
    there = None
    pool.use_local(Path("/other"))
    assert words()[-1] == "there", "of another run"
    pool.use_local(Path("/run"))
    assert words()[-1] == str(path)
    pool.close()
