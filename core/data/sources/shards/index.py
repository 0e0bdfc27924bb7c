"""The index of a shard: where the image and the texts of each of its rows lie. Written once, then memory-mapped.

Flow: ``Shards.open`` opens the index of every shard of a pattern with ``open_index``, which makes one from the tar's
headers where there is none. It lies beside the shard (``00000.tar.index``), or in the cache folder where the shard's
own may not be written to.

A file is a fixed head, a JSON of facts, then the table of rows. A row is 48 bytes and is read when it is asked for, so
that ten million of them cost a process the pages that it touches. An index may come from elsewhere: what it claims is
held against the shard's size whenever it is used.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import struct
import zlib
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from core.data.cache import cache_folder
from core.data.errors import BadRow, DataError
from core.data.sources.shards.samples import Sample, grouped
from core.data.sources.shards.tar import members
from core.spec.errors import UserError
from core.spec.files import whole_file
from core.spec.reading import excerpt, open_regular

MAGIC = b"sdgui-shard-v1\0\0"
HEAD = struct.Struct("<16sII")  # magic, bytes of the facts, their CRC-32
LARGEST_FACTS = 256 << 10  # bytes
SUFFIX = ".index"
POSITION_BITS = 20  # of a row's identity: shard << 20 | position
MOST_ROWS = 1 << POSITION_BITS
LISTED = 50  # bad members kept with their reason

PARTS = ("image", "text", "meta", "cls")
ROW = np.dtype([*((part, "<u8") for part in PARTS), *((f"{part}_size", "<u4") for part in PARTS)])

Table = npt.NDArray[np.void]


class Facts(BaseModel):
    """What is known of a shard besides its rows."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    size: int = Field(ge=0, lt=1 << 62)  # of the shard, bytes
    time: int = Field(ge=-(1 << 62), lt=1 << 62)  # of its last change, nanoseconds
    rows: int = Field(ge=0, le=MOST_ROWS)
    bad: int = Field(ge=0, le=MOST_ROWS)
    listed: tuple[tuple[str, str], ...] = Field(max_length=LISTED)  # the first bad ones: name, reason
    digest: str = Field(pattern="^[0-9a-f]{32}$")  # of its members' names, places and sizes


@dataclass
class ShardIndex:
    """A shard and its rows. Picklable: a loader process maps the table anew."""

    shard: Path
    facts: Facts
    file: Path | None  # that holds the table; None where it could not be kept
    held: Table | None = None  # the table, where it is in memory

    @property
    def table(self) -> Table:
        """(rows,) of ROW, mapped from the file."""
        if self.held is None:
            if self.file is None:
                raise DataError(f"The index of {excerpt(str(self.shard))} is gone.")
            self.held = _mapped(self.file, self.facts.rows)
        return self.held

    def forget(self) -> None:
        """Unmap the table; it is mapped again when it is asked for."""
        if self.file is not None:
            self.held = None

    def bad_rows(self) -> list[BadRow]:
        """The first members that are no rows."""
        return [BadRow(f"{self.shard}/{name}", reason) for name, reason in self.facts.listed]

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | ({"held": None} if self.file is not None else {})


def open_index(shard: Path) -> ShardIndex:
    """The index of ``shard``, made where there is none.

    Raises DataError when the shard is missing, cut off, no tar, or another one than was indexed.
    """
    try:
        with open_regular(shard, error=DataError) as file:
            status = os.fstat(file.fileno())
    except FileNotFoundError as error:
        raise not_there(shard) from error
    found = _read_first(shard)
    if found is None:
        return _keep(make_index(shard), (beside(shard), in_cache(shard)))
    known = found.facts
    if (known.size, known.time) == (status.st_size, status.st_mtime_ns):
        return found
    # A copy has another time, and is the same where its members are.
    again = make_index(shard) if known.size == status.st_size else None
    if again is None or again.facts.digest != known.digest:
        raise DataError(
            f"The shard {excerpt(str(shard))} has changed since it was indexed ({known.rows:,} rows and {known.size:,} "
            f"bytes then, {status.st_size:,} bytes now); restore it, or remove {found.file} to have it indexed anew."
        )
    return _keep(again, (found.file,) if found.file is not None else ())


def not_there(shard: str | Path) -> DataError:
    return DataError(f"The shard {excerpt(str(shard))} is not there; copy it again, or change the pattern.")


