"""Events of a run: one line of JSON each, only ever appended.

Flow: the trainer's ``EventWriter`` appends to ``events.jsonl``; the window's tailer and the tests read it
through ``EventReader``, from any offset. A run's history is in this file and nowhere else.

The format: an object with ``v`` (version), ``kind``, ``time`` (seconds since the epoch) and the fields of its kind.
An incomplete last line is not read yet; an unknown kind is skipped and counted; non-finite numbers are the strings
"nan", "inf" and "-inf". The file may be untrusted: events have the declared types, invalid lines are skipped and
counted, and lines longer than `LONGEST_LINE` are not read.
"""

from __future__ import annotations

import errno
import json
import os
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import MISSING, dataclass, field, fields
from pathlib import Path
from typing import Any, BinaryIO, ClassVar, Literal, get_args

from core.spec.reading import MEGABYTE, excerpt, open_regular
from core.spec.run import event_fields
from core.spec.run.event_fields import EventError  # re-exported

EVENTS_VERSION = 1
LONGEST_LINE = 4 * MEGABYTE  # a sample of many captions has a few hundred kB
Outcome = Literal["done", "stopped", "paused"]
Level = Literal["info", "warning", "error"]


@dataclass(frozen=True, kw_only=True)
class Event:
    """The base of all events: when it was written, in seconds since the epoch."""

    kind: ClassVar[str] = ""
    time: float = field(default_factory=time.time)


@dataclass(frozen=True, kw_only=True)
class RunStarted(Event):
    """Training starts or resumes: earlier points after ``step`` are void and will be repeated."""

    kind: ClassVar[str] = "run_started"
    step: int
    total_steps: int
    config_digest: str
    device: str = ""
    precision: str = ""
    pairs: int = 0
    parameters: int = 0
    provenance: Mapping[str, Any] = field(default_factory=dict)  # see core.spec.run.provenance
    parent: Mapping[str, Any] = field(default_factory=dict)  # see core.spec.run.lineage


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
    """``name``: the checkpoint's folder under ``checkpoints/``; ``best``: whether it has the best validation so far.

    ``network``: the better validated network, "student" or "teacher"; "" if unknown.
    """

    kind: ClassVar[str] = "checkpoint_saved"
    step: int
    name: str
    best: bool = False
    network: str = ""


@dataclass(frozen=True, kw_only=True)
class Sample(Event):
    """Samples: ``what`` is "retrieval", "captions" or "logged", ``content`` plain data with images by path."""

    kind: ClassVar[str] = "sample"
    step: int
    what: str
    content: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Log(Event):
    """A message for the user: bad rows, a skipped step, a lower precision."""

    kind: ClassVar[str] = "log"
    level: Level
    message: str


@dataclass(frozen=True, kw_only=True)
class RunFinished(Event):
    """The trainer ended normally; ``stopped`` and ``paused`` runs saved their state and can be resumed."""

    kind: ClassVar[str] = "run_finished"
    step: int
    outcome: Outcome = "done"


@dataclass(frozen=True, kw_only=True)
class RunFailed(Event):
    """The trainer ended with an error: ``message`` is for the user, ``traceback`` for a bug report."""

    kind: ClassVar[str] = "run_failed"
    step: int
    error: str
    message: str
    traceback: str = ""


KINDS: dict[str, type[Event]] = {
    cls.kind: cls
    for cls in (RunStarted, Metrics, Evaluated, CheckpointSaved, Sample, Log, RunFinished, RunFailed)
}  # fmt: skip

_TYPES: dict[str, event_fields.Check] = {
    "int": event_fields.step,
    "float": event_fields.moment,
    "str": event_fields.text,
    "bool": event_fields.flag,
    "Mapping[str, float]": event_fields.numbers,
    "Mapping[str, Any]": event_fields.content,
    "Outcome": event_fields.one_of(get_args(Outcome)),
    "Level": event_fields.one_of(get_args(Level)),
}
_CHECKS = {kind: {f.name: _TYPES[str(f.type)] for f in fields(cls)} for kind, cls in KINDS.items()}
_REQUIRED = {
    kind: tuple(f.name for f in fields(cls) if f.default is MISSING and f.default_factory is MISSING)
    for kind, cls in KINDS.items()
}


_to_json = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode


