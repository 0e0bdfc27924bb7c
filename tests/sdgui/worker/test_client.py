"""The worker's client: answers, progress, crashes and other output on stdout; the window never waits."""

from __future__ import annotations

import json
import sys
import textwrap
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import psutil
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pytestqt.qtbot import QtBot

from sdgui.worker import client as worker_client
from sdgui.worker import heartbeat
from sdgui.worker.client import WorkerClient
from sdgui.worker.replies import Cancelled, Done, Failed, Failure, read_reply
from tests.mutations import mutated, survives

WAIT_MS = 15000
WORKER = textwrap.dedent(
    """
    import json, os, sys, time
    def say(**reply):
        print(json.dumps(reply), flush=True)
    print("a library's greeting", flush=True)
    say(event="ready")
    for line in sys.stdin:
        asked = json.loads(line)
        number, do = asked.get("id"), asked["do"]
        if do == "echo":
            say(id=number, event="progress", doing="reading", done=1, total=2)
            say(id=number, event="done", result={"text": asked["text"], "pid": os.getpid()})
        elif do == "noise":
            print("[1, 2]"); print("{not json"); print("\\xff" * 10); print('{"event": "done", "id": 999}')
            sys.stdout.flush()
            os.write(1, b'\\xff\\xfe bytes\\n')
            say(id=number, event="done", result={})
        elif do == "large":
            say(id=number, event="done", result={"text": "x" * asked["size"]})
        elif do == "slowly":
            for part in ('{"id": %d, "ev' % number, 'ent": "done", "res', 'ult": {"ok": 1}}\\n'):
                sys.stdout.write(part); sys.stdout.flush(); time.sleep(0.05)
        elif do == "fail":
            say(id=number, event="failed", message="No such checkpoint.", details="more")
        elif do == "foreign":
            if os.path.exists(asked["allowed"]):
                say(id=number, event="done", result={"opened": 1})
            else:
                say(id=number, event="failed", message="It needs code.", details="", code={"ab" * 32: "/run/code/x.py"})
        elif do == "crash":
            sys.stderr.write("line one\\nFatal: out of memory\\n"); sys.stderr.flush(); os._exit(3)
        elif do == "cancel":
            say(id=asked["id"], event="failed", message="cancelled", details="")
        elif do == "shutdown":
            break
    """
)


@pytest.fixture
def worker_file(tmp_path: Path) -> Path:
    path = tmp_path / "worker.py"
    path.write_text(WORKER)
    return path


class Signals:
    """Records a client's signals in order."""

    def __init__(self, client: WorkerClient) -> None:
        self.done: dict[int, object] = {}
        self.failed: dict[int, Failure] = {}
        self.progress: list[tuple[int, str, int, int]] = []
        self.states: list[str] = []
        client.done.connect(lambda number, result: self.done.update({number: result}))
        client.failed.connect(lambda number, failure: self.failed.update({number: failure}))
        client.progress.connect(lambda *said: self.progress.append(said))
        client.state_changed.connect(self.states.append)


@pytest.fixture
def client(qtbot: QtBot, worker_file: Path) -> Iterator[WorkerClient]:
    client = WorkerClient([sys.executable, "-S", "-u", str(worker_file)])
    yield client
    client.close()


@pytest.fixture
def signals(client: WorkerClient) -> Signals:
    return Signals(client)


Wait = Callable[[Callable[[], bool]], None]


@pytest.fixture
def wait(qtbot: QtBot) -> Wait:
    return lambda condition: qtbot.waitUntil(condition, timeout=WAIT_MS)


def test_no_process_starts_before_it_is_needed(client: WorkerClient, signals: Signals, wait: Wait) -> None:
    assert client.state == "off"
    number = client.request("echo", text="Grüße 👋\n{}")
    wait(lambda: number in signals.done)
    assert signals.done[number]["text"] == "Grüße 👋\n{}"
    assert signals.progress == [(number, "reading", 1, 2)]
    wait(lambda: client.state == "ready")
    assert signals.states[0] == "starting"


def test_a_process_started_ahead_answers_the_first_request(client: WorkerClient, signals: Signals, wait: Wait) -> None:
    client.warm_up()
    client.warm_up()
    wait(lambda: client.state == "ready")
    number = client.request("echo", text="a")
    wait(lambda: number in signals.done and client.state == "ready")
    assert signals.states == ["starting", "ready", "busy", "ready"], "one process"


def test_answers_match_their_requests(client: WorkerClient, signals: Signals, wait: Wait) -> None:
    numbers = [client.request("echo", text=str(place)) for place in range(20)]
    wait(lambda: len(signals.done) == 20)
    assert [signals.done[number]["text"] for number in numbers] == [str(place) for place in range(20)]
    assert len({signals.done[number]["pid"] for number in numbers}) == 1


