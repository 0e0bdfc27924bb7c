"""Events of a run: an append-only file with one line of JSON per event.

Flow: the trainer's ``EventWriter`` appends to ``events.jsonl``; the window's follower and the tests read the file
through ``EventReader``, from any offset. A run's history is only in this file.

Each line is an object with ``v`` (version), ``kind``, ``time`` (seconds since the epoch) and the fields of its kind.
Non-finite numbers are the strings "NaN", "Infinity" and "-Infinity". An incomplete last line is not read yet. The file
may be untrusted: fields are validated; invalid lines, lines over `MAX_LINE_BYTES` and unknown kinds are skipped and
counted.
"""

from __future__ import annotations

import errno
import json
import os
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Annotated, Any, BinaryIO, ClassVar, Literal, get_args

from pydantic import AfterValidator, ConfigDict, Discriminator, Field, TypeAdapter, ValidationError
from pydantic_core import PydanticSerializationError, to_json

from core.spec.errors import UserError
from core.spec.reading import MEGABYTE, excerpt, first_problem, open_regular, out_of_bounds

EVENTS_VERSION: Literal[1] = 1
MAX_LINE_BYTES = 4 * MEGABYTE  # a sample with many captions has a few hundred kB
MAX_STEP = 1 << 53  # the largest step that float64 curves can represent
LATEST_TIME = 2.5e11  # seconds since the epoch (the year 9892); later times have no local time on some systems
MAX_VALUES = 2000  # metrics per event
MAX_NAME_LENGTH = 200  # length of a metric's name
Outcome = Literal["done", "stopped", "paused"]
Level = Literal["info", "warning", "error"]


class EventError(UserError):
    """A line that is not an event, or a file that is not an events file; the message names the problem."""


def _within_bounds(content: Any) -> Any:
    if problem := out_of_bounds(content):
        raise ValueError(problem)
    return content


Step = Annotated[int, Field(ge=0, le=MAX_STEP)]
Time = Annotated[float, Field(ge=0, le=LATEST_TIME)]
_Value = Annotated[float, Field(strict=False)]  # "NaN", "Infinity" and "-Infinity" are numbers too
Values = Annotated[Mapping[Annotated[str, Field(max_length=MAX_NAME_LENGTH)], _Value], Field(max_length=MAX_VALUES)]
Content = Annotated[Mapping[str, Any], AfterValidator(_within_bounds)]


@dataclass(frozen=True, kw_only=True)
class Event:
    """The base of all events. ``time``: when the event was written, in seconds since the epoch."""

    __pydantic_config__: ClassVar = ConfigDict(strict=True)
    v: Literal[1] = EVENTS_VERSION
    kind: str = ""
    time: Time = field(default_factory=time.time)


@dataclass(frozen=True, kw_only=True)
class RunStarted(Event):
    """Training starts or resumes. Earlier points after ``step`` are void, since these steps are repeated."""

    kind: Literal["run_started"] = "run_started"
    step: Step
    total_steps: Step
    config_digest: str
    device: str = ""
    precision: str = ""
    pairs: Step = 0
    parameters: Step = 0
    provenance: Content = field(default_factory=dict)  # see core.spec.run.provenance
    parent: Content = field(default_factory=dict)  # see core.spec.run.lineage


@dataclass(frozen=True, kw_only=True)
class Metrics(Event):
    """Training metrics after the optimiser step ``step`` (the first is 1): ``train/...`` and ``diag/...``."""

    kind: Literal["metrics"] = "metrics"
    step: Step
    values: Values


@dataclass(frozen=True, kw_only=True)
class Evaluated(Event):
    """Validation metrics after ``step``: ``val/student/...``, ``val/teacher/...``. Recalls are from 0 to 1."""

    kind: Literal["evaluated"] = "evaluated"
    step: Step
    values: Values


@dataclass(frozen=True, kw_only=True)
class CheckpointSaved(Event):
    """A checkpoint was saved. ``name``: its folder under ``checkpoints/``. ``best``: whether it is the best so far.

    ``network``: the network with the better validation, "student" or "teacher"; "" if unknown.
    """

    kind: Literal["checkpoint_saved"] = "checkpoint_saved"
    step: Step
    name: str
    best: bool = False
    network: str = ""


@dataclass(frozen=True, kw_only=True)
class Sample(Event):
    """Samples. ``what``: "retrieval", "captions" or "logged". ``content``: plain data that refers to images by path."""

    kind: Literal["sample"] = "sample"
    step: Step
    what: str
    content: Content


@dataclass(frozen=True, kw_only=True)
class Log(Event):
    """A message for the user: bad rows, a skipped step, a lower precision."""

    kind: Literal["log"] = "log"
    level: Level
    message: str


