"""Rows of a source packed into arrays, which processes can share and take a fifth of the memory of Python objects.

Flow: ``core.data.dataset`` packs a source into arrays and discards the source. Large arrays are written to the cache
folder and memory-mapped, so that all processes of a run, and the next run, share the pages. Python objects would be
copied into each loader process page by page, because reference counting writes to them.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, overload

import numpy as np
import numpy.typing as npt

from core.data.cache import ROWS_SUFFIX, cache_folder, prune
from core.data.sources.rows import Row
from core.spec.files import whole_file

MIN_MAPPED_BYTES = 32 << 20  # smaller tables stay in memory
ALIGNMENT = 64  # bytes

Array = npt.NDArray[Any]
Integers = npt.NDArray[np.int64]


class PackedTexts(Sequence[str]):
    """Many texts, stored one after another in one array."""

    def __init__(self, content: npt.NDArray[np.uint8], starts: Integers) -> None:
        """``starts`` (n + 1,): the position in ``content`` where each text begins, and the end of the last text."""
        self.content, self.starts = content, starts

    @classmethod
    def pack(cls, texts: Sequence[str]) -> PackedTexts:
        encoded = [text.encode("utf-8", "surrogatepass") for text in texts]
        starts = np.zeros(len(encoded) + 1, np.int64)
        np.cumsum([len(text) for text in encoded], out=starts[1:])
        content = np.frombuffer(b"".join(encoded), np.uint8) if starts[-1] else np.empty(0, np.uint8)
        return cls(content, starts)

    def __len__(self) -> int:
        return len(self.starts) - 1

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> list[str]: ...
    def __getitem__(self, index: int | slice) -> str | list[str]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        if not -len(self) <= index < len(self):
            raise IndexError(index)
        index %= len(self)
        part = self.content[self.starts[index] : self.starts[index + 1]]
        return part.tobytes().decode("utf-8", "surrogatepass")


class RowTable:
    """A sequence of rows; each `Row` is built when it is accessed."""

    def __init__(
        self, arrays: Mapping[str, Array], labels: Sequence[Mapping[str, str]], origins: Sequence[str]
    ) -> None:
        self.files = PackedTexts(arrays["files"], arrays["file_starts"])
        self.captions = PackedTexts(arrays["captions"], arrays["caption_starts"])
        self.starts: Integers = arrays["starts"]  # (N + 1,) position of each row's first caption, and the end
        self._label, self._origin, self._line = arrays["label"], arrays["origin"], arrays["line"]
        self._labels, self._origins = list(labels), list(origins)

    def __len__(self) -> int:
        return len(self.starts) - 1

    def __getitem__(self, index: int) -> Row:
        return Row(
            self.files[index],
            self.captions_of(index),
            self.labels(index),
            self._origins[int(self._origin[index])],
            int(self._line[index]),
        )

    def __iter__(self) -> Iterator[Row]:
        return (self[index] for index in range(len(self)))

    def captions_of(self, row: int) -> tuple[str, ...]:
        """All captions of ``row``."""
        return tuple(self.captions[self.starts[row] : self.starts[row + 1]])

    def labels(self, row: int) -> Mapping[str, str]:
        """The labels of ``row``: name -> value. Rows with equal labels share one mapping."""
        return self._labels[int(self._label[row])]


def pack(rows: Sequence[Row]) -> tuple[dict[str, Array], list[Mapping[str, str]], list[str]]:
    """The arguments of `RowTable`: arrays, the distinct labels, the distinct origins."""
    files = PackedTexts.pack([row.file for row in rows])
    captions = PackedTexts.pack([caption for row in rows for caption in row.captions])
    starts = np.zeros(len(rows) + 1, np.int64)
    np.cumsum([len(row.captions) for row in rows], out=starts[1:])
    labels: dict[int, tuple[int, Mapping[str, str]]] = {}
    for row in rows:  # rows with equal labels share one mapping, so identity is enough
        labels.setdefault(id(row.labels), (len(labels), row.labels))
    origins = {origin: number for number, origin in enumerate(dict.fromkeys(row.origin for row in rows))}
    arrays: dict[str, Array] = {
        "files": files.content,
        "file_starts": files.starts,
        "captions": captions.content,
        "caption_starts": captions.starts,
        "starts": starts,
        "label": np.array([labels[id(row.labels)][0] for row in rows], np.int32),
        "origin": np.array([origins[row.origin] for row in rows], np.int32),
        "line": np.array([row.line for row in rows], np.int64),
    }
    return arrays, [mapping for _, mapping in labels.values()], list(origins)


def memory_map(arrays: Mapping[str, Array], always: bool = False) -> dict[str, Array]:
    """``arrays``, memory-mapped from the cache folder.

    Unchanged if the folder cannot be written, or if the arrays are small (unless ``always``).
    """
    if not always and sum(array.nbytes for array in arrays.values()) < MIN_MAPPED_BYTES:
        return dict(arrays)
    digest = hashlib.sha256()
    for name, array in arrays.items():
        digest.update(f"{name} {array.dtype} {array.shape}\n".encode())
        digest.update(np.ascontiguousarray(array).data)
    path = cache_folder() / (digest.hexdigest()[:32] + ROWS_SUFFIX)
    ends = np.cumsum([-(-array.nbytes // ALIGNMENT) * ALIGNMENT for array in arrays.values()]).tolist()
    try:
        if not (path.is_file() and path.stat().st_size == ends[-1]):
            _write(path, arrays)
        with contextlib.suppress(OSError):
            os.utime(path)  # marks it as used, so that it is pruned last
        return {
            name: np.memmap(path, array.dtype, "c", offset=start, shape=array.shape) if array.size else array
            for (name, array), (start, _) in zip(arrays.items(), pairwise([0, *ends]), strict=True)
        }
    except OSError:
        return dict(arrays)


def _write(path: Path, arrays: Mapping[str, Array]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(path) as file:
        for array in arrays.values():
            file.write(np.ascontiguousarray(array).data)
            file.write(b"\0" * (-array.nbytes % ALIGNMENT))
    prune(path.parent, keep=path)
