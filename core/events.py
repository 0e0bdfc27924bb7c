"""What a run reports: one line of JSON per event, only ever appended.

Flow: the trainer's ``EventWriter`` appends to ``events.jsonl``; the window's tailer and the tests read it
through ``EventReader``, from any offset. Everything about a run's past is in this file and nowhere else.

The format: an object with ``v`` (version), ``kind``, ``time`` (seconds since the epoch) and the kind's own fields.
A torn last line waits for its end; an unknown kind is skipped and counted; numbers that JSON cannot hold are
the strings "nan", "inf" and "-inf".
"""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, BinaryIO, ClassVar, Literal

EVENTS_VERSION = 1
Outcome = Literal["done", "stopped", "paused"]


@dataclass(frozen=True, kw_only=True)
class Event:
    """What every event has: when it was written, in seconds since the epoch."""

    kind: ClassVar[str] = ""
    time: float = field(default_factory=time.time)


@dataclass(frozen=True, kw_only=True)
class RunStarted(Event):
    """Training begins, or goes on: points after ``step`` from an earlier start are void and will come again."""

    kind: ClassVar[str] = "run_started"
    step: int
    total_steps: int
    config_digest: str
    device: str = ""
    precision: str = ""
    pairs: int = 0
    parameters: int = 0


@dataclass(frozen=True, kw_only=True)
class Metrics(Event):
    """Training values after optimiser step ``step`` (the first is 1): ``train/...`` and ``diag/...``."""

    kind: ClassVar[str] = "metrics"
    step: int
    values: Mapping[str, float]


@dataclass(frozen=True, kw_only=True)
class Evaluated(Event):
    """Validation values of the weights after ``step``: ``val/student/...``, ``val/teacher/...``; recalls are 0 to 1."""

    kind: ClassVar[str] = "evaluated"
    step: int
    values: Mapping[str, float]


@dataclass(frozen=True, kw_only=True)
class CheckpointSaved(Event):
    """``name`` is the checkpoint's folder under ``checkpoints/``; ``best`` when it leads by validation so far.

    ``network``: which of its networks was validated better, "student" or "teacher"; "" where that is not known.
    """

    kind: ClassVar[str] = "checkpoint_saved"
    step: int
    name: str
    best: bool = False
    network: str = ""


@dataclass(frozen=True, kw_only=True)
class Sample(Event):
    """Something to look at: ``what`` names the sort, ``content`` is plain data with pictures by path."""

    kind: ClassVar[str] = "sample"
    step: int
    what: str
    content: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Log(Event):
    """A sentence for the person who watches: bad rows, a skipped step, a lower precision."""

    kind: ClassVar[str] = "log"
    level: Literal["info", "warning", "error"]
    message: str


@dataclass(frozen=True, kw_only=True)
class RunFinished(Event):
    """The trainer ended of its own will; ``stopped`` and ``paused`` runs saved their state and can go on."""

    kind: ClassVar[str] = "run_finished"
    step: int
    outcome: Outcome = "done"


@dataclass(frozen=True, kw_only=True)
class RunFailed(Event):
    """The trainer ended on an error: ``message`` is for the user, ``traceback`` for a bug report."""

    kind: ClassVar[str] = "run_failed"
    step: int
    error: str
    message: str
    traceback: str = ""


KINDS: dict[str, type[Event]] = {
    cls.kind: cls
    for cls in (RunStarted, Metrics, Evaluated, CheckpointSaved, Sample, Log, RunFinished, RunFailed)
}  # fmt: skip


def encode(event: Event) -> bytes:
    """One line of JSON, its newline included."""
    record = {"v": EVENTS_VERSION, "kind": event.kind, **asdict(event)}
    try:
        text = json.dumps(record, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    except ValueError:  # a non-finite number somewhere
        text = json.dumps(_finite(record), ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    # A lone surrogate (from an undecodable file name) cannot be UTF-8; show it escaped instead of failing.
    return text.encode("utf-8", "backslashreplace") + b"\n"


def decode(line: bytes) -> Event | None:
    """The event in a whole line; None for an unknown kind or a later version's.

    Raises ValueError for a line that is not an event at all.
    """
    record = json.loads(line)
    if not isinstance(record, dict) or not isinstance(record.get("kind"), str):
        raise ValueError("not an event")
    cls = KINDS.get(record["kind"])
    if cls is None or record.get("v") != EVENTS_VERSION:
        return None
    known = {f.name for f in fields(cls)}
    values = {name: value for name, value in record.items() if name in known}
    if "values" in values:
        values["values"] = _numbers(values["values"])
    try:
        return cls(**values)
    except TypeError as error:  # a required field is missing
        raise ValueError(str(error)) from error


def _finite(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return "nan" if math.isnan(value) else ("inf" if value > 0 else "-inf")
    if isinstance(value, Mapping):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(item) for item in value]
    return value


def _numbers(values: Any) -> dict[str, float]:
    if not isinstance(values, dict):
        raise ValueError("values is not an object")
    return {name: float(value) for name, value in values.items()}


class EventWriter:
    """Appends whole lines; a line is one write, so a reader never sees two mixed."""

    def __init__(self, path: Path) -> None:
        torn = path.exists() and path.stat().st_size > 0 and _last_byte(path) != b"\n"
        self._file: BinaryIO = path.open("ab", buffering=0)
        if torn:  # a killed trainer's half line becomes a line of its own, which readers skip
            self._file.write(b"\n")

    def write(self, event: Event) -> None:
        """Append ``event``; OSError when the disk is full or gone."""
        line = memoryview(encode(event))
        while line:
            line = line[self._file.write(line) :]

    def sync(self) -> None:
        """Make what was written survive a power cut."""
        os.fsync(self._file.fileno())

    def close(self) -> None:
        self._file.close()


def _last_byte(path: Path) -> bytes:
    with path.open("rb") as file:
        file.seek(-1, os.SEEK_END)
        return file.read(1)


class EventReader:
    """Reads what was appended since last time.

    ``offset`` (bytes) may be saved and given back; ``skipped`` counts unknown kinds and lines that are no events.
    """

    def __init__(self, path: Path, offset: int = 0) -> None:
        self.path = path
        self.offset = offset
        self.skipped = 0

    def read(self, limit: int = 8 << 20) -> list[Event]:
        """Events of the whole lines among the next ``limit`` bytes; [] when there is nothing new or no file yet."""
        try:
            with self.path.open("rb") as file:
                file.seek(self.offset)
                chunk = file.read(limit)
                while chunk and b"\n" not in chunk and (more := file.read(limit)):
                    chunk += more
        except FileNotFoundError:
            return []
        whole = chunk.rfind(b"\n") + 1
        self.offset += whole
        events = []
        for line in chunk[:whole].split(b"\n"):
            if not line.strip():
                continue
            try:
                event = decode(line)
            except (ValueError, RecursionError):
                event = None
            if event is None:
                self.skipped += 1
            else:
                events.append(event)
        return events

    def read_all(self) -> list[Event]:
        """Every event up to the end of the file as it is now."""
        events: list[Event] = []
        before = -1
        while self.offset != before:
            before = self.offset
            events.extend(self.read())
        return events
