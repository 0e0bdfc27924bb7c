"""All shards of a pattern as one sequence of rows.

Flow: a pattern -> ``Shards.open`` -> rows by number, counted through the shards in their order. A row's identity,
``shard << 20 | position``, tells where it stands, whatever other shards hold.

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
from core.data.sources.shards.index import POSITION_BITS, ShardIndex, not_there, open_index
from core.data.sources.shards.samples import LARGEST, captions_in, labels_in, read_meta
from core.data.sources.shards.tar import BLOCK, header_name
from core.spec.paths import is_file
from core.spec.reading import excerpt, open_regular
from core.spec.shards import expanded, member_path

HAS_PREAD = hasattr(os, "pread")  # not on Windows
OPEN = 128  # shards whose file and table a process keeps open
SAMPLED = 16  # rows whose labels are looked at to know their names
LISTED = 50

Progress = Callable[[str, int, int], None]  # (doing, done, total); may raise to cancel
Rows = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Texts:
    """The captions and labels of a row."""

    captions: tuple[str, ...]
    labels: Mapping[str, str]


class Shards:
    """Rows of several tars, each read when it is asked for. Picklable: a loader process opens the files anew."""

    def __init__(self, origin: str, shards: Sequence[ShardIndex]) -> None:
        self.origin, self.shards = origin, list(shards)
        counts = [shard.facts.rows for shard in self.shards]
        self.starts: Rows = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)  # (shards + 1,)
        self._open: OrderedDict[int, _Handle] = OrderedDict()  # the longest unused first

    @classmethod
    def open(cls, pattern: str, progress: Progress | None = None) -> Shards:
        """The shards that ``pattern`` names; those without an index are indexed, which reads all of their headers.

        Raises DataError when one is missing, cut off, changed or doubled, or none has a row.
        """
        names = _names(pattern)
        shards = []
        for done, name in enumerate(names):
            if progress is not None:
                progress("reading shards", done, len(names))
            shards.append(open_index(Path(name)))
        seen: dict[tuple[str, int], Path] = {}
        for shard in shards:
            first = seen.setdefault((shard.facts.digest, shard.facts.size), shard.shard)
            if first is not shard.shard and shard.facts.rows:
                raise DataError(
                    f"The shards {excerpt(str(first))} and {excerpt(str(shard.shard))} hold the same members, whose "
                    "pairs would count twice; leave one out."
                )
        found = cls(pattern, shards)
        if not len(found) and not found.bad_count():
            raise DataError(f"{excerpt(pattern)} holds no pairs; a shard has KEY.jpg and KEY.txt for each.")
        return found

    def __len__(self) -> int:
        return int(self.starts[-1])

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_open": OrderedDict()}

    def bad_count(self) -> int:
        """Members that are no rows."""
        return sum(shard.facts.bad for shard in self.shards)

    def bad_rows(self) -> list[BadRow]:
        """The first of those."""
        found = (bad for shard in self.shards if shard.facts.bad for bad in shard.bad_rows())
        return list(islice(found, LISTED))

    def all_bad_rows(self) -> list[BadRow]:
        """All of those; beyond the first of a shard without their reason."""
        found = []
        for shard in self.shards:
            listed = shard.bad_rows()
            more = BadRow(str(shard.shard), "more members of it are no pairs")
            found += [*listed, *[more] * (shard.facts.bad - len(listed))]
        return found

    def place(self, row: int) -> tuple[int, int]:
        """The shard of ``row``, and its position in it."""
        shard = int(np.searchsorted(self.starts, row, "right")) - 1
        return shard, row - int(self.starts[shard])

    def identities(self, rows: Rows) -> Rows:
        """shard << 20 | position of each of ``rows``."""
        shards = np.searchsorted(self.starts, rows, "right") - 1
        found: Rows = (shards << POSITION_BITS) | (rows - self.starts[shards])
        return found

    def image(self, row: int) -> bytes:
        """The bytes of the image of ``row``. ImageError when they cannot be read."""
        shard, position = self.place(row)
        return self._part(shard, position, "image")

    def path(self, row: int) -> str:
        """Where the image of ``row`` lies: TAR/OFFSET+SIZE/NAME."""
        shard, position = self.place(row)
        entry = self._entry(shard, position)
        try:
            name = header_name(self._read(shard, max(0, int(entry["image"]) - BLOCK), BLOCK))
        except ImageError:
            name = "image"
        return member_path(self.shards[shard].shard, int(entry["image"]), int(entry["image_size"]), name)

    def texts(self, row: int) -> Texts:
        """Captions and labels of ``row``. ImageError when it has none that can be read."""
        shard, position = self.place(row)
        text, meta, cls = (self._part(shard, position, part) for part in ("text", "meta", "cls"))
        facts = read_meta(meta) if meta else {}
        return Texts(captions_in(text, facts, cls), labels_in(facts, cls))

    def label_names(self) -> tuple[str, ...]:
        """The labels of the first rows; of shards, all are not read for it."""
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
        """The bytes of a member of a row; none where it has no such member."""
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
            raise ImageError(f"{excerpt(str(path))} cannot be read: {error.strerror}") from error
        if len(content) < size:
            raise ImageError(f"{excerpt(path.name)} was cut off")
        return content

    def _damaged(self, shard: int) -> ImageError:
        return ImageError(f"the index of {self.shards[shard].shard.name} is damaged; remove it")

    def _handle(self, shard: int) -> _Handle:
        """The open file of a shard. One that is dropped here closes when no thread reads it any more."""
        handle = self._open.pop(shard, None)
        if handle is None:
            handle = _Handle(self.shards[shard].shard)
        self._open[shard] = handle  # the last used is the last
        if len(self._open) > OPEN:
            old, _ = self._open.popitem(last=False)
            self.shards[old].forget()
        return handle


class _Handle:
    """An open file by its number, which `os.pread` reads at any place, whoever else reads it."""

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


def check_shards_there(pattern: str) -> None:
    """DataError when a shard that ``pattern`` names is not there, or is named twice; none is opened."""
    for name in _names(pattern):
        if not is_file(Path(name)):
            raise not_there(name)


def _names(pattern: str) -> list[str]:
    names = expanded(pattern, DataError)
    _refuse_doubles(names)
    return names


def _refuse_doubles(names: Sequence[str]) -> None:
    """DataError when a file is named twice, also by a link."""
    seen: set[str] = set()
    for name in names:
        real = os.path.realpath(name)
        if real in seen:
            raise DataError(f"The shard {excerpt(name)} is named twice, and its pairs would count twice; name it once.")
        seen.add(real)
