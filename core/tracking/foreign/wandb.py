"""Reads W&B's runs from ``run-ID.wandb``, which each offline or online run writes.

The file is a log of LevelDB (https://github.com/google/leveldb/blob/main/doc/log_format.md) with a header of 7 bytes
and zlib's CRC-32; each record is a ``wandb_internal.Record`` (wandb/proto/wandb_internal.proto). History, system
metrics, config, name, project, tags and the exit code are imported; media and console output are not.
"""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from functools import lru_cache
from itertools import islice
from pathlib import Path
from typing import Any

from pydantic_core import from_json

from core.spec.reading import excerpt, open_regular
from core.spec.run.events import Metrics
from core.tracking.foreign.runs import (
    MAX_NUMBERS,
    PART_BYTES,
    ForeignError,
    ForeignRun,
    Part,
    Position,
    ReplacedError,
    as_number,
    flat_numbers,
    lenient_json,
)
from core.tracking.foreign.wire import WireError, content, fields, text, to_signed

TOOL = "W&B"
_MAGIC = b":W&B\xe1\xbe\x00"
_BLOCK = 32768
_HEADER = struct.Struct("<IHB")
_FULL, _FIRST, _MIDDLE, _LAST = 1, 2, 3, 4
_MAX_RECORD_BYTES = PART_BYTES  # longer records contain no metrics
_FIRST_RECORDS = 10  # one of them describes the run
# Splits at items of up to 127 bytes whose value is a number: other bytes, the item's size, its keys, the number, ...
# The maximum sizes bound the search.
_short_numbers = re.compile(
    rb"\n([\x00-\x7f])([\n\x12][^\x82]{1,121}+)\x82\x01[\x01-\x7f](-?(?:[0-9][-+.0-9eE]{,99}+|NaN|Infinity))"
).split
_starts_with_summary = re.compile(rb"\x08[\x80-\xff]*[\x00-\x7f]\x1a").match  # the record's number, then field 3
_KINDS = [zlib.crc32(bytes([kind])) for kind in range(5)]


def find(folder: Path, files: set[str], root: Path) -> list[ForeignRun]:
    """The runs whose ``.wandb`` files are in ``folder``."""
    runs = []
    for name in sorted(name for name in files if name.endswith(".wandb")):
        try:
            with open_regular(folder / name, root=root, error=ForeignError) as file:
                is_wandb = file.read(len(_MAGIC)) == _MAGIC
        except (OSError, ForeignError):
            continue
        if is_wandb:
            run_id = name.removesuffix(".wandb").removeprefix("run-")
            runs.append(_with_description(ForeignRun(TOOL, folder / name, root, run_id or "run", "wandb")))
    return runs


def _with_description(run: ForeignRun) -> ForeignRun:
    """``run`` with the name and project in its first records."""
    part = Part()
    with suppress(WireError, OSError, ForeignError):
        for record, _, _ in islice(_records(run.path, run.root, len(_MAGIC)), _FIRST_RECORDS):
            _add_record(record, part)
    return replace(run, name=excerpt(part.name or run.name, 200), project=excerpt(part.project or run.project, 200))


def read(run: ForeignRun, position: Position) -> Iterator[Part]:
    """Everything from ``position`` on. An incomplete record at the end is read later."""
    part = Part(position=dict(position), state="" if position else "running")
    offset = start = position.get("offset", len(_MAGIC))
    problem = f"corrupted records in {excerpt(run.path.name)}"
    for record, offset, broken in _records(run.path, run.root, start):
        if broken:
            part.problems[problem] += broken
        try:
            _add_record(record, part)
        except WireError:
            part.problems[problem] += 1
        if offset - start > PART_BYTES:
            part.position = {"offset": offset, "step": _last_step(part)}
            yield part
            part, start = Part(position=dict(part.position)), offset
    part.position = {"offset": offset, "step": _last_step(part)}
    yield part


def _last_step(part: Part) -> int:
    return next((e.step for e in reversed(part.events) if isinstance(e, Metrics)), part.position.get("step", 0))


def _records(path: Path, root: Path, offset: int) -> Iterator[tuple[bytes, int, int]]:
    """Each record, the offset after it, and the number of corrupted records skipped before it."""
    with open_regular(path, root=root, error=ForeignError) as file:
        if file.seek(0, 2) < offset:
            raise ReplacedError
        pieces: list[bytes] | None = None  # the pieces of a record that spans blocks
        broken = 0
        while True:
            file.seek(offset)
            block = file.read(_BLOCK - offset % _BLOCK)
            is_whole = len(block) == _BLOCK - offset % _BLOCK
            start, cursor = offset, 0
            while cursor + _HEADER.size <= len(block):
                crc, length, kind = _HEADER.unpack_from(block, cursor)
                end = cursor + _HEADER.size + length
                if end > len(block) and not is_whole:
                    return  # an incomplete record
                data = block[cursor + _HEADER.size : end]
                if end > len(block) or not _FULL <= kind <= _LAST or zlib.crc32(data, _KINDS[kind]) != crc:
                    if not is_whole and not any(block[cursor:]):
                        return  # zeros that a crash left
                    broken, pieces = broken + 1, None
                    break  # the rest of the block cannot be trusted
                cursor = end
                if kind == _FULL:
                    yield data, start + cursor, broken
                    broken, pieces = 0, None
                    continue
                if kind == _FIRST:
                    pieces = []
                if pieces is not None:
                    pieces.append(data)
                    if len(pieces) * _BLOCK > _MAX_RECORD_BYTES:
                        broken, pieces = broken + 1, None
                if kind == _LAST and pieces is not None:
                    yield b"".join(pieces), start + cursor, broken
                    broken, pieces = 0, None
            if not is_whole:
                return
            offset = start + len(block)


