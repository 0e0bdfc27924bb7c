"""The worker's client: answers, progress, crashes, noise on stdout; the window never waits."""

from __future__ import annotations

import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
from pytestqt.qtbot import QtBot

from sdgui.runs.worker_client import WorkerClient

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


class Heard:
    """What a client's signals said, in order."""

    def __init__(self, client: WorkerClient) -> None:
        self.done: dict[int, object] = {}
        self.failed: dict[int, tuple[str, str]] = {}
        self.progress: list[tuple[int, str, int, int]] = []
        self.states: list[str] = []
        client.done.connect(lambda number, result: self.done.update({number: result}))
        client.failed.connect(lambda number, message, details: self.failed.update({number: (message, details)}))
        client.progress.connect(lambda *said: self.progress.append(said))
        client.state_changed.connect(self.states.append)


@pytest.fixture
def client(qtbot: QtBot, worker_file: Path) -> Iterator[WorkerClient]:
    client = WorkerClient([sys.executable, "-u", str(worker_file)])
    yield client
    client.close()


@pytest.fixture
def heard(client: WorkerClient) -> Heard:
    return Heard(client)


Wait = Callable[[Callable[[], bool]], None]


@pytest.fixture
def wait(qtbot: QtBot) -> Wait:
    return lambda condition: qtbot.waitUntil(condition, timeout=WAIT_MS)


def test_nothing_starts_before_it_is_needed(client: WorkerClient, heard: Heard, wait: Wait) -> None:
    assert client.state == "off"
    number = client.request("echo", text="Grüße 👋\n{}")
    wait(lambda: number in heard.done)
    assert heard.done[number]["text"] == "Grüße 👋\n{}"
    assert heard.progress == [(number, "reading", 1, 2)]
    wait(lambda: client.state == "ready")
    assert heard.states[0] == "starting"


def test_answers_find_their_requests(client: WorkerClient, heard: Heard, wait: Wait) -> None:
    numbers = [client.request("echo", text=str(place)) for place in range(20)]
    wait(lambda: len(heard.done) == 20)
    assert [heard.done[number]["text"] for number in numbers] == [str(place) for place in range(20)]
    assert len({heard.done[number]["pid"] for number in numbers}) == 1


@pytest.mark.parametrize(("do", "arguments"), [("noise", {}), ("slowly", {}), ("large", {"size": 3_000_000})])
def test_noise_parts_and_large_lines(
    client: WorkerClient, heard: Heard, wait: Wait, do: str, arguments: dict[str, int]
) -> None:
    number = client.request(do, **arguments)
    wait(lambda: number in heard.done)
    assert heard.failed == {}
    assert set(heard.done) == {number}
    if do == "large":
        assert len(heard.done[number]["text"]) == 3_000_000


def test_a_failure_is_handed_on(client: WorkerClient, heard: Heard, wait: Wait) -> None:
    number = client.request("fail")
    wait(lambda: number in heard.failed)
    assert heard.failed == {number: ("No such checkpoint.", "more")}


def test_a_request_is_given_up(client: WorkerClient, heard: Heard, wait: Wait) -> None:
    number = client.request("sleep")  # which this worker never answers
    client.cancel(number)
    wait(lambda: number in heard.failed)
    assert heard.failed[number][0] == "cancelled"
    client.cancel(number)  # too late, and harmless


def test_a_crash_fails_what_was_open_and_the_next_request_works(client: WorkerClient, heard: Heard, wait: Wait) -> None:
    numbers = [client.request("crash"), client.request("echo", text="never")]
    wait(lambda: len(heard.failed) == 2)
    message, details = heard.failed[numbers[1]]
    assert "code 3" in message
    assert details.endswith("Fatal: out of memory")
    again = client.request("echo", text="back")
    wait(lambda: again in heard.done)


def test_a_worker_that_cannot_start_fails_the_request_after_its_number_is_known(qtbot: QtBot, wait: Wait) -> None:
    client = WorkerClient(["/no/such/worker"])
    heard = Heard(client)
    number = client.request("echo", text="x")
    assert heard.failed == {}
    wait(lambda: number in heard.failed)
    assert "could not be started" in heard.failed[number][0]
    assert client.state == "off"
    client.close()


def test_shutdown_ends_the_process_and_a_later_request_starts_another(
    client: WorkerClient, heard: Heard, wait: Wait
) -> None:
    first = client.request("echo", text="a")
    wait(lambda: first in heard.done)
    pid = heard.done[first]["pid"]
    client.shutdown()
    assert client.state == "off"
    second = client.request("echo", text="b")
    wait(lambda: second in heard.done and not psutil.pid_exists(pid))
    assert heard.done[second]["pid"] != pid


def test_closing_leaves_no_process(client: WorkerClient, heard: Heard, wait: Wait) -> None:
    number = client.request("echo", text="a")
    wait(lambda: number in heard.done)
    pid = heard.done[number]["pid"]
    client.request("sleep")
    client.close()
    wait(lambda: not psutil.pid_exists(pid))
