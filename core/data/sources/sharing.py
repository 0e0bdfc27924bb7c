"""Shares rows and tokens read by one process with the other processes of the same run on the same host.

Flow: ``core.data.dataset.open_dataset`` with a ``shared`` name -> the first process acquires the lock, reads,
tokenises, and records the file from which its arrays are mapped; the processes that waited for the lock map the same
arrays. Each launch uses a new name, so stale data is never used.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import platform
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
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

_WAIT_INTERVAL_S = 0.5  # interval between calls of ``waiting``
_MAX_BYTES = 1 << 30
_SUFFIX = ".shared.tmp"  # files with this suffix are temporary files of the cache folder, removed after a day


@dataclass(frozen=True)
class PackedSource:
    """A source as arrays (`core.data.sources.tables.pack`), including the tokens and rows of its captions."""

    origin: str
    label_names: tuple[str, ...]
    bad: Sequence[BadRow]
    arrays: Mapping[str, Array]
    labels: Sequence[Mapping[str, str]]
    origins: Sequence[str]


@dataclass(frozen=True)
class _Record:
    origin: str
    label_names: tuple[str, ...]
    bad: list[BadRow]
    labels: list[dict[str, str]]
    origins: list[str]
    file: str  # all arrays are mapped from this file
    arrays: dict[str, tuple[str, tuple[int, ...], int]]  # dtype, shape, offset in bytes
    images: str  # the cache file of decoded images; "" if there is none


_RECORD = TypeAdapter(_Record)


def shared_file(name: str, *key_parts: object) -> Path:
    """The file through which processes of this host share the data identified by ``name`` and ``key_parts``."""
    key = hashlib.sha256(repr((name, platform.node(), *key_parts)).encode("utf-8", "surrogatepass")).hexdigest()[:32]
    return cache_folder() / f"{key}{_SUFFIX}"


@contextlib.contextmanager
def one_process_at_a_time(path: Path, waiting: Callable[[], object]) -> Iterator[None]:
    """Let one process at a time enter; call ``waiting``, which may raise, while another process holds the lock.

    Does not wait if the file system has no locks.
    """
    lock = filelock.FileLock(path.with_suffix(".lock.tmp"))
    with contextlib.suppress(OSError, NotImplementedError):
        path.parent.mkdir(parents=True, exist_ok=True)
        while True:
            try:
                lock.acquire(timeout=_WAIT_INTERVAL_S)
                break
            except filelock.Timeout:
                waiting()
    try:
        yield
    finally:
        lock.release()


def write_shared(path: Path, packed: PackedSource, images: Path | None) -> None:
    """Record for the other processes from which file ``packed`` is mapped; do nothing if it is not mapped."""
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
        "bad": [asdict(row) for row in packed.bad],
        "labels": [dict(labels) for labels in packed.labels],
        "origins": list(packed.origins),
        "file": str(next(iter(maps.values())).filename),
        "arrays": described,
        "images": str(images or ""),
    }
    with contextlib.suppress(OSError):
        write_whole(path, json.dumps(content).encode(), durable=False)


def read_shared(path: Path) -> tuple[PackedSource, Path | None] | None:
    """The source that the first process shared, and its image cache; None if there is no usable record."""
    try:
        shared = _RECORD.validate_python(read_json(path, _MAX_BYTES))
        arrays: dict[str, Array] = {
            name: np.memmap(shared.file, dtype, "c", offset=offset, shape=shape)
            if np.prod(shape)
            else np.empty(shape, dtype)
            for name, (dtype, shape, offset) in shared.arrays.items()
        }
    except (OSError, UserError, ValidationError, ValueError, TypeError):
        return None
    packed = PackedSource(shared.origin, shared.label_names, shared.bad, arrays, shared.labels, shared.origins)
    return packed, Path(shared.images) if shared.images else None