def test_invalid_lines_parts_large_lines_and_failures(client: WorkerClient, signals: Signals, wait: Wait) -> None:
    numbers = [client.request("noise"), client.request("slowly"), client.request("large", size=3_000_000)]
    wait(lambda: len(signals.done) == 3)
    assert signals.failed == {}
    assert list(signals.done) == numbers
    assert len(signals.done[numbers[2]]["text"]) == 3_000_000
    number = client.request("fail")
    wait(lambda: number in signals.failed)
    assert signals.failed == {number: Failure("No such checkpoint.", "more")}


@pytest.mark.parametrize("allowed", [True, False])
def test_a_model_that_needs_code_is_asked_about_and_opened_once_allowed(
    allowed: bool, qtbot: QtBot, worker_file: Path, tmp_path: Path, wait: Wait
) -> None:
    asked: list[dict[str, Path]] = []

    def ask(files: Mapping[str, Path], answer: Callable[[bool], None]) -> None:
        asked.append(dict(files))
        if allowed:
            (tmp_path / "allowed").touch()
        answer(allowed)

    client = WorkerClient([sys.executable, "-S", "-u", str(worker_file)], ask_code=ask)
    signals = Signals(client)
    number = client.request("foreign", allowed=str(tmp_path / "allowed"))
    wait(lambda: number in signals.done or number in signals.failed)
    assert asked == [{"ab" * 32: Path("/run/code/x.py")}]
    assert (signals.done if allowed else signals.failed).keys() == {number}
    client.close()


def test_a_request_is_cancelled(client: WorkerClient, signals: Signals, wait: Wait) -> None:
    number = client.request("sleep")  # which this worker never answers
    client.cancel(number)
    wait(lambda: number in signals.failed)
    assert isinstance(signals.failed[number], Cancelled)
    client.cancel(number)  # too late, and harmless


def test_a_crash_fails_open_requests_and_the_next_one_works(client: WorkerClient, signals: Signals, wait: Wait) -> None:
    numbers = [client.request("crash"), client.request("echo", text="never")]
    wait(lambda: len(signals.failed) == 2)
    failure = signals.failed[numbers[1]]
    assert "code 3" in failure.text
    assert failure.details.endswith("Fatal: out of memory")
    again = client.request("echo", text="back")
    wait(lambda: again in signals.done)


def test_a_worker_that_cannot_start_fails_the_request_asynchronously(qtbot: QtBot, wait: Wait) -> None:
    client = WorkerClient(["/no/such/worker"])
    signals = Signals(client)
    number = client.request("echo", text="x")
    assert signals.failed == {}
    wait(lambda: number in signals.failed)
    assert "could not be started" in signals.failed[number].text
    assert client.state == "off"
    client.close()


def test_shutdown_ends_the_process_and_a_later_request_starts_another(
    client: WorkerClient, signals: Signals, wait: Wait
) -> None:
    first = client.request("echo", text="a")
    wait(lambda: first in signals.done)
    pid = signals.done[first]["pid"]
    client.shutdown()
    assert client.state == "off"
    second = client.request("echo", text="b")
    wait(lambda: second in signals.done and not psutil.pid_exists(pid))
    assert signals.done[second]["pid"] != pid


def test_closing_leaves_no_process(client: WorkerClient, signals: Signals, wait: Wait) -> None:
    number = client.request("echo", text="a")
    wait(lambda: number in signals.done)
    pid = signals.done[number]["pid"]
    client.request("sleep")
    client.close()
    wait(lambda: not psutil.pid_exists(pid))


GARBAGE = textwrap.dedent(
    """
    import json, os, sys, time
    for line in sys.stdin:
        asked = json.loads(line)
        number, do = asked.get("id"), asked["do"]
        if do == "answer":
            for reply in asked["replies"]:
                reply = {**reply, "id": number} if isinstance(reply, dict) and "id" not in reply else reply
                sys.stdout.write((reply if isinstance(reply, str) else json.dumps(reply)) + "\\n")
            sys.stdout.flush()
        elif do == "flood":
            while True:
                os.write(1, b"no answer at all\\n" * 100)
        elif do == "endless":
            while True:
                os.write(1, b"x" * 65536)
        elif do == "mute":
            os.close(1)
            time.sleep(600)
        elif do == "hang":
            time.sleep(600)
        elif do == "ready then silent":
            print('{"event": "ready"}', flush=True); time.sleep(600)
        elif do == "alive":
            print('{"event": "ready"}', flush=True)
            for _ in range(asked["beats"]):
                print('{"event": "alive"}', flush=True); time.sleep(0.05)
            print(json.dumps({"event": "done", "id": number, "result": {}}), flush=True)
    """
)


