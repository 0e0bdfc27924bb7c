"""The index of a shard: offsets of the image and texts of each row. Written once, then memory-mapped.

Flow: ``Shards.open`` opens the index of every shard of a pattern with ``open_index``, which builds a missing index from
the tar's headers. The index is written next to the shard (``00000.tar.index``), or to the cache folder if the shard's
folder is read-only.

An index file is a fixed header, metadata as JSON, then the table of rows. A row takes 48 bytes and is read on demand,
so that a process loads only the pages that it uses. An index may come from someone else, so its offsets are checked
against the shard's size on every use.
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
from core.data.sources.shards.samples import Sample, group_members
from core.data.sources.shards.tar import members
from core.spec.errors import UserError
from core.spec.files import whole_file
from core.spec.reading import excerpt, open_regular

MAGIC = b"sdgui-shard-v1\0\0"
HEAD = struct.Struct("<16sII")  # magic, bytes of the metadata, CRC-32 of the metadata
MAX_METADATA_BYTES = 256 << 10
SUFFIX = ".index"
MAX_ROWS = 1 << 20
MAX_LISTED = 50  # bad members whose reason is stored

PARTS = ("image", "text", "meta", "cls")
ROW = np.dtype([*((part, "<u8") for part in PARTS), *((f"{part}_size", "<u4") for part in PARTS)])

Table = npt.NDArray[np.void]


class ShardMetadata(BaseModel):
    """The metadata of a shard."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    size: int = Field(ge=0, lt=1 << 62)  # size of the shard in bytes
    time: int = Field(ge=-(1 << 62), lt=1 << 62)  # modification time in nanoseconds
    rows: int = Field(ge=0, le=MAX_ROWS)
    bad: int = Field(ge=0, le=MAX_ROWS)  # members that do not form a row
    listed: tuple[tuple[str, str], ...] = Field(max_length=MAX_LISTED)  # the first bad members: name, reason
    digest: str = Field(pattern="^[0-9a-f]{32}$")  # digest of the members' names, offsets and sizes


@dataclass
class ShardIndex:
    """A shard and its rows. Picklable: a loader process maps the table again."""

    shard: Path
    metadata: ShardMetadata
    file: Path | None  # the index file; None if it could not be written
    loaded_table: Table | None = None  # None until it is mapped

    @property
    def table(self) -> Table:
        """The rows, (rows,) of ROW; mapped from the index file on first use."""
        if self.loaded_table is None:
            if self.file is None:
                raise DataError(f"The index of {self.shard} was removed while it was in use; start again.")
            self.loaded_table = _map_table(self.file, self.metadata.rows)
        return self.loaded_table

    def unmap(self) -> None:
        """Unmap the table until its next use."""
        if self.file is not None:
            self.loaded_table = None

    def bad_rows(self) -> list[BadRow]:
        """The first members that do not form a row, with the reasons."""
        return [BadRow(f"{self.shard}/{name}", reason) for name, reason in self.metadata.listed]

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | ({"loaded_table": None} if self.file is not None else {})


def open_index(shard: Path) -> ShardIndex:
    """The index of ``shard``; built if it is missing.

    Raises DataError if the shard is missing, truncated, not a tar, or has changed since it was indexed.
    """
    try:
        with open_regular(shard, error=DataError) as file:
            status = os.fstat(file.fileno())
    except FileNotFoundError as error:
        raise missing_shard(shard) from error
    stored = _read_stored(shard)
    if stored is None:
        return _store(make_index(shard), (path_beside(shard), path_in_cache(shard)))
    metadata = stored.metadata
    if (metadata.size, metadata.time) == (status.st_size, status.st_mtime_ns):
        return stored
    # A copied shard has a new modification time, but the same members.
    rebuilt = make_index(shard) if metadata.size == status.st_size else None
    if rebuilt is None or rebuilt.metadata.digest != metadata.digest:
        raise DataError(
            f"The shard {shard} has changed since it was indexed: it had {metadata.rows:,} rows and "
            f"{metadata.size:,} bytes, and has {status.st_size:,} bytes now. Restore the shard, or remove "
            f"{stored.file} to index it again."
        )
    return _store(rebuilt, (stored.file,) if stored.file is not None else ())


def missing_shard(shard: str | Path) -> DataError:
    return DataError(f"The shard {shard} does not exist; copy it again, or change the pattern.")


