"""Reading events from untrusted files: invalid lines are skipped, counted and reported, in bounded time and memory."""

from __future__ import annotations

import os
import tracemalloc
from pathlib import Path
from typing import Any

import pytest

from core.spec.run import events
from core.spec.run.events import (
    MAX_LINE_BYTES,
    MAX_VALUES,
    Event,
    EventError,
    EventReader,
    EventWriter,
    Lifecycle,
    Log,
    Metrics,
    RunFinished,
    RunStarted,
    decode,
    encode,
)
from tests.core.spec.run.hostile_events import HOSTILE_LINES

GOOD = encode(Log(level="info", message="good"))


def messages(found: list[Event]) -> list[str]:
    return [event.message for event in found if isinstance(event, Log)]


@pytest.mark.parametrize("line", HOSTILE_LINES, ids=range(len(HOSTILE_LINES)))
def test_a_malformed_event_is_skipped_and_named(tmp_path: Path, line: bytes) -> None:
    with pytest.raises(EventError):
        decode(line)
    path = tmp_path / "events.jsonl"
    path.write_bytes(GOOD + line + b"\n" + GOOD)
    reader = EventReader(path)
    assert messages(reader.read_all()) == ["good", "good"]
    assert (reader.skipped, reader.broken) == (1, 1)
    assert reader.problem.startswith(f"{path}, at byte {len(GOOD)}: ")
    assert len(reader.problem) < len(str(path)) + 600


