"""Results of readers: the runs in a file or folder, and the events of each run, part by part."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from core.spec.errors import UserError
from core.spec.reading import MEGABYTE, excerpt, open_regular
from core.spec.run.events import LATEST_TIME, MAX_NAME_LENGTH, MAX_STEP, MAX_VALUES, Event, Metrics

PART_BYTES = MEGABYTE  # approximate size of a part of a source, whose events take up to 100 times as much memory
MAX_NUMBERS = 50 * MAX_VALUES  # numbers in one entry of a log; more are left out
_MAX_ITEMS = 1_000_000  # approximate number of items in JSON; each uses up to 300 bytes of memory
_SAME_MOMENT = 0.01  # seconds: values of one step logged within this time become one event

Position = dict[str, Any]  # where reading continues; JSON


class ForeignError(UserError):
    """A source that cannot be imported; the message names the source and the remedy."""


class ReplacedError(Exception):
    """The source was replaced and must be imported again from its start."""


@dataclass(frozen=True)
class ForeignRun:
    """A run of another tool. ``root``: the folder that must contain its files. ``key``: its ID inside ``path``."""

    tool: str
    path: Path
    root: Path
    name: str
    project: str
    key: str = ""


@dataclass
class Part:
    """Events of a run since the previous part.

    ``config``: new key-value pairs. ``state``: "running", "done", "stopped" or "failed"; "" if the tool does not say.
    ``problems``: what was skipped, such as "corrupted records in FILE" -> how often.
    """

    position: Position = field(default_factory=dict)
    events: list[Event] = field(default_factory=list)
    config: dict[str, Any] = field(default_factory=dict)
    name: str = ""
    project: str = ""
    tags: list[str] = field(default_factory=list)
    started: float | None = None  # seconds since the epoch
    ended: float | None = None
    state: str = ""
    problems: Counter[str] = field(default_factory=Counter)

    def add_number(self, step: int, time: float, name: str, number: float) -> None:
        """``add`` for one number, faster when it belongs to the last event; ``name`` has a valid length."""
        last = self.events[-1] if self.events else None
        if (
            isinstance(last, Metrics)
            and last.step == step
            and -_SAME_MOMENT < last.time - time < _SAME_MOMENT
            and name not in last.values
            and len(last.values) < MAX_VALUES
        ):
            last.values[name] = number  # type: ignore[index]  # a dict, created below
        else:
            self.add(step, time, {name: number})

    def add(self, step: object, time: float, values: Mapping[str, object]) -> None:
        """Add metrics. Skips values that are not numbers; counts steps and names that an event cannot contain."""
        if {*map(type, values.values())} == {float}:  # the usual case, which saves a third of the time
            numbers: dict[str, float] = dict(values)  # type: ignore[arg-type]
        else:
            numbers = {name: number for name, value in values.items() if (number := as_number(value)) is not None}
        valid_step = step if type(step) is int and 0 <= step <= MAX_STEP else as_step(step)
        if valid_step is None or not 0 <= time <= LATEST_TIME:
            self.problems["points without a valid step and time"] += 1
            return
        for name in [name for name in numbers if not 0 < len(name) <= MAX_NAME_LENGTH]:
            del numbers[name]
            self.problems[f"values whose name is not 1 to {MAX_NAME_LENGTH} characters long"] += 1
        last = self.events[-1] if self.events else None
        if (
            isinstance(last, Metrics)
            and last.step == valid_step
            and abs(last.time - time) < _SAME_MOMENT
            and len(last.values) + len(numbers) <= MAX_VALUES
            and numbers.keys().isdisjoint(last.values)
        ):
            last.values.update(numbers)  # type: ignore[attr-defined]  # a dict, created below
            return
        items = list(numbers.items())
        for start in range(0, len(items), MAX_VALUES):
            self.events.append(Metrics(step=valid_step, time=time, values=dict(items[start : start + MAX_VALUES])))


class Reader(Protocol):
    """A module of this package that reads the files of one tool."""

    TOOL: str

    def find(self, folder: Path, files: set[str], root: Path) -> list[ForeignRun]:
        """The runs in ``folder``, which contains ``files``. Subfolders are searched separately."""
        ...

    def read(self, run: ForeignRun, position: Position) -> Iterator[Part]:
        """The records after ``position`` ({}: all records). Raises ReplacedError, UserError, OSError."""
        ...


def as_number(value: object) -> float | None:
    """A number as float; None for anything else, including booleans, text and integers above a float's maximum."""
    try:
        return float(value) if isinstance(value, (float, int)) and not isinstance(value, bool) else None
    except OverflowError:
        return None


