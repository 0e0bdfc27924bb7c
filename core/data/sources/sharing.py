"""Rows and tokens that one process of a host has read, for the others of the same run on that host.

Flow: ``core.data.dataset.open_dataset`` with a ``shared`` name -> the first process takes the lock, reads, tokenises
and writes where its mapped arrays are; those that waited for the lock map the same arrays. The name is new in each
launch, so nothing is taken for data that have changed since.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import platform
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import filelock
import numpy as np
from pydantic import TypeAdapter, ValidationError

from core.data.cache import cache_folder
from core.data.errors import BadRow
from core.data.sources.tables import Array
from core.spec.errors import UserError
from core.spec.files import write_whole
from core.spec.reading import read_json

_WAIT_SECONDS = 0.5  # between two looks at whether the wait is to end
_LARGEST = 1 << 30  # bytes
_SUFFIX = ".shared.tmp"  # of the cache folder's temporary files: removed when a day old


@dataclass(frozen=True)
class PackedSource:
    """A source as arrays (see `core.data.sources.tables.pack`), tokens and the rows of captions among them."""

    origin: str
    label_names: tuple[str, ...]
    bad: Sequence[BadRow]
    arrays: Mapping[str, Array]
    labels: Sequence[Mapping[str, str]]
    origins: Sequence[str]


@dataclass(frozen=True)
class _Shared:
    origin: str
    label_names: tuple[str, ...]
    bad: list[BadRow]
    labels: list[dict[str, str]]
    origins: list[str]
    file: str  # that all arrays are mapped from
    arrays: dict[str, tuple[str, tuple[int, ...], int]]  # dtype, shape, offset in bytes
    images: str  # the cache file of decoded images; "" where they are streamed


_SHARED = TypeAdapter(_Shared)


def shared_file(name: str, *of: object) -> Path:
    """Where processes of this host share what is read for ``of`` under ``name``."""
    key = hashlib.sha256(repr((name, platform.node(), *of)).encode("utf-8", "surrogatepass")).hexdigest()[:32]
    return cache_folder() / f"{key}{_SUFFIX}"


@contextlib.contextmanager
def first_or_after(path: Path, waiting: Callable[[], object]) -> Iterator[None]:
    """One process at a time for ``path``; ``waiting`` is called while another works, and may raise.

    Where the folder takes no lock, nobody waits.
    """
    lock = filelock.FileLock(path.with_suffix(".lock.tmp"))
    with contextlib.suppress(OSError, NotImplementedError):
        path.parent.mkdir(parents=True, exist_ok=True)
        while True:
            try:
                lock.acquire(timeout=_WAIT_SECONDS)
                break
            except filelock.Timeout:
                waiting()
    try:
        yield
    finally:
        lock.release()


def write_shared(path: Path, packed: PackedSource, images: Path | None) -> None:
    """Tell the others where ``packed`` is mapped from; nothing is told where that is not a file."""
    maps = {name: array for name, array in packed.arrays.items() if isinstance(array, np.memmap)}
    if len(maps) < sum(array.size > 0 for array in packed.arrays.values()):
        return
    described = {
        name: (array.dtype.str, array.shape, maps[name].offset if name in maps else 0)
        for name, array in packed.arrays.items()
    }
    content: dict[str, Any] = {
        "origin": packed.origin,
        "label_names": packed.label_names,
        "bad": [{"where": one.where, "reason": one.reason} for one in packed.bad],
        "labels": [dict(one) for one in packed.labels],
        "origins": list(packed.origins),
        "file": str(next(iter(maps.values())).filename),
        "arrays": described,
        "images": str(images or ""),
    }
    with contextlib.suppress(OSError):
        write_whole(path, json.dumps(content).encode(), durable=False)


def read_shared(path: Path) -> tuple[PackedSource, Path | None] | None:
    """What the first process wrote, and its cache of images; None when there is nothing that can be used."""
    try:
        found = _SHARED.validate_python(read_json(path, _LARGEST))
        arrays: dict[str, Array] = {
            name: np.memmap(found.file, dtype, "c", offset=offset, shape=shape)
            if np.prod(shape)
            else np.empty(shape, dtype)
            for name, (dtype, shape, offset) in found.arrays.items()
        }
    except (OSError, UserError, ValidationError, ValueError, TypeError):
        return None
    packed = PackedSource(found.origin, found.label_names, found.bad, arrays, found.labels, found.origins)
    return packed, Path(found.images) if found.images else None
