"""All shards of a pattern as one sequence of rows.

Flow: a pattern -> ``Shards.open`` -> rows, numbered through the shards in order. A row's identity,
``shard << 20 | position``, does not depend on the content of other shards.

Legend: N rows.
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
from core.data.sources.shards.index import ShardIndex, missing_shard, open_index
from core.data.sources.shards.samples import LARGEST, captions_in, labels_in, read_meta
from core.data.sources.shards.tar import BLOCK, header_name
from core.spec.paths import is_file
from core.spec.reading import excerpt, open_regular
from core.spec.shards import expand_pattern, member_path

HAS_PREAD = hasattr(os, "pread")  # not on Windows
OPEN = 128  # shards whose file and table a process keeps open
SAMPLED = 16  # rows from which label names are collected
LISTED = 50

Progress = Callable[[str, int, int], None]  # (doing, done, total); may raise to cancel
Rows = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Texts:
    """The captions and labels of a row."""

    captions: tuple[str, ...]
    labels: Mapping[str, str]


class Shards:
    """Rows of several tars, read on demand. Picklable: a loader process opens the files again."""

    def __init__(self, origin: str, shards: Sequence[ShardIndex]) -> None:
        self.origin, self.shards = origin, list(shards)
        counts = [shard.facts.rows for shard in self.shards]
        self.starts: Rows = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)  # (shards + 1,)
        self._open: OrderedDict[int, _Handle] = OrderedDict()  # the least recently used first

    @classmethod
    def open(cls, pattern: str, progress: Progress | None = None) -> Shards:
        """The shards that ``pattern`` names. Indexes those without an index, which reads all of their headers.

        Raises DataError when a shard is missing, truncated, changed or duplicated, or when no shard has a row.
        """
        names = _names(pattern)
        shards = []
        for count, name in enumerate(names):
            if progress is not None:
                progress("reading shards", count, len(names))
            shards.append(open_index(Path(name)))
        seen: dict[tuple[str, int], Path] = {}
        for shard in shards:
            first = seen.setdefault((shard.facts.digest, shard.facts.size), shard.shard)
            if first is not shard.shard and shard.facts.rows:
                raise DataError(
                    f"The shards {first} and {shard.shard} hold the same members, whose "
                    "pairs would count twice; leave one out."
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
        """Number of members that are not rows."""
        return sum(shard.facts.bad for shard in self.shards)

    def bad_rows(self) -> list[BadRow]:
        """The first members that are not rows."""
        bad_members = (bad_row for shard in self.shards if shard.facts.bad for bad_row in shard.bad_rows())
        return list(islice(bad_members, LISTED))

    def all_bad_rows(self) -> list[BadRow]:
        """All members that are not rows; a shard lists the reasons of its first ones only."""
        rows = []
        for shard in self.shards:
            shard_rows = shard.bad_rows()
            unlisted = BadRow(str(shard.shard), "more members of it are no pairs")
            rows += [*shard_rows, *[unlisted] * (shard.facts.bad - len(shard_rows))]
        return rows

    def locate(self, row: int) -> tuple[int, int]:
        """The shard of ``row``, and its position in it."""
        shard = int(np.searchsorted(self.starts, row, "right")) - 1
        return shard, row - int(self.starts[shard])

    def image(self, row: int) -> bytes:
        """The bytes of the image of ``row``. ImageError when they cannot be read."""
        shard, position = self.locate(row)
        return self._part(shard, position, "image")

    def path(self, row: int) -> str:
        """The location of the image of ``row``: TAR/OFFSET+SIZE/NAME."""
        shard, position = self.locate(row)
        entry = self._entry(shard, position)
        try:
            name = header_name(self._read(shard, max(0, int(entry["image"]) - BLOCK), BLOCK))
        except ImageError:
            name = "image"
        return member_path(self.shards[shard].shard, int(entry["image"]), int(entry["image_size"]), name)

    def texts(self, row: int) -> Texts:
        """Captions and labels of ``row``. ImageError when they cannot be read."""
        shard, position = self.locate(row)
        text, meta, cls = (self._part(shard, position, part) for part in ("text", "meta", "cls"))
        facts = read_meta(meta) if meta else {}
        return Texts(captions_in(text, facts, cls), labels_in(facts, cls))

    def label_names(self) -> tuple[str, ...]:
        """The label names of the first `SAMPLED` rows."""
        names: dict[str, None] = {}
        for row in range(min(SAMPLED, len(self))):
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
        if size > LARGEST[part]:
            raise self._damaged(shard)
        return self._read(shard, offset, size)

    def _read(self, shard: int, offset: int, size: int) -> bytes:
        path = self.shards[shard].shard
        if offset + size > self.shards[shard].facts.size:
            raise self._damaged(shard)
        try:
            handle = self._handle(shard)
            content = os.pread(handle.number, size, offset) if HAS_PREAD else _read_at(path, offset, size)
        except OSError as error:
            raise ImageError(f"{path} cannot be read: {error.strerror}") from error
        if len(content) < size:
            raise ImageError(f"{excerpt(path.name)} was cut off")
        return content

    def _damaged(self, shard: int) -> ImageError:
        return ImageError(f"the index of {self.shards[shard].shard.name} is damaged; remove it")

    def _handle(self, shard: int) -> _Handle:
        """The open file of a shard. The least recently used one is dropped, and closes once no thread reads it."""
        handle = self._open.pop(shard, None)
        if handle is None:
            handle = _Handle(self.shards[shard].shard)
        self._open[shard] = handle  # most recently used last
        if len(self._open) > OPEN:
            old, _ = self._open.popitem(last=False)
            self.shards[old].forget()
        return handle


class _Handle:
    """A file descriptor, from which several threads can read at once by `os.pread`."""

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
    """DataError when a shard that ``pattern`` names does not exist, or is named twice; none is opened."""
    for name in _names(pattern):
        if not is_file(Path(name)):
            raise missing_shard(name)


def _names(pattern: str) -> list[str]:
    """The shards that ``pattern`` names. DataError when a file is named twice, also by a link."""
    names = expand_pattern(pattern, DataError)
    seen: set[str] = set()
    for name in names:
        real = os.path.realpath(name)
        if real in seen:
            raise DataError(f"The shard {excerpt(name)} is named twice, and its pairs would count twice; name it once.")
        seen.add(real)
    return names