@dataclass(frozen=True, kw_only=True)
class RunFinished(Event):
    """The trainer ended normally. Stopped and paused runs have saved their state and can be resumed."""

    kind: Literal["run_finished"] = "run_finished"
    step: Step
    outcome: Outcome = "done"


@dataclass(frozen=True, kw_only=True)
class RunFailed(Event):
    """The trainer ended with an error. ``message`` is for the user, ``traceback`` for a bug report."""

    kind: Literal["run_failed"] = "run_failed"
    step: Step
    error: str
    message: str
    traceback: str = ""


_AnyEvent = RunStarted | Metrics | Evaluated | CheckpointSaved | Sample | Log | RunFinished | RunFailed
KINDS: dict[str, type[Event]] = {cls.kind: cls for cls in get_args(_AnyEvent)}


def encode(event: Event) -> bytes:
    """The event as one line of JSON, including the newline."""
    record = vars(event)
    try:
        line = to_json(record, inf_nan_mode="strings")  # takes an eighth of the time of json.dumps
    except PydanticSerializationError:  # a lone surrogate (from an undecodable file name), which becomes "?"
        text = json.dumps(record, ensure_ascii=False).encode("utf-8", "replace")
        line = to_json(json.loads(text), inf_nan_mode="strings")
    return line + b"\n"


@cache
def _reader() -> TypeAdapter[Event]:
    """The parser of events, built when the first event is read, since building takes long."""
    return TypeAdapter(Annotated[_AnyEvent, Discriminator("kind")])


def decode(line: bytes) -> Event | None:
    """The validated event in a complete line; None for an unknown kind or version.

    Raises EventError for a line that is not an event.
    """
    if len(line) > MAX_LINE_BYTES:
        raise EventError(_TOO_LONG)
    try:
        return _reader().validate_json(line)
    except ValidationError as problem:
        first = problem.errors(include_url=False, include_context=False)[0]
        is_unknown_kind = first["type"] == "union_tag_invalid" and isinstance(first["input"]["kind"], str)
        if is_unknown_kind or first["loc"][1:] == ("v",):
            return None
        if first["type"] == "json_invalid":
            raise EventError(f"invalid JSON: {excerpt(line[:200].decode('utf-8', 'replace'), 60)}") from problem
        raise EventError(first_problem(problem)) from problem


class EventWriter:
    """Appends events to a file, from any thread. Each line is a single write, so that lines never mix."""

    def __init__(self, path: Path) -> None:
        """Raises EventError if ``path`` is not a regular file in its folder, OSError if it cannot be written."""
        is_incomplete = _last_byte(path) not in (b"", b"\n")
        self._file: BinaryIO = path.open("ab", buffering=0)
        self._lock = threading.Lock()
        self._unwritten = b""
        if is_incomplete:  # terminate the incomplete line of a killed trainer, so that readers skip only this line
            self._file.write(b"\n")

    def write(self, event: Event) -> None:
        """Append ``event``. Raises OSError if the disk is full or disconnected."""
        self.append(encode(event))

    def append(self, lines: bytes) -> None:
        """Append encoded events. After an OSError, the next call first writes the part that is still unwritten."""
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
    """The last byte of a file; b"" for an empty or missing file."""
    try:
        with open_regular(path, root=path.parent, error=EventError) as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - 1))
            return file.read(1)
    except FileNotFoundError:
        return b""


_TOO_LONG = f"a line longer than {MAX_LINE_BYTES // MEGABYTE} MB"


