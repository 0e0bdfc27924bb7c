"""A connection with a fake session: repeated requests, back-off, refusals and timeouts."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from core.spec.errors import UserError
from core.spec.machines import connection as connection_module
from core.spec.machines.answers import Bytes, RemoteStatus, Trouble
from core.spec.machines.connection import Connection, ConnectionState
from core.spec.machines.machine import Machine
from core.spec.machines.machines import Machines
from core.spec.machines.ssh import PROTOCOL, ConnectionLost, MachineRefused
from tests.core.remote.conftest import wait_for

HELLO = {"event": "hello", "protocol": PROTOCOL, "version": "1", "host": "far-01"}
FAR = Machine(name="far", host="user@far")


class FakeSession:
    """A fake session whose replies come from the test; None is its end."""

    made: list[FakeSession]
    script: list[list[dict[str, Any] | None]]  # what arrives at once on the first lines
    ends: tuple[int | None, str] = (255, "")

    def __init__(self, command: Any) -> None:
        self.command, self.sent, self.killed = command, list[dict[str, Any]](), False
        self.last_read = time.monotonic()
        self.arrives: queue.SimpleQueue[dict[str, Any] | None] = queue.SimpleQueue()
        for reply in type(self).script.pop(0) if type(self).script else []:
            self.arrives.put(reply)
        type(self).made.append(self)

    def send(self, request: dict[str, Any]) -> None:
        self.sent.append(request)

    def read(self) -> dict[str, Any] | None:
        return self.arrives.get()

    def kill(self) -> None:
        self.killed = True
        self.arrives.put(None)

    def end(self, seconds: float = 0.0) -> tuple[int | None, str]:
        return type(self).ends


@pytest.fixture
def lines(monkeypatch: pytest.MonkeyPatch) -> type[FakeSession]:
    class Lines(FakeSession):
        made, script = [], []

    monkeypatch.setattr(connection_module, "RemoteProcess", Lines)
    return Lines


@pytest.fixture
def reported() -> list[ConnectionState]:
    return []


@pytest.fixture
def connection(lines: type[FakeSession], reported: list[ConnectionState]) -> Iterator[Connection]:
    connection = Connection(FAR, reported.append, ["program"])
    yield connection
    connection.close()


class FakeSink:
    """A fake sink that records what it receives."""

    def __init__(self, has: int) -> None:
        self.has, self.given = has, list[Any]()

    def offsets(self) -> dict[str, Any]:
        return {"files": {"events.jsonl": {"offset": self.has}}}

    def append(self, part: Bytes) -> None:
        self.given.append(part.data)

    def update_status(self, standing: RemoteStatus) -> None:
        self.given.append(standing.state.value)

    def report_trouble(self, trouble: Trouble) -> None:
        self.given.append(trouble.message)


def test_unanswered_requests_are_repeated(lines: type[FakeSession], connection: Connection) -> None:
    lines.script = [[]]
    sink = FakeSink(3)
    connection.follow("/there/one", sink)
    asked = [connection.call("probe"), connection.call("runs", folder="x")]
    wait_for(lambda: lines.made)
    first = lines.made[0]
    assert first.command == ["program"]
    first.arrives.put({"event": "done", "id": 1, "result": {}})  # no greeting: it is none of the program's words
    assert first.sent == []
    first.arrives.put(HELLO)
    wait_for(lambda: len(first.sent) == 3)
    follow = {"do": "follow", "folder": "/there/one", "files": {"events.jsonl": {"offset": 3}}}
    assert first.sent == [follow, {"id": 1, "do": "probe"}, {"id": 2, "do": "runs", "folder": "x"}]
    assert connection.state == ConnectionState("ready")
    assert connection.hello is not None
    assert connection.hello.host == "far-01"
    first.arrives.put({"event": "done", "id": 1, "result": {"cores": 4}})
    assert asked[0].result(60) == {"cores": 4}
    sink.has = 9
    lines.script = [[HELLO]]
    first.arrives.put(None)
    wait_for(lambda: len(lines.made) == 2 and len(lines.made[1].sent) == 2)
    second = lines.made[1]
    assert second.sent == [follow | {"files": {"events.jsonl": {"offset": 9}}}, {"id": 2, "do": "runs", "folder": "x"}]
    connection.call("ping")
    connection.unfollow("/there/one")
    assert second.sent[2:] == [{"id": 3, "do": "ping"}, {"do": "unfollow", "folder": "/there/one"}]
    second.arrives.put({"event": "failed", "id": 2, "message": "No such folder."})
    with pytest.raises(UserError, match=r"No such folder\."):
        asked[1].result(60)
    second.arrives.put({"event": "done", "id": 77, "result": {}})
    second.arrives.put({"event": "done", "id": 3, "result": "odd"})
    open_yet = connection.call("probe")
    connection.close()
    assert connection.state == ConnectionState("closed")
    with pytest.raises(ConnectionLost, match="was closed"):
        open_yet.result(0)
    with pytest.raises(ConnectionLost, match="was closed"):
        connection.call("probe").result(60)


def test_a_missing_ssh_is_reported_with_its_remedy(connection: Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(command: Any) -> FakeSession:
        raise FileNotFoundError(2, "No such file or directory")

    monkeypatch.setattr(connection_module, "RemoteProcess", missing)
    with pytest.raises(MachineRefused, match=r"ssh cannot be started: No such file or directory\. "):
        connection.call("probe").result(60)


def test_questions_about_an_unreachable_machine_fail_at_the_first_attempt_and_work_is_kept(
    lines: type[FakeSession], connection: Connection
) -> None:
    lines.script, lines.ends = [[None]], (255, "connect to host far port 22: Connection timed out")
    submitted, probed, checked = (connection.call(name) for name in ("submit", "probe", "check"))
    for question in (probed, checked):
        with pytest.raises(ConnectionLost, match="user@far cannot be reached"):
            question.result(60)
    assert not submitted.done(), "it is sent once the machine can be reached"


@pytest.mark.parametrize(
    ("first", "ends", "sentence"),
    [
        ([None], (127, "sh: python: not found"), "Python or sdgui was not found on user@far: sh: python: not found."),
        ([{"event": "hello"}, None], (0, ""), "the program on far does not use sdgui's protocol"),
        ([HELLO | {"protocol": 999}], (0, ""), "far runs sdgui 1 (protocol 999), but this computer uses protocol"),
    ],
)
def test_a_refusal_is_reported_at_once_and_the_next_call_retries(
    lines: type[FakeSession], connection: Connection, first: Any, ends: tuple[int, str], sentence: str
) -> None:
    lines.script, lines.ends = [first], ends
    asked = connection.call("probe")
    with pytest.raises(MachineRefused) as refused:
        asked.result(60)
    assert str(refused.value).startswith(sentence)
    wait_for(lambda: connection.state.kind == "refused")
    assert connection.state.message == str(refused.value)
    assert len(lines.made) == 1
    lines.script = [[HELLO]]
    again = connection.call("probe")
    wait_for(lambda: len(lines.made) == 2 and lines.made[1].sent)
    lines.made[1].arrives.put({"event": "done", "id": 2, "result": {}})
    assert again.result(60) == {}


def test_late_calls_fail_and_a_silent_connection_is_closed(
    lines: type[FakeSession], connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    waited = threading.Semaphore(0)

    class Ticking(threading.Event):
        """A clock that the test advances."""

        def wait(self, timeout: float | None = None) -> bool:
            waited.acquire()
            return self.is_set()

        def set(self) -> None:
            super().set()
            waited.release()

    connection._closing = Ticking()
    monkeypatch.setattr(connection_module, "PING_SECONDS", -1.0)
    lines.script = [[HELLO]]
    late = connection.call("probe", timeout=-1.0)
    in_time = connection.call("runs", timeout=9e9)
    wait_for(lambda: connection.state.kind == "ready")
    waited.release()
    with pytest.raises(ConnectionLost, match="far did not answer in time; try again"):
        late.result(60)
    line = lines.made[0]
    wait_for(lambda: line.sent[-1] == {"do": "ping"})
    assert not in_time.done()
    assert not line.killed
    monkeypatch.setattr(connection_module, "HELLO_SECONDS", 9e9)
    monkeypatch.setattr(connection_module, "SILENT_SECONDS", -1.0)
    waited.release()
    wait_for(lambda: line.killed)
    wait_for(lambda: len(lines.made) == 2)
    second = lines.made[1]
    assert not second.killed, "a shell may load modules before the greeting"
    monkeypatch.setattr(connection_module, "HELLO_SECONDS", -1.0)
    waited.release()
    wait_for(lambda: second.killed)


def test_each_machine_has_one_connection_until_its_settings_change(tmp_path: Path) -> None:
    reported: list[tuple[str, ConnectionState]] = []
    machines = Machines(tmp_path, lambda name, state: reported.append((name, state)), lambda machine: [machine.python])
    machines.list.put(FAR.model_copy(update={"python": "/none"}))
    first = machines.host("far")
    assert machines.host("far") is first
    assert machines.states() == {"far": ConnectionState()}
    assert first._command == ["/none"]
    machines.list.put(FAR.model_copy(update={"python": "/other"}))
    second = machines.host("far")
    assert second is not first
    assert (first.state.kind, second.state.kind) == ("closed", "off")
    assert reported == [("far", ConnectionState("closed"))]
    with pytest.raises(UserError, match="there is no machine near; known: far"):
        machines.host("near")
    machines.close()
    assert second.state.kind == "closed"
    assert machines.states() == {}
