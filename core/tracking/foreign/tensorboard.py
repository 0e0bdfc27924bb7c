"""Reads TensorBoard's runs: folders with event files (TFRecords of ``tensorflow.Event`` messages).

Framing and checksums: https://www.tensorflow.org/tutorials/load_data/tfrecord#tfrecords_format_details; messages:
tensorboard/compat/proto/event.proto, summary.proto and plugins/hparams/plugin_data.proto. Scalars and hyperparameters
are imported; images, histograms, text and graphs are not.
"""

from __future__ import annotations

import re
import struct
import sys
from array import array
from collections.abc import Iterable, Iterator
from functools import cache, lru_cache
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from core.spec.reading import MEGABYTE, excerpt, open_regular
from core.spec.run.events import LATEST_TIME, MAX_STEP, RunStarted
from core.tracking.foreign.runs import (
    MAX_NUMBERS,
    PART_BYTES,
    ForeignError,
    ForeignRun,
    Part,
    Position,
    ReplacedError,
    as_text,
    named_after,
)
from core.tracking.foreign.wire import WireError, content, fields, text, to_signed, unpack_fixed

TOOL = "tensorboard"
_MAX_READ_BYTES = 16 * MEGABYTE  # larger records contain images or graphs and are skipped without reading
_MAX_RECORD_BYTES = 1 << 32  # TensorBoard does not write larger records
_MAX_CHECKED_BYTES = 64 << 10  # checksums of larger records are not compared; scalars are far smaller
_HEADER, _CHECKSUM = struct.Struct("<QI"), struct.Struct("<I")
_DOUBLE, _FLOAT = struct.Struct("<d"), struct.Struct("<f")
# An event with one scalar, as TensorBoard's and PyTorch's writers encode it: time, step, summary {value {tag, number}}.
_SCALAR = re.compile(
    rb"\x09(.{8})(?:\x10([\x80-\xff]{0,8}[\0-\x7f]))?\x2a([\0-\x7f]\x0a[\0-\x7f]\x0a[\0-\x7f].{1,118})\x15(.{4})",
    re.DOTALL,
)
_MIN_TOGETHER = 64  # records from which numpy is faster than a loop
_START = 1  # the value of SessionLog.SessionStatus at a start
_MAYBE_HEADER = re.compile(rb"(?=.{3}\0{5}.{4})", re.DOTALL)  # a record of less than 16 MB


def find(folder: Path, files: set[str], root: Path) -> list[ForeignRun]:
    """The run in ``folder``, if the folder contains an event file."""
    if not any(_is_event_file(folder / name, root) for name in _event_files(files)):
        return []
    return [ForeignRun(TOOL, folder, root, *named_after(folder, root))]


def read(run: ForeignRun, position: Position) -> Iterator[Part]:
    """The scalars in all event files of the folder, file by file. ``position``: the offset in each file."""
    offsets = dict(position)
    for name in _event_files(entry.name for entry in run.path.iterdir()):
        for part, offset in _read_file(run.path / name, run.root, offsets.get(as_text(name), 0)):
            offsets[as_text(name)] = offset
            part.position = dict(offsets)
            yield part


def _event_files(names: Iterable[str]) -> list[str]:
    return sorted(name for name in names if "tfevents" in name)


def _is_event_file(path: Path, root: Path) -> bool:
    try:
        with open_regular(path, root=root, error=ForeignError) as file:
            head = file.read(_HEADER.size)
    except (OSError, ForeignError):
        return False
    return _is_header(head)


def _read_file(path: Path, root: Path, offset: int) -> Iterator[tuple[Part, int]]:
    """The parts of ``path`` from ``offset`` on, each with the offset after it. An incomplete record is read later."""
    with open_regular(path, root=root, error=ForeignError) as file:
        size = file.seek(0, 2)
        if size < offset:
            raise ReplacedError
        while offset < size:
            part, before = Part(), offset
            offset = _read_part(file, offset, size, part, f"corrupted records in {excerpt(path.name)}")
            if offset == before:
                return
            yield part, offset


