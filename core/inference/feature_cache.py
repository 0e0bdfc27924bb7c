"""A cache of features on disk, written in parts so that interrupted work continues.

Flow: ``core.inference.extraction`` opens the folder for one (model, layer, data), reads existing parts, encodes missing
rows and appends them.

A folder contains parts ``START-STOP.safetensors``: the readable rows of START .. STOP - 1 and their values, with
unreadable rows and reasons in the metadata. Parts are renamed once they are complete; damaged parts and parts after a
gap are ignored. If the total size exceeds a limit, the least recently used folders are removed.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import safetensors
import torch
from pydantic import TypeAdapter
from safetensors.torch import save
from torch import Tensor

from core.data.cache import cache_folder
from core.spec.errors import UserError
from core.spec.files import write_whole
from core.spec.reading import open_regular

VERSION = 1
_BAD = TypeAdapter(dict[int, str])
MAX_TOTAL_BYTES = 8 << 30  # limit for all folders together
SUFFIX = ".safetensors"


@dataclass(frozen=True)
class Part:
    """The values of the readable rows of ``start`` .. ``stop`` - 1."""

    start: int
    stop: int
    rows: Tensor  # (n,) int64
    values: Tensor  # (n, ...)
    bad: Mapping[int, str] = field(default_factory=dict)


def feature_key(*keys: Any) -> str:
    """A folder name that depends on all ``keys`` (plain data)."""
    text = json.dumps([VERSION, *keys], ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()[:32]


class FeatureFolder:
    """The folder with the parts for one key."""

    def __init__(self, key: str, folder: Path | None = None) -> None:
        self.path = (folder or cache_folder() / "features") / key

    def read(self) -> list[Part]:
        """The contiguous parts, starting at row 0."""
        paths_by_start: dict[int, list[tuple[int, Path]]] = {}
        with contextlib.suppress(OSError):
            for path in self.path.glob(f"*{SUFFIX}"):
                start, _, stop = path.name.removesuffix(SUFFIX).partition("-")
                if start.isdecimal() and stop.isdecimal() and int(start) < int(stop):
                    paths_by_start.setdefault(int(start), []).append((int(stop), path))
            os.utime(self.path)  # marks it as recently used
        parts: list[Part] = []
        next_row = 0
        while next_row in paths_by_start:
            candidates = sorted(paths_by_start[next_row], reverse=True)
            part = next((part for stop, path in candidates if (part := _read(path, next_row, stop)) is not None), None)
            if part is None:
                break
            parts.append(part)
            next_row = part.stop
        return parts

    def append(self, part: Part) -> None:
        """Write ``part``. Raises OSError if writing fails."""
        self.path.mkdir(parents=True, exist_ok=True)
        bad_rows = json.dumps({str(row): reason for row, reason in part.bad.items()})
        content = save({"rows": part.rows, "values": part.values.contiguous()}, {"bad": bad_rows})
        write_whole(self.path / f"{part.start:09d}-{part.stop:09d}{SUFFIX}", content)


def _read(path: Path, start: int, stop: int) -> Part | None:
    try:
        with open_regular(path), safetensors.safe_open(path, framework="pt") as file:  # never waits for a pipe
            rows, values = file.get_tensor("rows"), file.get_tensor("values")
            bad_rows = _BAD.validate_json(file.metadata()["bad"])
    except (OSError, UserError, ValueError, KeyError, TypeError, safetensors.SafetensorError):
        return None
    if rows.dtype is not torch.int64 or rows.dim() != 1 or values.dim() < 1 or len(values) != len(rows):
        return None
    if len(rows) + len(bad_rows) != stop - start:  # the file name cannot be trusted
        return None
    if rows.tolist() != [row for row in range(start, stop) if row not in bad_rows]:
        return None
    return Part(start, stop, rows, values, bad_rows)


def prune(keep: Sequence[Path], folder: Path | None = None, limit: int = MAX_TOTAL_BYTES) -> None:
    """Remove the least recently used folders until ``limit`` bytes are left, except for folders in ``keep``."""
    folder = folder or cache_folder() / "features"
    folders = []
    with contextlib.suppress(OSError):
        for path in folder.iterdir():
            with contextlib.suppress(OSError):  # another process may have removed the folder
                size = sum(file.stat().st_size for file in path.iterdir())
                folders.append((path in keep, path.stat().st_mtime, size, path))
    total = 0
    for is_protected, _, size, path in sorted(folders, reverse=True):
        total += size
        if total > limit and not is_protected:
            shutil.rmtree(path, ignore_errors=True)
