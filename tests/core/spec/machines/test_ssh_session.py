"""The process of a session: replies among other output, its stderr, and ending it."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator

import pytest

from core.spec.machines import remote_process
from core.spec.machines.remote_process import RemoteProcess

PATIENCE = 120

Start = Callable[[str], RemoteProcess]


@pytest.fixture
def start() -> Iterator[Start]:
    made: list[RemoteProcess] = []

    def begin(code: str) -> RemoteProcess:
        made.append(RemoteProcess([sys.executable, "-S", "-u", "-c", f"import sys, time, signal\n{code}"]))
        return made[-1]

    yield begin
    for one in made:
        one.kill()
        one.end()


def test_replies_are_json_objects_and_other_lines_are_skipped(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    line = start(
        "for one in ('Welcome!', '[1]', '{', '{\"a\": 1}', ' {\"b\": 2}', '{\"c\": 3}'): print(one)\n"
        "sys.stdout.write('{\"cut\": 4}')"
    )
    before = line.last_read
    assert [line.read(), line.read()] == [{"a": 1}, {"c": 3}]
    assert line.last_read > before
    assert line.read() is None, "a truncated line is the end"
    assert line.end(PATIENCE) == (0, "")
    monkeypatch.setattr(remote_process, "MAX_LINE_BYTES", 10)
    line = start("print('{}'); print('{' + ' ' * 20 + '}'); print('{}')")
    assert [line.read(), line.read()] == [{}, None], "an endless line is the end too"


def test_the_last_stderr_lines_and_the_exit_status_are_kept(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote_process, "_STDERR_KEPT", 10)
    line = start("sys.stderr.write('x' * 100 + 'the end'); sys.exit(7)")
    assert line.read() is None
    assert line.end(PATIENCE) == (7, "xxxthe end")
    line.send({"n": 1})
    assert line.read() is None


def test_a_session_that_does_not_end_is_killed(start: Start) -> None:
    line = start("signal.signal(signal.SIGTERM, signal.SIG_IGN); print('{}')\nwhile True: time.sleep(60)")
    assert line.read() == {}
    code, said = line.end(0.05)
    assert (code, said) == (-9, "")
    other = start("print('{}')\nwhile True: time.sleep(60)")
    assert other.read() == {}
    other.kill()
    assert other.read() is None
    assert other.end()[0] == -9
