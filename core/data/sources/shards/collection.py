"""All shards of a pattern as one sequence of rows.

Flow: a pattern -> ``Shards.open`` -> rows, numbered in the order of the shards; training reads them on demand.
``read_shards`` reads all rows as a ``Source``, for evaluation, an index or the noise ranking; a row's file is the
location of its image in the tar, which `core.spec.shards.read_member` reads.
"""

from __future__ import annotations

import contextlib
import os
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from core.data.errors import BadRow, DataError, ImageError
from core.data.sources.rows import Row, Source
from core.data.sources.shards.index import ShardIndex, missing_shard, open_index
from core.data.sources.shards.samples import MAX_BYTES, captions_in, labels_in, read_meta
from core.data.sources.shards.tar import BLOCK_BYTES, header_name
from core.spec.paths import is_file
from core.spec.reading import excerpt, open_regular
from core.spec.shards import expand_pattern, member_path

HAS_PREAD = hasattr(os, "pread")  # not on Windows
MAX_OPEN_SHARDS = 128  # a process keeps files and tables of at most this many shards open
LABEL_SAMPLE = 16  # number of rows from which label names are collected
MAX_LISTED = 50
FORMAT = "WebDataset shards"
_REPORT_EVERY = 500  # rows between two progress reports

Progress = Callable[[str, int, int], None]  # (doing, done, total); may raise to cancel
Rows = npt.NDArray[np.int64]


@dataclass(frozen=True)
class RowTexts:
    """The captions and labels of a row."""

    captions: tuple[str, ...]
    labels: Mapping[str, str]


class Shards:
    """Rows of several tars, read on demand. Picklable: a loader process reopens the files."""

    def __init__(self, origin: str, shards: Sequence[ShardIndex]) -> None:
        self.origin, self.shards = origin, list(shards)
        counts = [shard.metadata.rows for shard in self.shards]
        self.starts: Rows = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)  # (shards + 1,)
        self._open: OrderedDict[int, _Handle] = OrderedDict()  # least recently used first

    @classmethod
    def open(cls, pattern: str, progress: Progress | None = None) -> Shards:
        """Open the shards that match ``pattern``. A shard without an index is indexed, which reads all its headers.

        Raises DataError if a shard is missing, truncated, changed or duplicated, or no shard has a row.
        """
        names = _names(pattern)
        shards = []
        for count, name in enumerate(names):
            if progress is not None:
                progress("reading shards", count, len(names))
            shards.append(open_index(Path(name)))
        seen: dict[tuple[str, int], Path] = {}
        for shard in shards:
            first = seen.setdefault((shard.metadata.digest, shard.metadata.size), shard.shard)
            if first is not shard.shard and shard.metadata.rows:
                raise DataError(
                    f"The shards {first} and {shard.shard} have the same members, so their "
                    "pairs would count twice; leave one of the shards out."
                )
        opened_shards = cls(pattern, shards)
        if not len(opened_shards) and not opened_shards.bad_count():
            raise DataError(f"{excerpt(pattern)} contains no pairs; a shard needs KEY.jpg and KEY.txt for each pair.")
        return opened_shards

    def __len__(self) -> int:
        return int(self.starts[-1])

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_open": OrderedDict()}

    def bad_count(self) -> int:
        """The number of members that do not form a row."""
        return sum(shard.metadata.bad for shard in self.shards)

    def bad_rows(self) -> list[BadRow]:
        """The first members that do not form a row, with the reasons."""
        bad_members = (bad_row for shard in self.shards if shard.metadata.bad for bad_row in shard.bad_rows())
        return list(islice(bad_members, MAX_LISTED))

    def all_bad_rows(self) -> list[BadRow]:
        """All members that do not form a row; only the first few of each shard have a reason."""
        rows = []
        for shard in self.shards:
            shard_rows = shard.bad_rows()
            unlisted = BadRow(str(shard.shard), "more members of this shard are not pairs")
            rows += [*shard_rows, *[unlisted] * (shard.metadata.bad - len(shard_rows))]
        return rows

    def locate(self, row: int) -> tuple[int, int]:
        """The shard of ``row``, and the row's position in the shard."""
        shard = int(np.searchsorted(self.starts, row, "right")) - 1
        return shard, row - int(self.starts[shard])

    def image(self, row: int) -> bytes:
        """The bytes of the image of ``row``. Raises ImageError if they cannot be read."""
        shard, position = self.locate(row)
        return self._part(shard, position, "image")

    def path(self, row: int) -> str:
        """The location of the image of ``row``: TAR/OFFSET+SIZE/NAME."""
        shard, position = self.locate(row)
        entry = self._entry(shard, position)
        try:
            name = header_name(self._read(shard, max(0, int(entry["image"]) - BLOCK_BYTES), BLOCK_BYTES))
        except ImageError:
            name = "image"
        return member_path(self.shards[shard].shard, int(entry["image"]), int(entry["image_size"]), name)

    def texts(self, row: int) -> RowTexts:
        """Captions and labels of ``row``. Raises ImageError if they cannot be read."""
        shard, position = self.locate(row)
        text, meta, cls = (self._part(shard, position, part) for part in ("text", "meta", "cls"))
        metadata = read_meta(meta) if meta else {}
        return RowTexts(captions_in(text, metadata, cls), labels_in(metadata, cls))

    def label_names(self) -> tuple[str, ...]:
        """The label names of the first `LABEL_SAMPLE` rows."""
        names: dict[str, None] = {}
        for row in range(min(LABEL_SAMPLE, len(self))):
            try:
                names.update(dict.fromkeys(self.texts(row).labels))
            except ImageError:
                continue
        return tuple(names)

    def _entry(self, shard: int, position: int) -> Any:
        try:
            return self.shards[shard].table[position]
        except (DataError, IndexError) as error:
            raise ImageError(str(error)) from error

    def _part(self, shard: int, position: int, part: str) -> bytes:
        """The bytes of a member of a row; empty if the row has no such member."""
        entry = self._entry(shard, position)
        offset, size = int(entry[part]), int(entry[f"{part}_size"])
        if not size:
            return b""
        if size > MAX_BYTES[part]:
            raise self._damage_error(shard)
        return self._read(shard, offset, size)

    def _read(self, shard: int, offset: int, size: int) -> bytes:
        path = self.shards[shard].shard
        if offset + size > self.shards[shard].metadata.size:
            raise self._damage_error(shard)
        try:
            handle = self._handle(shard)
            content = os.pread(handle.number, size, offset) if HAS_PREAD else _read_at(path, offset, size)
        except OSError as error:
            raise ImageError(f"{path} cannot be read: {error.strerror}") from error
        if len(content) < size:
            raise ImageError(f"{excerpt(path.name)} was truncated")
        return content

    def _damage_error(self, shard: int) -> ImageError:
        return ImageError(f"the index of {self.shards[shard].shard.name} is damaged; remove the index")

    def _handle(self, shard: int) -> _Handle:
        """The open file of a shard. The least recently used file is dropped, and closes once no thread reads it."""
        handle = self._open.pop(shard, None)
        if handle is None:
            handle = _Handle(self.shards[shard].shard)
        self._open[shard] = handle  # most recently used last
        if len(self._open) > MAX_OPEN_SHARDS:
            old, _ = self._open.popitem(last=False)
            self.shards[old].unmap()
        return handle


