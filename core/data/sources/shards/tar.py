"""The members of a tar, from its headers alone: nothing is unpacked, and no name is used as a path.

Flow: ``core.data.sources.shards.index`` walks over a shard once with ``members``, which yields the offsets of images
and texts.

Supports ustar, GNU long names, and path and size of pax. A tar may be hostile: names that lead outside are only
displayed; links, devices and sparse files are recognised and not read; a header with its extensions is at most 64 kB,
and every size is checked against the size of the file.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

from core.data.errors import DataError
from core.spec.reading import excerpt

BLOCK_BYTES = 512
MAX_EXTENSION_BYTES = 64 << 10  # limit for a pax header or a long name
READ_BYTES = 16 << 10  # bytes per read: a header, and the small texts that follow images
_REGULAR, _SPARSE = (b"\x00", b"0", b"7"), b"S"
_EXTENSION_KINDS = (b"L", b"K", b"x", b"g")  # headers that describe the next member
_KIND_NAMES = {
    b"1": "a link",
    b"2": "a link",
    b"3": "a device",
    b"4": "a device",
    b"5": "a folder",
    b"6": "a pipe",
    b"S": "a sparse file",
}


@dataclass(frozen=True, slots=True)
class TarMember:
    """A member and the offset of its content. ``special_type``: "" for a regular file; otherwise "a link", ..."""

    name: str
    offset: int
    size: int
    special_type: str = ""


def members(file: BinaryIO, tar: str) -> Iterator[TarMember]:
    """All members of the tar ``file``, in order. Raises DataError, with the name ``tar`` and the defect's position."""
    total = file.seek(0, os.SEEK_END)
    blocks = _Blocks(file)
    position = 0
    name, size, sparse = "", -1, False  # properties of the next member, from its extension headers
    while position < total:
        header = blocks.read(position, BLOCK_BYTES)
        if len(header) < BLOCK_BYTES:
            raise DataError(_truncation_message(tar, position))
        if not any(header):
            return  # the first of the two empty blocks at the end of a tar
        kind, declared = header[156:157], _checked_size(header, tar, position)
        data = position + BLOCK_BYTES
        length = declared if kind in _EXTENSION_KINDS or size < 0 else size
        if data + length > total:
            raise DataError(_truncation_message(tar, position))
        position = data + -(-length // BLOCK_BYTES) * BLOCK_BYTES
        if kind in _EXTENSION_KINDS:
            if length > MAX_EXTENSION_BYTES:
                raise DataError(f"{tar} has a header of {length:,} bytes at byte {data:,}; it is damaged or hostile.")
            extension = blocks.read(data, length)
            if kind == b"L":
                name = extension.split(b"\0", 1)[0].decode("utf-8", "replace")
            elif kind == b"x":
                records = _pax(extension)
                name, size = records.get("path", name), _number(records.get("size", ""), size)
                sparse = sparse or any(key.startswith("GNU.sparse") for key in records)
            continue
        member_name = name or _own_name(header)
        special_type = (
            ""
            if kind in _REGULAR and not member_name.endswith("/")
            else _KIND_NAMES.get(kind, "a folder" if member_name.endswith("/") else "special")
        )
        yield TarMember(member_name, data, length, _KIND_NAMES[_SPARSE] if sparse else special_type)
        name, size, sparse = "", -1, False
    # Without this check, a file truncated between two members, or in the last padding, would pass as a smaller tar.
    raise DataError(
        f"{tar} ends at byte {total:,} without the empty blocks that end a tar, so it is truncated; copy or write the "
        "tar again, or leave it out."
    )


class _Blocks:
    """Reads small pieces of a file from a buffer."""

    def __init__(self, file: BinaryIO) -> None:
        self._file, self._start, self._held = file, 0, b""

    def read(self, position: int, length: int) -> bytes:
        inside = position - self._start
        if not 0 <= inside <= len(self._held) - length:
            self._file.seek(position)
            self._start, self._held, inside = position, self._file.read(max(length, READ_BYTES)), 0
        return self._held[inside : inside + length]


def _checked_size(header: bytes, tar: str, position: int) -> int:
    """The size that ``header`` declares. Raises DataError if the header is invalid."""
    try:
        checksum = _octal(header[148:156])
        size = _octal(header[124:136])
    except ValueError:
        checksum, size = -1, -1
    # The checksum field itself is summed as blanks; some old programs summed signed bytes.
    plain = sum(header) - sum(header[148:156]) + 8 * 32
    signed = plain - 256 * sum(byte > 127 for part in (header[:148], header[156:]) for byte in part)
    if size < 0 or checksum not in (plain, signed):
        raise DataError(f"{tar} is damaged at byte {position:,}: no valid tar header; copy or write the tar again.")
    return size


def _octal(text: bytes) -> int:
    """A number in a header: octal digits, or GNU's base 256."""
    if text[0] & 0x80:
        return int.from_bytes(bytes([text[0] & 0x7F]) + text[1:], "big")
    digits = text.split(b"\0", 1)[0].strip()
    return int(digits, 8) if digits else 0


def _own_name(header: bytes) -> str:
    name, prefix = header[:100].split(b"\0", 1)[0], b""
    if header[257:262] == b"ustar" and header[257:265] != b"ustar  \0":
        prefix = header[345:500].split(b"\0", 1)[0]
    return (prefix + b"/" + name if prefix else name).decode("utf-8", "replace")


def _pax(content: bytes) -> dict[str, str]:
    """The records ``LENGTH KEY=VALUE`` of an extended header, up to the first malformed record."""
    records: dict[str, str] = {}
    while content:
        length, blank, _ = content[:20].partition(b" ")
        if not blank or not length.isdigit() or not len(length) < int(length) <= len(content):
            break
        key, _, value = content[len(length) + 1 : int(length)].removesuffix(b"\n").partition(b"=")
        records[key.decode("utf-8", "replace")] = value.decode("utf-8", "replace")
        content = content[int(length) :]
    return records


def _number(text: str, default: int) -> int:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 19 else default


def _truncation_message(tar: str, position: int) -> str:
    return f"{tar} is truncated in the member at byte {position:,}; copy or write the tar again, or leave it out."


def header_name(header: bytes) -> str:
    """The last component of the name in a member's header, for messages and paths; "image" if it is empty."""
    if len(header) < BLOCK_BYTES:
        return "image"
    last = _own_name(header).replace("\\", "/").rpartition("/")[2]
    return excerpt(last, 100).replace("/", "_") or "image"