def _read_part(file: BinaryIO, offset: int, size: int, part: Part, problem: str) -> int:
    """Decode the records in the next chunk, and return the offset of the first record after it."""
    file.seek(offset)
    chunk, cursor = file.read(PART_BYTES), 0
    payloads: list[tuple[int, int]] = []  # start and length of each record's data
    while cursor + 16 <= len(chunk):
        header = chunk[cursor : cursor + 12]
        length: int = _HEADER.unpack(header)[0]
        if not _is_header(header) or length > _MAX_RECORD_BYTES:
            part.problems[problem] += 1
            cursor = _next_header(chunk, cursor + 1)
            continue
        end = cursor + 16 + length
        if end > len(chunk):
            if cursor or offset + end > size:  # in the next chunk, or still incomplete
                break
            if length > _MAX_READ_BYTES:
                return offset + end
            chunk += file.read(end - len(chunk))
        payloads.append((cursor + 12, length))
        cursor = end
    corrupted = _corrupted(chunk, payloads)
    for start, length in payloads:
        try:
            if start in corrupted:
                raise WireError
            _add_event(chunk[start : start + length], part)
        except WireError:
            part.problems[problem] += 1
    return offset + cursor


def _corrupted(chunk: bytes, payloads: Iterable[tuple[int, int]]) -> set[int]:
    """The starts of the records with a wrong checksum. Records of the same length are checked together."""
    starts_of: dict[int, list[int]] = {}
    for start, length in payloads:
        if length <= _MAX_CHECKED_BYTES:
            starts_of.setdefault(length, []).append(start)
    corrupted: set[int] = set()
    for length, starts in starts_of.items():
        if len(starts) < _MIN_TOGETHER:
            wrong = (
                s for s in starts if masked_crc(chunk[s : s + length]) != _CHECKSUM.unpack_from(chunk, s + length)[0]
            )
            corrupted.update(wrong)
            continue
        offsets = np.array(starts)
        records = np.frombuffer(chunk, np.uint8)[offsets[:, None] + np.arange(length + 4)]  # N records, L bytes each
        is_wrong = _masked_crcs(records[:, :length]) != records[:, length:].copy().view("<u4")[:, 0]
        corrupted.update(offsets[is_wrong].tolist())
    return corrupted


def _masked_crcs(data: NDArray[np.uint8]) -> NDArray[np.uint32]:
    """``masked_crc`` of each row."""
    table = _crc_table()
    columns = np.ascontiguousarray(data.T, dtype=np.uint32)
    crc = np.full(len(data), 0xFFFFFFFF, np.uint32)
    for low, high in zip(columns[0::2], columns[1::2], strict=False):
        crc = table[(crc ^ low ^ high << 8) & 0xFFFF] ^ (crc >> 16)
    if len(columns) & 1:
        crc = table[((crc ^ columns[-1]) & 0xFF) << 8] ^ (crc >> 8)
    crc ^= 0xFFFFFFFF
    return (((crc >> 15) | (crc << 17)) + np.uint32(0xA282EAD8)).astype(np.uint32, copy=False)


def _next_header(chunk: bytes, start: int) -> int:
    """The start position of the next record after a corrupted header."""
    for match in _MAYBE_HEADER.finditer(chunk, start):
        if _is_header(chunk[match.start() : match.start() + 12]):
            return match.start()
    return max(start, len(chunk) - 15)


def _is_header(data: bytes) -> bool:
    """Whether these 12 bytes are the length of a record and its checksum."""
    is_valid = _headers.get(data)
    if is_valid is None:
        is_valid = len(data) == 12 and masked_crc(data[:8]) == int.from_bytes(data[8:], "little")
        if len(_headers) < 10_000:
            _headers[data] = is_valid
    return is_valid


_headers: dict[bytes, bool] = {}  # header -> whether it is valid; cached, since lengths repeat


def masked_crc(data: bytes) -> int:
    """The masked CRC-32C of TFRecords, computed two bytes at a time."""
    table, crc = _crc_list(), 0xFFFFFFFF
    pairs = array("H", data[: len(data) & ~1])
    if sys.byteorder == "big":
        pairs.byteswap()
    for pair in pairs:
        crc = table[(crc ^ pair) & 0xFFFF] ^ (crc >> 16)
    if len(data) & 1:
        crc = table[((crc ^ data[-1]) & 0xFF) << 8] ^ (crc >> 8)
    crc ^= 0xFFFFFFFF
    return (((crc >> 15) | (crc << 17)) + 0xA282EAD8) & 0xFFFFFFFF