def as_step(value: object) -> int | None:
    """A whole number from 0 to 2^53; None for anything else."""
    number = as_number(value)
    if number is None or not math.isfinite(number) or number != int(number) or not 0 <= number <= MAX_STEP:
        return None
    return int(number)


def lenient_json(content: bytes | str) -> Any:
    """``content`` as JSON, in which NaN and Infinity are numbers; None if it is not JSON or has too many items."""
    marks: Any = (b",", b"[", b"{") if isinstance(content, bytes) else (",", "[", "{")
    if len(content) > _MAX_ITEMS and sum(content.count(mark) for mark in marks) > _MAX_ITEMS:
        return None
    try:
        return json.loads(content)
    except (ValueError, RecursionError):
        return None


def flat_numbers(values: Mapping[str, Any], prefix: str = "", depth: int = 8) -> Iterator[tuple[str, float]]:
    """The numbers in nested mappings. Names are joined by "/" and cut one character above a metric's maximum length."""
    for name, value in values.items():
        path = f"{prefix}{name}"[: MAX_NAME_LENGTH + 1]
        if isinstance(value, Mapping) and depth and "_type" not in value:
            yield from flat_numbers(value, f"{path}/", depth - 1)
        elif (number := as_number(value)) is not None:
            yield path, number


def new_lines(path: Path, root: Path, offset: int) -> Iterator[tuple[list[bytes], int]]:
    """The complete lines after ``offset``, and the offset after them, about `PART_BYTES` at a time.

    Lines longer than a part are skipped. Raises ReplacedError if the file is shorter than ``offset``.
    """
    with open_regular(path, root=root, error=ForeignError) as file:
        if file.seek(0, 2) < offset:
            raise ReplacedError
        file.seek(offset)
        too_long = False
        while chunk := file.read(PART_BYTES):
            end = chunk.rfind(b"\n") + 1
            if not end:
                if len(chunk) < PART_BYTES:
                    return
                too_long = True
                offset += len(chunk)
                continue
            lines = chunk[:end].split(b"\n")[int(too_long) : -1]
            too_long = False
            offset += end
            file.seek(offset)
            yield [line.rstrip(b"\r") for line in lines], offset


def small_text(path: Path, root: Path, limit: int = MEGABYTE) -> str:
    """The first ``limit`` bytes of a text file, decoded leniently; "" if it does not exist."""
    try:
        with open_regular(path, root=root, error=ForeignError) as file:
            return file.read(limit).decode("utf-8", "replace")
    except FileNotFoundError:
        return ""


def plain_values(text: str) -> dict[str, Any]:
    """Parse lines ``name: value``, such as flat YAML. A value that is JSON is decoded."""
    values: dict[str, Any] = {}
    for line in text.splitlines():
        name, colon, value = line.partition(":")
        if colon and name.strip() and not name[0].isspace() and name[0] not in "#-{[":
            plain = value.strip()
            decoded = lenient_json(plain) if len(plain) < 10_000 else None
            values[name.strip()] = plain.strip("'\"") if decoded is None else decoded
    return values


def as_text(name: str) -> str:
    """A file's name or path as text for JSON; bytes that are not UTF-8 become escapes."""
    return name.encode("utf-8", "backslashreplace").decode()


def named_after(folder: Path, root: Path) -> tuple[str, str]:
    """The name and project of a run in ``folder``: the path below ``root``, and the name of ``root``."""
    relative = folder.relative_to(root)
    name = relative.as_posix() if relative.parts else folder.name
    return excerpt(name, 200) or "run", excerpt(root.name, 200) or "imported"
