"""The event log: round trips, partial lines, unknown kinds and non-finite numbers."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.spec.run.events import (
    CheckpointSaved,
    Event,
    EventReader,
    EventWriter,
    Log,
    Metrics,
    RunFailed,
    RunFinished,
    RunStarted,
    decode,
    encode,
)

names = st.text(min_size=1, max_size=20)
values = st.dictionaries(names, st.floats(), max_size=5)
steps = st.integers(0, 2**53)
events = st.one_of(
    st.builds(Metrics, step=steps, values=values),
    st.builds(RunStarted, step=steps, total_steps=steps, config_digest=names),
    st.builds(CheckpointSaved, step=steps, name=names, best=st.booleans()),
    st.builds(Log, level=st.sampled_from(["info", "warning", "error"]), message=st.text()),
    st.builds(RunFinished, step=steps, outcome=st.sampled_from(["done", "stopped", "paused"])),
    st.builds(RunFailed, step=steps, error=names, message=st.text(), traceback=st.text()),
)


def same(left: Event | None, right: Event) -> bool:
    """Equality with nan equal to nan."""
    return repr(left) == repr(right)


@given(events)
def test_an_event_round_trips(event: Event) -> None:
    line = encode(event)
    assert line.count(b"\n") == 1
    assert line.endswith(b"\n")
    assert same(decode(line), event) or "\\ud" in line.decode()  # a lone surrogate comes back escaped


@given(st.lists(events, max_size=8), st.lists(st.integers(0, 400), max_size=6))
def test_reading_in_any_chunks_gives_the_same_events(
    tmp_path_factory: pytest.TempPathFactory, log: list[Event], cuts: list[int]
) -> None:
    path = tmp_path_factory.mktemp("log") / "events.jsonl"
    whole = b"".join(map(encode, log))
    reader = EventReader(path)
    seen: list[Event] = []
    for end in sorted({min(cut, len(whole)) for cut in cuts} | {len(whole)}):
        path.write_bytes(whole[:end])
        seen.extend(reader.read())
    assert [encode(e) for e in seen] == [encode(e) for e in log]
    assert reader.offset == len(whole)
    assert reader.skipped == 0


def test_non_finite_numbers_are_quoted() -> None:
    line = encode(Metrics(step=1, values={"a": math.nan, "b": math.inf, "c": -math.inf}))
    record = json.loads(line, parse_constant=lambda text: pytest.fail(f"bare {text}"))
    assert record["values"] == {"a": "NaN", "b": "Infinity", "c": "-Infinity"}
    event = decode(line)
    assert isinstance(event, Metrics)
    assert math.isnan(event.values["a"])
    assert event.values["b"] == math.inf
    integer = decode(b'{"v":1,"kind":"metrics","time":1,"step":1,"values":{"a":3}}')
    assert isinstance(integer, Metrics)
    assert repr(dict(integer.values)) == "{'a': 3.0}"


def test_lines_that_contain_a_name_are_found_however_it_is_escaped(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    line = encode(Metrics(step=1, values={"größe": 1.0}))
    path.write_bytes(line + line.decode().encode("ascii", "backslashreplace").replace(rb"\x", rb"\u00"))
    path.write_bytes(path.read_bytes() + encode(Metrics(step=2, values={"other": 1.0})))
    assert [event.values for event in EventReader(path, containing=["größe"]) if isinstance(event, Metrics)] == [
        {"größe": 1.0}, {"größe": 1.0},
    ]  # fmt: skip


def test_readers_skip_the_half_line_of_a_killed_writer(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    path.write_bytes(encode(Log(level="info", message="a")) + b'{"v":1,"kind":"lo')
    writer = EventWriter(path)
    writer.write(Log(level="info", message="after the kill"))
    writer.close()
    reader = EventReader(path)
    assert [event.message for event in reader.read_all() if isinstance(event, Log)] == ["a", "after the kill"]
    assert reader.skipped == 1


def test_an_unknown_field_of_a_known_kind_is_ignored() -> None:
    event = decode(b'{"v":1,"kind":"log","time":1.5,"level":"info","message":"x","new":3}')
    assert event == Log(level="info", message="x", time=1.5)