class _Handle:
    """A file descriptor that several threads can read at the same time, with `os.pread`."""

    def __init__(self, path: Path) -> None:
        with open_regular(path, error=ImageError) as file:
            self.number = os.dup(file.fileno())

    def __del__(self) -> None:
        with contextlib.suppress(AttributeError, OSError):
            os.close(self.number)


def _read_at(path: Path, offset: int, size: int) -> bytes:
    with open_regular(path, error=ImageError) as file:
        file.seek(offset)
        return file.read(size)


def check_shards_exist(pattern: str) -> None:
    """Raise DataError if a shard of ``pattern`` does not exist or occurs twice; no shard is opened."""
    for name in _names(pattern):
        if not is_file(Path(name)):
            raise missing_shard(name)


def _names(pattern: str) -> list[str]:
    """The shards that match ``pattern``. Raises DataError if a file occurs twice, also through a link."""
    names = expand_pattern(pattern, DataError)
    seen: set[str] = set()
    for name in names:
        real = os.path.realpath(name)
        if real in seen:
            raise DataError(
                f"The shard {excerpt(name)} occurs twice, so its pairs would count twice; remove one of them."
            )
        seen.add(real)
    return names


def read_shards(pattern: str, progress: Progress | None = None) -> Source:
    """The rows of the shards that match ``pattern``, with captions and labels. Raises DataError like `Shards.open`."""
    return rows_of_shards(pattern, Shards.open(pattern, progress), progress)


def rows_of_shards(pattern: str, shards: Shards, progress: Progress | None = None, limit: int | None = None) -> Source:
    """The rows of ``shards``, or the first ``limit`` rows; ``pattern`` is the name of the source."""
    rows: list[Row] = []
    bad_rows = shards.all_bad_rows()
    names: dict[str, None] = {}
    count = len(shards) if limit is None else min(limit, len(shards))
    for number in range(count):
        if progress is not None and number % _REPORT_EVERY == 0:
            progress("reading captions", number, count)
        path = shards.path(number)
        try:
            texts = shards.texts(number)
        except ImageError as error:
            bad_rows.append(BadRow(path, str(error)))
            continue
        names.update(dict.fromkeys(texts.labels))
        rows.append(Row(path, texts.captions, texts.labels))
    return Source(pattern, FORMAT, rows, bad_rows, tuple(names))