def encode(event: Event) -> bytes:
    """One line of JSON, its newline included."""
    record = {"v": EVENTS_VERSION, "kind": event.kind, **vars(event)}
    try:
        text = _to_json(record)
    except ValueError:  # a non-finite number somewhere
        text = _to_json(event_fields.finite(record))
    # A lone surrogate (from an undecodable file name) cannot be UTF-8; show it escaped instead of failing.
    return text.encode("utf-8", "backslashreplace") + b"\n"


def decode(line: bytes) -> Event | None:
    """The event in a complete line, with validated fields; None for an unknown kind or version.

    Raises EventError for a line that is not an event.
    """
    record = _record(line)
    kind = record["kind"]
    cls = KINDS.get(kind)
    if cls is None or record.get("v") != EVENTS_VERSION:
        return None
    if cls in (Sample, RunStarted):
        event_fields.check_nesting(line)
    checks = _CHECKS[kind]
    try:
        return cls(**{name: check(record[name]) for name, check in checks.items() if name in record})
    except (EventError, TypeError) as error:
        raise EventError(f"{kind}: {_first_problem(record, checks, _REQUIRED[kind])}") from error


def _record(line: bytes) -> dict[str, Any]:
    if len(line) > LONGEST_LINE:
        raise EventError(_TOO_LONG)
    try:
        record = json.loads(line)
    except RecursionError as error:
        raise EventError("nested too deep") from error
    except ValueError as error:  # not JSON, not UTF-8, or a number of thousands of digits
        raise EventError(f"not JSON, or torn: {excerpt(line[:200].decode('utf-8', 'replace'), 60)}") from error
    if not isinstance(record, dict) or not isinstance(record.get("kind"), str):
        raise EventError(f"an event is an object with a kind, not {excerpt(line[:200].decode('utf-8', 'replace'), 60)}")
    return record


def _first_problem(
    record: Mapping[str, Any], checks: Mapping[str, event_fields.Check], required: tuple[str, ...]
) -> str:
    """The problem with the first invalid field."""
    for name, check in checks.items():
        if name not in record and name in required:
            return f"{name} is missing"
        try:
            if name in record:
                check(record[name])
        except EventError as error:
            return f"{name}: {error}"
    return "it cannot be read"


class EventWriter:
    """Appends complete lines, from any thread; a line is a single write, so that lines never mix."""

    def __init__(self, path: Path) -> None:
        """EventError when ``path`` is not a regular file or a link out of its folder; OSError when it is unwritable."""
        torn = _last_byte(path) not in (b"", b"\n")
        self._file: BinaryIO = path.open("ab", buffering=0)
        self._lock = threading.Lock()
        self._unwritten = b""
        if torn:  # terminates the incomplete line of a killed trainer, which readers skip
            self._file.write(b"\n")

    def write(self, event: Event) -> None:
        """Append ``event``; OSError when the disk is full or gone."""
        self.append(encode(event))

    def append(self, lines: bytes) -> None:
        """Append encoded events. OSError when the disk is full or gone: the next call then writes the rest first."""
        with self._lock:
            self._unwritten += lines
            while self._unwritten:
                self._unwritten = self._unwritten[self._file.write(self._unwritten) :]

    def sync(self) -> None:
        """Flush written events to disk."""
        os.fsync(self._file.fileno())

    def close(self) -> None:
        self._file.close()


def _last_byte(path: Path) -> bytes:
    """b"" for an empty or missing file."""
    try:
        with open_regular(path, root=path.parent, error=EventError) as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - 1))
            return file.read(1)
    except FileNotFoundError:
        return b""


_TOO_LONG = f"a line longer than {LONGEST_LINE // MEGABYTE} MB"