@pytest.fixture
def garbage(qtbot: QtBot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[WorkerClient]:
    """A worker that sends invalid answers."""
    monkeypatch.setattr(worker_client, "_SHUTDOWN_MS", 100)
    monkeypatch.setattr(worker_client, "_CANCEL_MS", 300)
    monkeypatch.setattr(worker_client, "_MAX_LINE_BYTES", 1 << 20)
    path = tmp_path / "garbage.py"
    path.write_text(GARBAGE)
    client = WorkerClient([sys.executable, "-S", "-u", str(path)])
    yield client
    client.close()


def test_an_answer_of_another_type_is_a_failure_with_a_message(garbage: WorkerClient, wait: Wait) -> None:
    signals = Signals(garbage)
    for reply in (
        {"event": "done", "result": 5},
        {"event": "done"},
        {"event": "partial", "result": [1]},
        {"event": "failed"},
        {"event": "failed", "message": 5, "details": {"a": 1}},
    ):
        number = garbage.request("answer", replies=[reply])
        wait(lambda number=number: number in signals.failed)
        assert signals.done == {}
        assert isinstance(signals.failed[number].text, str)
        assert signals.failed[number].text.endswith(".")


def test_malformed_progress_does_no_harm(garbage: WorkerClient, wait: Wait) -> None:
    signals = Signals(garbage)
    odd = ["x", None, True, 1e300, -5, 2**70, [1], {}]
    replies: list[object] = [{"event": "progress", "doing": one, "done": one, "total": one} for one in odd]
    replies += ['{"event": "progress", "id": 1, "done": NaN, "total": Infinity}', '{"event": "progress", "id": true}']
    replies += [f'{{"event": "done", "id": 1, "result": {"[" * 100_000}', f'{{"id": 1, "done": {"9" * 5000}}}']
    number = garbage.request("answer", replies=[*replies, {"event": "done", "result": {"fine": True}}])
    wait(lambda: number in signals.done)
    assert {done for _, _, done, _ in signals.progress} == {0, 2**31 - 1}


@pytest.mark.parametrize("do", ["flood", "endless"])
def test_a_worker_that_can_never_answer_is_replaced(garbage: WorkerClient, wait: Wait, do: str) -> None:
    signals = Signals(garbage)
    number = garbage.request(do)
    wait(lambda: number in signals.failed)
    assert "Try again" in signals.failed[number].text
    again = garbage.request("answer", replies=[{"event": "done", "result": {}}])
    wait(lambda: again in signals.done)


@pytest.mark.parametrize("do", ["hang", "mute"])
def test_a_worker_that_ignores_a_cancellation_is_ended(garbage: WorkerClient, wait: Wait, do: str) -> None:
    signals = Signals(garbage)
    number = garbage.request(do)
    garbage.cancel(number)
    wait(lambda: number in signals.failed)
    assert isinstance(signals.failed[number], Cancelled)
    again = garbage.request("answer", replies=[{"event": "done", "result": {}}])
    wait(lambda: again in signals.done)


@pytest.mark.parametrize("do", ["hang", "ready then silent", "mute"])
def test_a_silent_worker_is_noticed_without_a_cancellation(
    garbage: WorkerClient, wait: Wait, monkeypatch: pytest.MonkeyPatch, do: str
) -> None:
    monkeypatch.setattr(heartbeat, "TICK_MS", 50)
    monkeypatch.setattr(heartbeat, "STARTING_TICKS", 20)
    signals = Signals(garbage)
    number = garbage.request(do)
    wait(lambda: number in signals.failed)
    assert signals.failed[number].text.startswith("The worker has not responded for ")
    assert not isinstance(signals.failed[number], Cancelled)
    again = garbage.request("answer", replies=[{"event": "done", "result": {}}])
    wait(lambda: again in signals.done)


def test_a_heartbeat_keeps_a_worker_without_progress(
    garbage: WorkerClient, wait: Wait, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(heartbeat, "TICK_MS", 100)
    signals = Signals(garbage)
    number = garbage.request("alive", beats=40)  # longer than silence is allowed to last
    wait(lambda: number in signals.done)
    assert signals.failed == {}


def test_silence_counts_only_while_an_answer_is_awaited(qtbot: QtBot, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(heartbeat, "TICK_MS", 1)
    watched = heartbeat.Heartbeat()
    lost: list[int] = []
    watched.lost.connect(lost.append)
    watched.beat(ready=True)
    watched.watch(True)
    watched.watch(False)
    qtbot.wait(50)
    assert lost == []
    watched.watch(True)
    qtbot.waitUntil(lambda: len(lost) == 1, timeout=WAIT_MS)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
REPLY = st.fixed_dictionaries(
    {},
    optional={
        "event": st.sampled_from(["ready", "progress", "partial", "done", "failed", "x"]) | JSON,
        "id": st.integers() | JSON,
        "result": JSON,
        "message": JSON | st.just("cancelled"),
        "details": JSON,
        "doing": JSON,
        "done": JSON,
        "total": JSON,
    },
)


@settings(max_examples=20, deadline=None)
@given(raw=REPLY)
def test_any_reply_is_read_or_ignored(raw: dict[str, object]) -> None:
    reply = read_reply(json.dumps(raw).encode("utf-8", "backslashreplace"))
    if isinstance(reply, Done):
        assert isinstance(reply.result, dict)
    if isinstance(reply, Failed):
        assert reply.failure.text


@settings(max_examples=20, deadline=None)
@given(line=mutated({"event": "done", "id": 1, "result": {"rows": [1, 2.5, "a"], "notes": []}}, line=True))
def test_any_line_is_read_or_ignored(line: bytes) -> None:
    survives(lambda: read_reply(line))