def test_the_problem_names_the_field_and_its_value(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    path.write_bytes(HOSTILE_LINES[0] + b"\n" + HOSTILE_LINES[7] + b"\n")
    reader = EventReader(path)
    assert reader.read() == []
    assert reader.problem == f"{path}, at byte 0: metrics.values.train/loss: Input should be a valid number, not None."
    with pytest.raises(EventError, match=r"metrics\.step: Input should be a valid integer, not 1"):
        decode(HOSTILE_LINES[7])
    with pytest.raises(EventError, match=r"run_finished\.outcome: .* 'done', 'stopped' or 'paused', not exploded"):
        decode(HOSTILE_LINES[19])
    with pytest.raises(EventError, match=r"run_started\.total_steps: Field required"):
        decode(b'{"v":1,"kind":"run_started","time":1.0,"step":0,"config_digest":""}')


@pytest.mark.parametrize(
    "line",
    [b'{"v":1,"kind":"from_the_future","time":1}\n', b'{"v":2,"kind":"log","time":1,"level":"info"}\n'],
)
def test_unknown_kinds_and_versions_are_not_malformed(tmp_path: Path, line: bytes) -> None:
    path = tmp_path / "events.jsonl"
    path.write_bytes(line)
    reader = EventReader(path)
    reader.read()
    assert (reader.skipped, reader.broken, reader.problem) == (1, 0, "")


def test_an_event_with_too_many_metrics_is_skipped() -> None:
    most = {f"m{number}": 1.0 for number in range(MAX_VALUES)}
    assert decode(encode(Metrics(step=1, values=most))) is not None
    with pytest.raises(EventError, match="values: Dictionary should have at most 2000 items"):
        decode(encode(Metrics(step=1, values={**most, "one more": 1.0})))


@pytest.mark.parametrize("limit", [1 << 18, 8 << 20])
def test_an_overlong_line_is_skipped(tmp_path: Path, limit: int) -> None:
    path = tmp_path / "events.jsonl"
    path.write_bytes(GOOD + b"x" * (3 * MAX_LINE_BYTES) + b"\n" + GOOD + b"torn")
    reader, found = EventReader(path), []
    assert EventReader(tmp_path / "none").read() == []
    for _ in range(100):
        found.extend(reader.read(limit))
    assert messages(found) == ["good", "good"]
    assert reader.broken == 1
    assert "a line longer than 4 MB" in reader.problem
    assert reader.offset == path.stat().st_size - len(b"torn")


def test_a_skipped_line_is_not_resumed_in_the_middle(tmp_path: Path) -> None:
    """Its remainder may look like an event; it is skipped when reading starts within the line."""
    path = tmp_path / "events.jsonl"
    path.write_bytes(b"x" * 100 + GOOD + GOOD)
    reader = EventReader(path, offset=100)
    assert messages(reader.read_all()) == ["good"]


def test_an_endless_tail_takes_neither_time_nor_memory(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    path.write_bytes(GOOD)
    os.truncate(path, 3 << 30)
    reader, reads = EventReader(path), 0
    tracemalloc.start()
    before = -1
    found: list[Event] = []
    while reader.offset != before:
        before, reads = reader.offset, reads + 1
        found.extend(reader.read())
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert messages(found) == ["good"]
    assert peak < 64 << 20
    assert reader.offset == 3 << 30
    if hasattr(os, "SEEK_DATA"):
        assert reads < 5, "the hole is skipped"
    with path.open("ab") as file:  # and what comes after it is read
        file.write(b"\n" + GOOD)
    assert messages(reader.read_all()) == ["good"]


def test_an_endless_device_a_pipe_and_a_folder_are_refused(tmp_path: Path) -> None:
    (tmp_path / "endless").symlink_to("/dev/urandom")
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    for name, what in (("endless", "a device"), ("pipe", "a named pipe"), ("folder", "a folder")):
        with pytest.raises(EventError, match=f"{name} is {what}, not a file"):
            EventReader(tmp_path / name).read()
        with pytest.raises(EventError, match=f"{name} is {what}, not a file"):
            EventWriter(tmp_path / name)


def test_a_link_out_of_the_run_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "precious").write_bytes(GOOD)
    run = tmp_path / "run"
    run.mkdir()
    (run / "events.jsonl").symlink_to(tmp_path / "precious")
    for use in (lambda: EventReader(run / "events.jsonl").read(), lambda: EventWriter(run / "events.jsonl")):
        with pytest.raises(EventError, match=r"is a link out of .*run; replace it with the file itself"):
            use()
    assert (tmp_path / "precious").read_bytes() == GOOD


def test_the_last_start_or_end_is_found_without_keeping_the_rest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "events.jsonl"
    assert Lifecycle(path).read() is None
    started, finished = RunStarted(step=0, total_steps=2, config_digest="d"), RunFinished(step=2)
    path.write_bytes(b"".join(map(encode, (started, Log(level="info", message="x"), finished))))
    assert Lifecycle(path).read() == finished
    with path.open("ab") as file:
        file.write(encode(started) + b"\n".join(line for line in HOSTILE_LINES if len(line) < 1000) + b"\n" + GOOD)
    for block in (1, 7, 200):
        monkeypatch.setattr(events, "_BLOCK_BYTES", block)
        assert Lifecycle(path).read() == started


def test_the_last_start_is_found_without_decoding_the_metrics_before_and_after(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, started = tmp_path / "events.jsonl", RunStarted(step=5, total_steps=9, config_digest="d")
    metrics = b"".join(encode(Metrics(step=step, values={"train/loss": 1.0})) for step in range(3000))
    path.write_bytes(encode(RunStarted(step=0, total_steps=9, config_digest="d")) + metrics + encode(started) + metrics)
    decoded: list[bytes] = []

    def counted(line: bytes) -> Any:
        decoded.append(line)
        return decode(line)

    monkeypatch.setattr(events, "decode", counted)
    monkeypatch.setattr(events, "_BLOCK_BYTES", 10_000)
    assert Lifecycle(path).read() == started
    assert len(decoded) == 1


def test_the_last_lifecycle_event_is_updated(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    lifecycle = Lifecycle(path)
    assert lifecycle.read() is None
    started, finished = RunStarted(step=0, total_steps=9, config_digest="d"), RunFinished(step=5)
    log = Log(level="info", message='a line with "kind":"run_failed" in it')
    first_lines, last_line = encode(started) + encode(log), encode(finished)
    path.write_bytes(first_lines)
    assert lifecycle.read() == started
    with path.open("ab") as file:
        file.write(last_line[:-9])
        file.flush()
        assert lifecycle.read() == started, "an incomplete line waits"
        file.write(last_line[-9:])
        file.flush()
        assert lifecycle.read() == finished
        file.write(b'{"kind":"run_started"}\n')
        file.flush()
        assert lifecycle.read() == finished, "invalid lines change nothing"
    path.write_bytes(first_lines)
    assert lifecycle.read() == started, "a shorter file is read from its beginning"
    path.unlink()
    assert lifecycle.read() is None
    path.write_bytes(last_line)
    assert lifecycle.read() == finished
