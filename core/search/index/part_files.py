"""The files in which faiss keeps a part of an index, compared with what this program writes before faiss reads them.

Flow: ``core.search.index.acceleration`` writes them; ``open_part`` opens them there and for
``core.search.index.nearest``. faiss trusts a file: it allocates what its numbers say, and one of its kinds names
another file to open. So everything but vectors and codes must be, byte for byte, what an index of this kind and size
has, and the file as long as its rows account for. What vectors and codes hold only changes which rows are found.

Legend: N rows, D embed, L lists.
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

_ROWS = slice(8, 16)  # where an index's header counts its vectors
_LISTS = slice(37, 45)  # where an inverted file counts its lists
_CENTROIDS = 98  # where their vectors begin
_NUMBER = np.dtype("<u8")


def empty_scan(dim: int) -> Any:
    """An index that scans 8-bit codes (D bytes a row), to be trained."""
    return faiss.IndexScalarQuantizer(dim, faiss.ScalarQuantizer.QT_8bit, faiss.METRIC_INNER_PRODUCT)


def empty_ivf(quantizer: Any, dim: int, lists: int) -> Any:
    """An inverted file of 4-bit codes around the centroids of ``quantizer``, which it owns from now on."""
    index = faiss.IndexIVFScalarQuantizer(
        quantizer, dim, lists, faiss.ScalarQuantizer.QT_4bit, faiss.METRIC_INNER_PRODUCT, False
    )
    quantizer.this.disown()
    index.own_fields = True
    return index


def open_part(path: Path, kind: Kind, rows: int, dim: int) -> Any:
    """The faiss index of N rows in ``path``, mapped and not loaded.

    Raises IndexFolderError for a file that is missing, or is not what this program writes for such a part.
    """
    # IFC: faiss's word for indexes that are flat arrays of codes, which it maps in another way
    flags = faiss.IO_FLAG_MMAP_IFC if kind == "scan" else faiss.IO_FLAG_MMAP | faiss.IO_FLAG_READ_ONLY
    try:
        with open_regular(path, root=path.parent, error=IndexFolderError) as file:
            size = os.fstat(file.fileno()).st_size
            sound = _is_scan(file, size, rows, dim) if kind == "scan" else _is_ivf(file, size, rows, dim)
        if not sound:
            raise IndexFolderError(f"{path} is damaged or of another index; run `index` again to rebuild it.")
        return faiss.read_index(str(path), flags)
    except (OSError, RuntimeError, MemoryError) as error:
        raise IndexFolderError(f"{path} is damaged or missing; run `index` again to rebuild it.") from error


def _is_scan(file: BinaryIO, size: int, rows: int, dim: int) -> bool:
    """Header, 2 D floats, number of codes, codes (N, D)."""
    index = empty_scan(dim)
    faiss.copy_array_to_vector(np.zeros(2 * dim, np.float32), index.sq.trained)
    index.is_trained = True
    wanted = faiss.serialize_index(index)
    wanted[_ROWS] = _bytes(rows)
    wanted[-8:] = _bytes(rows * dim)
    return size == len(wanted) + rows * dim and _alike(file, wanted, slice(-8 - 8 * dim, -8))


def _is_ivf(file: BinaryIO, size: int, rows: int, dim: int) -> bool:
    """Header, centroids (L, D) float, header of codes, 2 D floats, sizes of lists, then codes and rows of each list."""
    head = file.read(_LISTS.stop)
    lists = int.from_bytes(head[_LISTS], "little")
    if not 0 < lists <= rows or 4 * dim * lists > size:
        return False
    quantizer = faiss.IndexFlatIP(dim)
    quantizer.add(np.zeros((lists, dim), np.float32))
    index = empty_ivf(quantizer, dim, lists)
    faiss.copy_array_to_vector(np.zeros(2 * dim, np.float32), index.sq.trained)
    index.is_trained = True
    wanted = faiss.serialize_index(index)[:-12]  # without the sizes of its lists
    wanted[_ROWS] = _bytes(rows)
    end = len(wanted) - 29  # of the 2 D floats
    if not _alike(file, wanted, slice(_CENTROIDS, _CENTROIDS + 4 * dim * lists), slice(end - 8 * dim, end)):
        return False
    return _lists_hold(file, lists, rows) and size == file.tell() + rows * (index.code_size + 8)


def _lists_hold(file: BinaryIO, lists: int, rows: int) -> bool:
    """Whether the sizes of lists that follow add up to all rows: of every list, or the number and size of a few."""
    form, count = file.read(4), int.from_bytes(file.read(8), "little")
    if form == b"full" and count == lists:
        sizes = np.frombuffer(file.read(8 * lists), _NUMBER)
        numbers = np.arange(len(sizes), dtype=_NUMBER)
    elif form == b"sprs" and count % 2 == 0 and count <= 2 * lists:
        numbers, sizes = np.frombuffer(file.read(8 * count), _NUMBER).reshape(-1, 2).T
    else:
        return False
    known = len(np.unique(numbers)) == len(numbers) and bool((numbers < lists).all())
    return known and bool((sizes <= rows).all()) and int(sizes.sum()) == rows


def _alike(file: BinaryIO, wanted: Any, *free: slice) -> bool:
    """Whether ``file`` begins with the bytes ``wanted`` (n,) uint8, but for what is ``free``."""
    file.seek(0)
    begins = np.frombuffer(file.read(len(wanted)), np.uint8).copy()
    if len(begins) != len(wanted):
        return False
    for part in free:
        begins[part] = wanted[part]
    return bool(np.array_equal(begins, wanted))


def _bytes(number: int) -> Any:
    return np.frombuffer(number.to_bytes(8, "little"), np.uint8)