class EventReader:
    """Reads events appended since the last call.

    ``offset`` (bytes) may be saved and passed again. ``skipped`` counts unknown kinds and invalid lines, ``broken``
    only the latter; ``problem`` describes the first of them. ``naming``: skip lines without any of these strings, which
    takes a tenth of the time.
    """

    def __init__(self, path: Path, offset: int = 0, naming: Iterable[str] = ()) -> None:
        self.path = path
        self.offset = offset
        self._naming = [json.dumps(kind).encode() for kind in naming]
        self.skipped = 0
        self.broken = 0
        self.problem = ""

    def read(self, limit: int = 8 << 20) -> list[Event]:
        """Events in the complete lines among the next ``limit`` bytes; [] if there are none, or no file yet.

        Raises EventError when the file is not a regular file, is a link out of its folder, or cannot be read.
        """
        try:
            with open_regular(self.path, root=self.path.parent, error=EventError) as file:
                lines = self._next_lines(file, limit)
        except FileNotFoundError:
            return []
        except OSError as error:
            raise EventError(f"{excerpt(str(self.path))} cannot be read: {error.strerror or error}.") from error
        events, offset = [], self.offset
        self.offset += len(lines)
        for line in lines.split(b"\n"):
            if line.strip() and self._matches(line) and (event := self._event(line, offset)) is not None:
                events.append(event)
            offset += len(line) + 1
        return events

    def _matches(self, line: bytes) -> bool:
        return not self._naming or any(kind in line for kind in self._naming)

    def _event(self, line: bytes, offset: int) -> Event | None:
        try:
            event = decode(line)
        except EventError as error:
            self._count_broken(offset, str(error))
            return None
        self.skipped += event is None
        return event

    def _count_broken(self, offset: int, reason: str) -> None:
        self.skipped += 1
        self.broken += 1
        self.problem = self.problem or f"{excerpt(str(self.path))}, at byte {offset}: {reason}"

    def _next_lines(self, file: BinaryIO, limit: int) -> bytes:
        """The complete lines from ``offset`` on, after skipping the rest of a line that was too long."""
        file.seek(max(0, self.offset - 1))
        inside = self.offset > 0 and file.read(1) != b"\n"
        chunk = file.read(limit)
        if inside:
            end = chunk.find(b"\n") + 1
            if not end:
                self._skip(file, len(chunk))
                return b""
            self.offset += end
            chunk = chunk[end:]
        while chunk and b"\n" not in chunk and len(chunk) <= LONGEST_LINE and (more := file.read(limit)):
            chunk += more
        end_of_lines = chunk.rfind(b"\n") + 1
        if not end_of_lines and len(chunk) > LONGEST_LINE:
            self._count_broken(self.offset, _TOO_LONG)
            self._skip(file, len(chunk))
        return chunk[:end_of_lines]

    def _skip(self, file: BinaryIO, count: int) -> None:
        """Skip ``count`` bytes, and a following hole of a sparse file."""
        self.offset += count
        if not hasattr(os, "SEEK_DATA"):
            return
        size = os.fstat(file.fileno()).st_size
        try:
            self.offset = max(self.offset, os.lseek(file.fileno(), self.offset, os.SEEK_DATA))
        except OSError as error:
            if error.errno == errno.ENXIO:  # no data up to the end
                self.offset = max(self.offset, size)

    def read_all(self) -> list[Event]:
        """Every event up to the current end of the file."""
        events: list[Event] = []
        before = -1
        while self.offset != before:
            before = self.offset
            events.extend(self.read())
        return events


_BLOCK = MEGABYTE  # of an events file that is read from its end
_STARTS_AND_ENDINGS = tuple(json.dumps(event.kind).encode() for event in (RunStarted, RunFinished, RunFailed))


def lifecycle(path: Path) -> RunStarted | RunFinished | RunFailed | None:
    """The last start or end event of a file, or None. Raises EventError.

    Searches from the end, without decoding metrics.
    """
    try:
        with open_regular(path, root=path.parent, error=EventError) as file:
            return next((event for line in _from_the_end(file) if (event := _start_or_ending(line))), None)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise EventError(f"{excerpt(str(path))} cannot be read: {error.strerror or error}.") from error


def _start_or_ending(line: bytes) -> RunStarted | RunFinished | RunFailed | None:
    if not any(kind in line for kind in _STARTS_AND_ENDINGS):
        return None
    try:
        event = decode(line)
    except EventError:
        return None
    return event if isinstance(event, (RunStarted, RunFinished, RunFailed)) else None


def _from_the_end(file: BinaryIO) -> Iterator[bytes]:
    """Complete lines of ``file``, last first."""
    start, rest, torn = file.seek(0, os.SEEK_END), b"", True
    while start:
        end, start = start, max(0, start - _BLOCK)
        file.seek(start)
        rest, *lines = (file.read(end - start) + rest).split(b"\n")
        if torn and lines:
            lines.pop()
            torn = False
        yield from reversed(lines)
        if torn or len(rest) > LONGEST_LINE:
            rest = b""
    if not torn:
        yield rest
