"""faiss files of index parts, validated before faiss reads them.

Flow: ``core.search.index.acceleration`` writes them; it and ``core.search.index.nearest`` open them with ``open_part``.
faiss trusts a file: it allocates as much memory as the file says, and one of its formats names another file to open.
So all bytes except vectors and codes must equal those of an index of this kind and size, and the length of the file
must match its rows. Vectors and codes only affect which rows are found.

Legend: N rows, D dimensions, L lists.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, BinaryIO, Literal

import faiss
import numpy as np

from core.search.errors import IndexFolderError
from core.spec.reading import open_regular

Kind = Literal["scan", "ivf"]

_ROWS = slice(8, 16)  # number of vectors in the header of an index
_LISTS = slice(37, 45)  # number of lists in the header of an inverted file
_CENTROIDS = 98  # start of the centroids
_SIZES_HEAD = 12  # bytes: the form of the list sizes, and a count
_AFTER_RANGES = 29  # bytes between the 2 * D floats and the list sizes
_NUMBER = np.dtype("<u8")


def empty_scan(dim: int) -> Any:
    """An untrained index of 8-bit codes (D bytes per row)."""
    return faiss.IndexScalarQuantizer(dim, faiss.ScalarQuantizer.QT_8bit, faiss.METRIC_INNER_PRODUCT)


def empty_ivf(quantizer: Any, dim: int, lists: int) -> Any:
    """An inverted file of 4-bit codes around the centroids of ``quantizer``; takes ownership of ``quantizer``."""
    index = faiss.IndexIVFScalarQuantizer(
        quantizer, dim, lists, faiss.ScalarQuantizer.QT_4bit, faiss.METRIC_INNER_PRODUCT, False
    )
    quantizer.this.disown()
    index.own_fields = True
    return index


def open_part(path: Path, kind: Kind, rows: int, dim: int) -> Any:
    """The memory-mapped faiss index of N rows in ``path``.

    Raises IndexFolderError if the file is missing or not valid for such a part.
    """
    # IFC: faiss maps flat arrays of codes with a different flag
    flags = faiss.IO_FLAG_MMAP_IFC if kind == "scan" else faiss.IO_FLAG_MMAP | faiss.IO_FLAG_READ_ONLY
    try:
        with open_regular(path, root=path.parent, error=IndexFolderError) as file:
            size = os.fstat(file.fileno()).st_size
            is_valid = _is_scan(file, size, rows, dim) if kind == "scan" else _is_ivf(file, size, rows, dim)
        if not is_valid:
            raise IndexFolderError(f"{path} is damaged or belongs to another index; run `index` again to rebuild it.")
        return faiss.read_index(str(path), flags)
    except (OSError, RuntimeError, MemoryError) as error:
        raise IndexFolderError(f"{path} is damaged or missing; run `index` again to rebuild it.") from error


def _is_scan(file: BinaryIO, size: int, rows: int, dim: int) -> bool:
    """Whether ``file`` is a header, 2 * D floats (each dimension's range), the number of codes, and codes (N, D)."""
    index = empty_scan(dim)
    faiss.copy_array_to_vector(np.zeros(2 * dim, np.float32), index.sq.trained)
    index.is_trained = True
    expected = faiss.serialize_index(index)
    expected[_ROWS] = _as_bytes(rows)
    expected[-8:] = _as_bytes(rows * dim)
    return size == len(expected) + rows * dim and _matches(file, expected, slice(-8 - 8 * dim, -8))


def _is_ivf(file: BinaryIO, size: int, rows: int, dim: int) -> bool:
    """Whether ``file`` is a header, centroids (L, D) float, a header of codes, 2 * D floats (the range of each
    dimension), the lists' sizes, then codes and rows of each list.
    """
    head = file.read(_LISTS.stop)
    lists = int.from_bytes(head[_LISTS], "little")
    if not 0 < lists <= rows or 4 * dim * lists > size:
        return False
    quantizer = faiss.IndexFlatIP(dim)
    quantizer.add(np.zeros((lists, dim), np.float32))
    index = empty_ivf(quantizer, dim, lists)
    faiss.copy_array_to_vector(np.zeros(2 * dim, np.float32), index.sq.trained)
    index.is_trained = True
    expected = faiss.serialize_index(index)[:-_SIZES_HEAD]
    expected[_ROWS] = _as_bytes(rows)
    end = len(expected) - _AFTER_RANGES
    if not _matches(file, expected, slice(_CENTROIDS, _CENTROIDS + 4 * dim * lists), slice(end - 8 * dim, end)):
        return False
    return _list_sizes_match(file, lists, rows) and size == file.tell() + rows * (index.code_size + 8)


def _list_sizes_match(file: BinaryIO, lists: int, rows: int) -> bool:
    """Whether the list sizes that follow (dense, or sparse with list numbers) add up to all rows."""
    form, count = file.read(4), int.from_bytes(file.read(8), "little")
    if form == b"full" and count == lists:
        sizes = np.frombuffer(file.read(8 * lists), _NUMBER)
        numbers = np.arange(len(sizes), dtype=_NUMBER)
    elif form == b"sprs" and count % 2 == 0 and count <= 2 * lists:
        numbers, sizes = np.frombuffer(file.read(8 * count), _NUMBER).reshape(-1, 2).T
    else:
        return False
    is_valid = len(np.unique(numbers)) == len(numbers) and bool((numbers < lists).all())
    return is_valid and bool((sizes <= rows).all()) and int(sizes.sum()) == rows


def _matches(file: BinaryIO, expected: Any, *ignored: slice) -> bool:
    """Whether ``file`` starts with the bytes ``expected`` (n,) uint8, except in ``ignored`` slices."""
    file.seek(0)
    head = np.frombuffer(file.read(len(expected)), np.uint8).copy()
    if len(head) != len(expected):
        return False
    for part in ignored:
        head[part] = expected[part]
    return bool(np.array_equal(head, expected))


def _as_bytes(number: int) -> Any:
    return np.frombuffer(number.to_bytes(8, "little"), np.uint8)