def make_index(shard: Path) -> ShardIndex:
    """The index of ``shard`` from its headers, in memory. DataError when it is no tar, or has too many rows."""
    where = excerpt(str(shard))
    rows: list[tuple[int, ...]] = []
    bad: list[tuple[str, str]] = []
    count = 0
    digest = hashlib.sha256()
    with open_regular(shard, error=DataError) as file:
        status = os.fstat(file.fileno())

        def noted() -> Iterable[Any]:
            for member in members(file, where):
                digest.update(f"{member.name}\0{member.offset}\0{member.size}\n".encode("utf-8", "replace"))
                yield member

        for sample in grouped(noted()):
            reason = sample.problem()
            if not reason:
                rows.append(_row(sample))
            else:
                count += 1
                if len(bad) < LISTED:
                    bad.append((excerpt(sample.key, 100), excerpt(reason)))
            if len(rows) > MOST_ROWS or count > MOST_ROWS:
                what = "rows" if len(rows) > MOST_ROWS else "members that are no pairs"
                raise DataError(f"{where} has more than {MOST_ROWS:,} {what}; write smaller shards.")
    facts = Facts(
        size=status.st_size,
        time=status.st_mtime_ns,
        rows=len(rows),
        bad=count,
        listed=tuple(bad),
        digest=digest.hexdigest()[:32],
    )
    return ShardIndex(shard, facts, None, np.array(rows, ROW))


def _row(sample: Sample) -> tuple[int, ...]:
    found = [sample.parts.get(part) for part in PARTS]
    return (*(one.offset if one else 0 for one in found), *(one.size if one else 0 for one in found))


def write_index(path: Path, facts: Facts, table: Table) -> None:
    """Write an index file. OSError when it cannot be."""
    told = json.dumps(facts.model_dump()).encode()
    with whole_file(path, durable=False) as file:
        file.write(HEAD.pack(MAGIC, len(told), zlib.crc32(told)))
        file.write(told)
        file.write(table.tobytes())


def _keep(index: ShardIndex, places: tuple[Path, ...]) -> ShardIndex:
    """``index`` from the first of ``places`` where it can be kept; in memory where it cannot."""
    for path in places:
        with contextlib.suppress(OSError):
            path.parent.mkdir(parents=True, exist_ok=True)
            write_index(path, index.facts, index.table)
            return replace(index, file=path, held=None)
    return index


def beside(shard: Path) -> Path:
    """Where a shard's index lies: next to it."""
    return shard.with_name(shard.name + SUFFIX)


def in_cache(shard: Path) -> Path:
    """Where it lies when it cannot lie there."""
    return cache_folder() / (hashlib.sha256(os.fsencode(shard.absolute())).hexdigest()[:32] + SUFFIX)


def _read_first(shard: Path) -> ShardIndex | None:
    """The index that is kept of ``shard``; None where there is none that is whole."""
    for path in (beside(shard), in_cache(shard)):
        with contextlib.suppress(OSError, UserError):
            return ShardIndex(shard, read_facts(path), path)
    return None


def read_facts(path: Path) -> Facts:
    """The facts of an index file, whose size is that of its rows. DataError when it is no whole index."""
    wrong = DataError(f"{excerpt(str(path))} is no index of a shard, or is cut off; remove it.")
    with open_regular(path, error=DataError) as file:
        head = file.read(HEAD.size)
        if len(head) < HEAD.size:
            raise wrong
        magic, length, checksum = HEAD.unpack(head)
        if magic != MAGIC or length > LARGEST_FACTS:
            raise wrong
        told = file.read(length)
        if len(told) < length or zlib.crc32(told) != checksum:
            raise wrong
        size = os.fstat(file.fileno()).st_size
    try:
        facts = Facts.model_validate_json(told)
    except ValidationError as error:
        raise wrong from error
    if size != HEAD.size + length + facts.rows * ROW.itemsize:
        raise wrong
    return facts


def _mapped(path: Path, rows: int) -> Table:
    """The table at the end of an index file."""
    try:
        with open_regular(path, error=DataError) as file:
            start = os.fstat(file.fileno()).st_size - rows * ROW.itemsize
            if start < HEAD.size:
                raise DataError(f"{excerpt(str(path))} was cut off while it was used; remove it.")
            if not rows:
                return np.empty(0, ROW)
            return np.memmap(file, ROW, "r", offset=start, shape=(rows,))
    except OSError as error:
        raise DataError(f"{excerpt(str(path))} cannot be read: {error.strerror}.") from error