class EventReader:
    """Reads the events that were appended since the last call.

    ``offset`` (bytes) may be saved for a later reader. ``broken`` counts invalid lines, ``skipped`` also unknown kinds;
    ``problem`` describes the first invalid line. ``containing``: read only lines that contain one of these JSON
    strings, such as a kind or a metric (faster).
    """

    def __init__(self, path: Path, offset: int = 0, containing: Iterable[str] = ()) -> None:
        self.path = path
        self.offset = offset
        self._containing = {
            json.dumps(text, ensure_ascii=is_ascii).encode("utf-8", "replace")  # "ö" may be written as "\u00f6"
            for text in containing
            for is_ascii in (False, True)
        }
        self.skipped = 0
        self.broken = 0
        self.problem = ""

    def read(self, limit: int = 8 << 20) -> list[Event]:
        """The events in the complete lines among the next ``limit`` bytes; [] if the file does not exist yet.

        Raises EventError if the file is not a regular file, is a link out of its folder, or cannot be read.
        """
        try:
            with open_regular(self.path, root=self.path.parent, error=EventError) as file:
                lines = self._next_lines(file, limit)
        except FileNotFoundError:
            return []
        except OSError as error:
            raise EventError(f"{self.path} cannot be read: {error.strerror or error}.") from error
        events, offset = [], self.offset
        self.offset += len(lines)
        for line in lines.split(b"\n"):
            is_wanted = any(text in line for text in self._containing) if self._containing else line.strip()
            if is_wanted and (event := self._event(line, offset)) is not None:
                events.append(event)
            offset += len(line) + 1
        return events

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
        self.problem = self.problem or f"{self.path}, at byte {offset}: {reason}"

    def _next_lines(self, file: BinaryIO, limit: int) -> bytes:
        """The complete lines from ``offset`` on, after the remainder of a line that was too long."""
        file.seek(max(0, self.offset - 1))
        is_inside_line = self.offset > 0 and file.read(1) != b"\n"
        chunk = file.read(limit)
        if is_inside_line:
            end = chunk.find(b"\n") + 1
            if not end:
                self._skip(file, len(chunk))
                return b""
            self.offset += end
            chunk = chunk[end:]
        while chunk and b"\n" not in chunk and len(chunk) <= MAX_LINE_BYTES and (next_chunk := file.read(limit)):
            chunk += next_chunk
        end_of_lines = chunk.rfind(b"\n") + 1
        if not end_of_lines and len(chunk) > MAX_LINE_BYTES:
            self._count_broken(self.offset, _TOO_LONG)
            self._skip(file, len(chunk))
        return chunk[:end_of_lines]

    def _skip(self, file: BinaryIO, count: int) -> None:
        """Skip ``count`` bytes, and a hole of a sparse file after them."""
        self.offset += count
        if not hasattr(os, "SEEK_DATA"):
            return
        size = os.fstat(file.fileno()).st_size
        try:
            self.offset = max(self.offset, os.lseek(file.fileno(), self.offset, os.SEEK_DATA))
        except OSError as error:
            if error.errno == errno.ENXIO:  # no data up to the end
                self.offset = max(self.offset, size)

    def __iter__(self) -> Iterator[Event]:
        """Every event up to the current end of the file."""
        before = -1
        while self.offset != before:
            before = self.offset
            yield from self.read()

    def read_all(self) -> list[Event]:
        """Every event up to the current end of the file."""
        return list(self)


_BLOCK_BYTES = MEGABYTE  # an events file is searched from its end in blocks of this size
_STARTS_AND_ENDINGS = tuple(json.dumps(event.kind).encode() for event in (RunStarted, RunFinished, RunFailed))


class Lifecycle:
    """Finds the last start or end event in a file; each read continues where the previous read stopped."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._offset = 0
        self.last: RunStarted | RunFinished | RunFailed | None = None

    def read(self) -> RunStarted | RunFinished | RunFailed | None:
        """The last start or end event, or None. Searches from the end, without decoding metrics. Raises EventError."""
        try:
            with open_regular(self._path, root=self._path.parent, error=EventError) as file:
                if file.seek(0, os.SEEK_END) < self._offset:  # the file was replaced
                    self._offset, self.last = 0, None
                self._search(file)
        except FileNotFoundError:
            self._offset, self.last = 0, None
        except OSError as error:
            raise EventError(f"{self._path} cannot be read: {error.strerror or error}.") from error
        return self.last

    def _search(self, file: BinaryIO) -> None:
        """Search the new lines in blocks from the end. ``rest``: the end of a line that begins in an earlier block."""
        start, rest, end_of_lines = file.seek(0, os.SEEK_END), b"", 0
        while start > self._offset:
            end, start = start, max(self._offset, start - _BLOCK_BYTES)
            file.seek(start)
            block = file.read(end - start) + rest
            if not end_of_lines:
                block = block[: block.rfind(b"\n") + 1]  # an incomplete last line is read later
                end_of_lines = start + len(block) if block else 0
            rest, *lines = block.split(b"\n")
            if start == self._offset:
                lines.insert(0, rest)
            event = next((event for line in reversed(lines) if (event := _start_or_ending(line))), None)
            if event is not None:
                self.last = event
                break
            if len(rest) > MAX_LINE_BYTES:
                rest = b""
        self._offset = end_of_lines or self._offset


def _start_or_ending(line: bytes) -> RunStarted | RunFinished | RunFailed | None:
    if not any(kind in line for kind in _STARTS_AND_ENDINGS):
        return None
    try:
        event = decode(line)
    except EventError:
        return None
    return event if isinstance(event, (RunStarted, RunFinished, RunFailed)) else None
