"""Decodes the part of Protocol Buffers' wire format that log files use: https://protobuf.dev/programming-guides/encoding."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Any


class WireError(ValueError):
    """The bytes are not a message."""


def fields(data: bytes) -> Iterator[tuple[int, Any]]:
    """Number and value of each field: an int for a varint, bytes for a fixed or length-delimited value."""
    cursor, end = 0, len(data)
    while cursor < end:
        key = data[cursor]
        cursor += 1
        if key > 127:
            key, cursor = _varint(data, cursor - 1)
        kind = key & 7
        if kind == 2:
            size = data[cursor] if cursor < end else 128
            cursor += 1
            if size > 127:
                size, cursor = _varint(data, cursor - 1)
        elif kind == 0:
            value, cursor = _varint(data, cursor)
            yield key >> 3, value
            continue
        elif kind in (1, 5):
            size = 8 if kind == 1 else 4
        else:
            raise WireError
        if cursor + size > end:
            raise WireError
        yield key >> 3, data[cursor : cursor + size]
        cursor += size


def _varint(data: bytes, cursor: int) -> tuple[int, int]:
    value = shift = 0
    for byte in data[cursor : cursor + 10]:
        value |= (byte & 127) << shift
        cursor += 1
        if byte < 128:
            return value & 0xFFFFFFFFFFFFFFFF, cursor
        shift += 7
    raise WireError


def to_signed(value: Any) -> int:
    """A varint as int64."""
    if not isinstance(value, int):
        raise WireError
    return value - (1 << 64) if value >> 63 else value


def content(value: Any) -> bytes:
    """A length-delimited value: a message, text or bytes."""
    if not isinstance(value, bytes):
        raise WireError
    return value


def text(value: Any) -> str:
    return content(value).decode("utf-8", "replace")


def unpack_fixed(code: str, value: Any) -> float:
    """A fixed value: ``code`` is "<d" or "<f"."""
    try:
        return float(struct.unpack(code, value)[0])
    except (struct.error, TypeError) as error:
        raise WireError from error