def _add_record(data: bytes, part: Part) -> None:
    if _starts_with_summary(data):  # half of all bytes; summaries repeat the last values of the history
        return
    for number, value in fields(data):
        if number == 2:
            _add_history(content(value), part)
        elif number == 5:
            part.config |= _config(content(value))
        elif number == 7:
            _add_stats(content(value), part)
        elif number == 17:
            _add_run(content(value), part)
        elif number == 18:
            code = dict(fields(content(value))).get(1, 0)
            part.state = "failed" if code else "done"


def _items(data: bytes, repeated: int = 1) -> Iterator[tuple[list[str], Any]]:
    """Keys and value of each ``ConfigItem`` or ``StatsItem``."""
    for number, item in fields(data):
        if number == repeated:
            keys, value = _item(content(item))
            yield keys, lenient_json(value)


def _item(data: bytes) -> tuple[list[str], bytes]:
    """The key, or the nested keys, of an item, and its value as JSON."""
    key, nested, value = "", [], b""
    for number, raw in fields(data):
        if number == 1:
            key = text(raw)
        elif number == 2:
            nested.append(text(raw))
        elif number == 16:
            value = content(raw)
    return nested or [key], value


def _add_history(data: bytes, part: Part) -> None:
    """Add the values of a call of ``run.log``. Nested names are joined by "/"; media are left out."""
    values, rest = _plain_numbers(data, part)
    media: list[str] = []
    step: float | None = None
    for number, raw in fields(rest):
        if number == 2:
            step = to_signed(dict(fields(content(raw))).get(1, 0))
        elif number == 1:
            keys, value = _item(content(raw))
            name = "/".join(keys)
            if keys[-1] == "_type" and len(keys) > 1:
                media.append(name.removesuffix("_type"))
            elif value[:1] != b'"':
                values |= islice(flat_numbers({name: lenient_json(value)}), MAX_NUMBERS)
    if step is None:
        step = values.get("_step")
    skipped = ("_", *media)
    part.add(
        step,
        values.get("_timestamp", 0.0),
        {name: value for name, value in values.items() if not name.startswith(skipped)},
    )


def _plain_numbers(data: bytes, part: Part) -> tuple[dict[str, float], bytes]:
    """The numbers in short items, which nearly all items are, and the other fields. Parsing field by field is slow."""
    pieces = _short_numbers(data)
    all_keys, numbers = pieces[2::4], pieces[3::4]
    sizes = bytes([len(keys) + 3 + len(number) for keys, number in zip(all_keys, numbers, strict=True)])
    if sizes != b"".join(pieces[1::4]):  # a name contains what looks like an item
        return {}, data
    try:
        names = [_name(keys) for keys in all_keys]
        values = dict(zip(names, map(float, from_json(b"[%b]" % b",".join(numbers))), strict=True))
    except ValueError:  # also a WireError
        return {}, data
    if len(values) < len(names):  # a: {b: 1}, and a/b: 2
        part.problems["values with the name of another value at the same step"] += len(names) - len(values)
    return values, b"".join(pieces[::4])


@lru_cache(maxsize=10_000)
def _name(keys: bytes) -> str:
    """The name that these fields of an item give it. Raises WireError if they are not complete."""
    names, value = _item(keys)
    if value:
        raise WireError
    return "/".join(names)


def _add_stats(data: bytes, part: Part) -> None:
    """Add system metrics at the last step of this part."""
    time = next((_seconds(content(value)) for number, value in fields(data) if number == 2), 0.0)
    part.add(_last_step(part), time, {f"system/{'/'.join(keys)}": as_number(value) for keys, value in _items(data, 3)})


def _add_run(data: bytes, part: Part) -> None:
    for number, value in fields(data):
        if number == 3:
            part.project = text(value)
        elif number == 4:
            part.config |= _config(content(value))
        elif number == 8:
            part.name = text(value)
        elif number == 10:
            part.tags.append(text(value))
        elif number == 17:
            part.started = _seconds(content(value))


def _config(data: bytes) -> dict[str, Any]:
    """The settings in a ``ConfigRecord``, without W&B's own entry."""
    return {"/".join(keys): value for keys, value in _items(data) if keys[0] != "_wandb"}


def _seconds(data: bytes) -> float:
    """Convert a ``google.protobuf.Timestamp`` to seconds since the epoch."""
    time = dict(fields(data))
    return to_signed(time.get(1, 0)) + to_signed(time.get(2, 0)) / 1e9