def make_index(shard: Path) -> ShardIndex:
    """Build the index of ``shard`` from its headers. Raises DataError if it is not a tar or has too many rows."""
    name = str(shard)
    rows: list[tuple[int, ...]] = []
    bad_members: list[tuple[str, str]] = []
    bad_count = 0
    digest = hashlib.sha256()
    with open_regular(shard, error=DataError) as file:
        status = os.fstat(file.fileno())

        def hashed_members() -> Iterable[Any]:
            for member in members(file, name):
                digest.update(f"{member.name}\0{member.offset}\0{member.size}\n".encode("utf-8", "replace"))
                yield member

        for sample in group_members(hashed_members()):
            reason = sample.problem()
            if not reason:
                rows.append(_row(sample))
            else:
                bad_count += 1
                if len(bad_members) < MAX_LISTED:
                    bad_members.append((excerpt(sample.key, 100), excerpt(reason)))
            if len(rows) > MAX_ROWS or bad_count > MAX_ROWS:
                kind = "rows" if len(rows) > MAX_ROWS else "members that are not pairs"
                raise DataError(f"{name} has more than {MAX_ROWS:,} {kind}; write smaller shards.")
    metadata = ShardMetadata(
        size=status.st_size,
        time=status.st_mtime_ns,
        rows=len(rows),
        bad=bad_count,
        listed=tuple(bad_members),
        digest=digest.hexdigest()[:32],
    )
    return ShardIndex(shard, metadata, None, np.array(rows, ROW))


def _row(sample: Sample) -> tuple[int, ...]:
    parts = [sample.parts.get(part) for part in PARTS]
    return (*(part.offset if part else 0 for part in parts), *(part.size if part else 0 for part in parts))


def write_index(path: Path, metadata: ShardMetadata, table: Table) -> None:
    """Write an index file. Raises OSError if writing fails."""
    content = json.dumps(metadata.model_dump()).encode()
    with whole_file(path, durable=False) as file:
        file.write(HEAD.pack(MAGIC, len(content), zlib.crc32(content)))
        file.write(content)
        file.write(table.tobytes())


def _store(index: ShardIndex, paths: tuple[Path, ...]) -> ShardIndex:
    """Write ``index`` to the first writable one of ``paths``; keep it in memory if no path is writable."""
    for path in paths:
        with contextlib.suppress(OSError):
            path.parent.mkdir(parents=True, exist_ok=True)
            write_index(path, index.metadata, index.table)
            return replace(index, file=path, loaded_table=None)
    return index


def path_beside(shard: Path) -> Path:
    """The path of an index next to its shard."""
    return shard.with_name(shard.name + SUFFIX)


def path_in_cache(shard: Path) -> Path:
    """The path of a shard's index in the cache folder, for read-only shards."""
    return cache_folder() / (hashlib.sha256(os.fsencode(shard.absolute())).hexdigest()[:32] + SUFFIX)


def _read_stored(shard: Path) -> ShardIndex | None:
    """The stored index of ``shard``; None if it is missing or incomplete."""
    for path in (path_beside(shard), path_in_cache(shard)):
        with contextlib.suppress(OSError, UserError):
            return ShardIndex(shard, read_metadata(path), path)
    return None


def read_metadata(path: Path) -> ShardMetadata:
    """The metadata of an index file, checked against its size. Raises DataError if it is incomplete or not an index."""
    invalid = DataError(f"{path} is not an index of a shard, or is truncated; remove it.")
    with open_regular(path, error=DataError) as file:
        head = file.read(HEAD.size)
        if len(head) < HEAD.size:
            raise invalid
        magic, length, checksum = HEAD.unpack(head)
        if magic != MAGIC or length > MAX_METADATA_BYTES:
            raise invalid
        content = file.read(length)
        if len(content) < length or zlib.crc32(content) != checksum:
            raise invalid
        size = os.fstat(file.fileno()).st_size
    try:
        metadata = ShardMetadata.model_validate_json(content)
    except ValidationError as error:
        raise invalid from error
    if size != HEAD.size + length + metadata.rows * ROW.itemsize:
        raise invalid
    return metadata


def _map_table(path: Path, rows: int) -> Table:
    """The table at the end of an index file."""
    try:
        with open_regular(path, error=DataError) as file:
            start = os.fstat(file.fileno()).st_size - rows * ROW.itemsize
            if start < HEAD.size:
                raise DataError(f"{path} was truncated while it was in use; remove it.")
            if not rows:
                return np.empty(0, ROW)
            return np.memmap(file, ROW, "r", offset=start, shape=(rows,))
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}.") from error