@cache
def _crc_table() -> NDArray[np.uint32]:
    """The CRC-32C of each pair of bytes (polynomial 0x1EDC6F41, reflected)."""
    crc = np.arange(1 << 16, dtype=np.uint32)
    for _ in range(16):
        crc = np.where(crc & 1, (crc >> 1) ^ np.uint32(0x82F63B78), crc >> 1)
    return crc


@cache
def _crc_list() -> list[int]:
    return [int(crc) for crc in _crc_table()]


def _add_event(data: bytes, part: Part) -> None:
    """Add the scalars and hyperparameters of an ``Event``."""
    if match := _SCALAR.fullmatch(data):
        time, step_bytes, tagged, number = match.groups()
        if (name := _tag(tagged)) is not None:
            step = 0 if step_bytes is None else _step(step_bytes)
            part.add_number(step, _DOUBLE.unpack(time)[0], name, _FLOAT.unpack(number)[0])
            return
    time, step, summary, session = 0.0, 0, b"", b""
    for number, value in fields(data):
        if number == 1:
            time = unpack_fixed("<d", value)
        elif number == 2:
            step = to_signed(value)
        elif number == 5:
            summary = content(value)
        elif number == 7:
            session = content(value)
    is_restart = session and dict(fields(session)).get(1) == _START  # the points from this step on are void
    if is_restart and 0 < step <= MAX_STEP and 0 <= time <= LATEST_TIME:
        part.events.append(RunStarted(step=step - 1, time=time, total_steps=0, config_digest=""))
    values: dict[str, object] = {}
    for number, value in fields(summary):
        if number == 1 and len(values) < MAX_NUMBERS:
            _add_value(content(value), values, part)
    if values:
        part.add(step, time, values)


@lru_cache(maxsize=10_000)
def _tag(data: bytes) -> str | None:
    """The tag after the five bytes of the lengths of summary, value and tag; None if these are wrong."""
    size = len(data) - 5
    return data[5:].decode("utf-8", "replace") if data[:5] == bytes((size + 9, 10, size + 7, 10, size)) else None


@lru_cache(maxsize=1_000)
def _step(data: bytes) -> int:
    return to_signed(sum((byte & 127) << 7 * position for position, byte in enumerate(data)))


def _add_value(data: bytes, values: dict[str, object], part: Part) -> None:
    """Add a ``Summary.Value`` to ``values`` if it is a scalar, or to the config if it is hyperparameters."""
    tag, scalar = "", None
    for number, value in fields(data):
        if number == 1:
            tag = text(value)
        elif number == 2:
            scalar = unpack_fixed("<f", value)
        elif number == 8:
            scalar = _tensor_scalar(content(value))
        elif number == 9:
            plugin = dict(fields(content(dict(fields(content(value))).get(1, b""))))
            if plugin.get(1) == b"hparams":
                _add_hparams(content(plugin.get(2, b"")), part)
                return
    if scalar is not None:
        values[tag] = scalar


def _tensor_scalar(data: bytes) -> float | None:
    """The value of a ``TensorProto`` with one float; None for any other tensor."""
    tensor = dict(fields(data))
    kind = tensor.get(1)
    code = {1: "<f", 2: "<d", 19: "<e"}.get(kind) if isinstance(kind, int) else None
    raw = tensor.get(4) or tensor.get({1: 5, 2: 6}.get(kind, 0) if isinstance(kind, int) else 0, b"")
    return unpack_fixed(code, raw) if code and len(content(raw)) == struct.calcsize(code) else None


def _add_hparams(data: bytes, part: Part) -> None:
    """Add the content of ``HParamsPluginData``: hyperparameters at the start of a session, the status at its end."""
    for number, value in fields(data):
        if number == 3:
            for kind, entry in fields(content(value)):
                if kind == 1:
                    item = dict(fields(content(entry)))
                    part.config[text(item.get(1, b""))] = _plain_value(content(item.get(2, b"")))
        elif number == 4:
            part.state = {1: "done", 2: "failed", 3: "running"}.get(dict(fields(content(value))).get(1, 0), "")


def _plain_value(data: bytes) -> Any:
    """A ``google.protobuf.Value``: a number, text, a boolean or None."""
    for number, value in fields(data):
        if number == 2:
            return unpack_fixed("<d", value)
        if number == 3:
            return text(value)
        if number == 4:
            return bool(value)
    return None
