"""The members of a tar, from its headers alone: nothing is unpacked, no name becomes a path.

Flow: a shard's index is made by walking over it once with ``members``: where its images and texts lie.

Read are the formats that tars come in: ustar, GNU long names, and of pax its path and size. A tar may be hostile: names
that lead outside are only shown; links, devices and sparse files are told apart and their content is not used; a header
is at most 64 kB with its extensions, and every size is held against the file's.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

from core.data.errors import DataError
from core.spec.reading import excerpt

BLOCK = 512
LONGEST_EXTENSION = 64 << 10  # bytes of a pax header or a long name
READ_AHEAD = 16 << 10  # bytes read at once: a header, and the small texts that follow images
_REGULAR, _SPARSE = (b"\x00", b"0", b"7"), b"S"
_EXTENSIONS = (b"L", b"K", b"x", b"g")  # of the member that follows
_SORTS = {
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
    """A member: where its bytes lie. ``sort`` says what it is when it is no plain file."""

    name: str
    offset: int
    size: int
    sort: str = ""


def members(file: BinaryIO, where: str) -> Iterator[TarMember]:
    """Every member of the tar in ``file``, in its order. DataError naming ``where`` and the byte at which it breaks."""
    total = file.seek(0, os.SEEK_END)
    blocks = _Blocks(file)
    position = 0
    name, size, sparse = "", -1, False  # what extensions say of the next member
    while position < total:
        header = blocks.read(position, BLOCK)
        if len(header) < BLOCK:
            raise DataError(_cut(where, position))
        if not any(header):
            return  # the first of the two empty blocks that end a tar
        kind, declared = header[156:157], _checked_size(header, where, position)
        data = position + BLOCK
        length = declared if kind in _EXTENSIONS or size < 0 else size
        if data + length > total:
            raise DataError(_cut(where, position))
        position = data + -(-length // BLOCK) * BLOCK
        if kind in _EXTENSIONS:
            if length > LONGEST_EXTENSION:
                raise DataError(f"{where} has a header of {length:,} bytes at byte {data:,}; it is damaged or hostile.")
            extension = blocks.read(data, length)
            if kind == b"L":
                name = extension.split(b"\0", 1)[0].decode("utf-8", "replace")
            elif kind == b"x":
                facts = _pax(extension)
                name, size = facts.get("path", name), _number(facts.get("size", ""), size)
                sparse = sparse or any(key.startswith("GNU.sparse") for key in facts)
            continue
        own = name or _own_name(header)
        sort = (
            ""
            if kind in _REGULAR and not own.endswith("/")
            else _SORTS.get(kind, "a folder" if own.endswith("/") else "special")
        )
        yield TarMember(own, data, length, _SORTS[_SPARSE] if sparse else sort)
        name, size, sparse = "", -1, False
    # A file cut between two members, or in the padding of the last, would pass for a smaller one.
    raise DataError(
        f"{where} ends at byte {total:,} without the empty blocks that end a tar: it was cut off there; copy or write "
        "it again, or leave it out."
    )


class _Blocks:
    """Reads small pieces, most of them from what was read last."""

    def __init__(self, file: BinaryIO) -> None:
        self._file, self._start, self._held = file, 0, b""

    def read(self, position: int, length: int) -> bytes:
        inside = position - self._start
        if not 0 <= inside <= len(self._held) - length:
            self._file.seek(position)
            self._start, self._held, inside = position, self._file.read(max(length, READ_AHEAD)), 0
        return self._held[inside : inside + length]


def _checked_size(header: bytes, where: str, position: int) -> int:
    """The size that ``header`` declares; DataError when the header is none."""
    try:
        told = _octal(header[148:156])
        size = _octal(header[124:136])
    except ValueError:
        told, size = -1, -1
    # Its own bytes count as blanks; some old programs summed signed bytes.
    plain = sum(header) - sum(header[148:156]) + 8 * 32
    signed = plain - 256 * sum(byte > 127 for part in (header[:148], header[156:]) for byte in part)
    if size < 0 or told not in (plain, signed):
        raise DataError(f"{where} is broken at byte {position:,}: no tar header is there; copy or write it again.")
    return size


def _octal(text: bytes) -> int:
    """A number of a header: octal digits, or GNU's base 256."""
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
    """Records ``LENGTH KEY=VALUE`` of an extended header; what is malformed ends them."""
    facts: dict[str, str] = {}
    while content:
        length, blank, _ = content[:20].partition(b" ")
        if not blank or not length.isdigit() or not len(length) < int(length) <= len(content):
            break
        key, _, value = content[len(length) + 1 : int(length)].removesuffix(b"\n").partition(b"=")
        facts[key.decode("utf-8", "replace")] = value.decode("utf-8", "replace")
        content = content[int(length) :]
    return facts


def _number(text: str, otherwise: int) -> int:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 19 else otherwise


def _cut(where: str, position: int) -> str:
    return f"{where} is cut off in the member at byte {position:,}; copy or write it again, or leave it out."


def header_name(header: bytes) -> str:
    """The last part of the name in a member's header, for messages and paths; "image" where there is none."""
    if len(header) < BLOCK:
        return "image"
    last = _own_name(header).replace("\\", "/").rpartition("/")[2]
    return excerpt(last, 100).replace("/", "_") or "image"
