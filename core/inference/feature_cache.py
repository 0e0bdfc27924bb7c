"""A cache of features on disk: written in parts, and continued after an interruption.

Flow: ``core.inference.extraction`` asks for the folder of one (model, layer, data); it reads the parts that are
there, encodes the rest, and appends. What was encoded before work was cancelled, or the machine went off, is there
the next time.

A folder holds parts ``START-STOP.safetensors``: the readable rows among START .. STOP - 1 of the data and the values of
each, with the unreadable rows and their reasons in its metadata. Parts are written whole and renamed; one that is
damaged, or does not follow on those before, counts as not there. The longest unused folders go when all of them
together exceed a limit.

Legend: N rows.
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
TOTAL_LIMIT = 8 << 30  # bytes of all folders together
SUFFIX = ".safetensors"


@dataclass(frozen=True)
class Part:
    """Values of the readable rows among ``start`` .. ``stop`` - 1."""

    start: int
    stop: int
    rows: Tensor  # (n,) int64
    values: Tensor  # (n, ...)
    bad: Mapping[int, str] = field(default_factory=dict)


def feature_key(*facts: Any) -> str:
    """A folder's name, which changes with any of ``facts`` (plain data)."""
    text = json.dumps([VERSION, *facts], ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()[:32]


class FeatureFolder:
    """The parts of one key."""

    def __init__(self, key: str, folder: Path | None = None) -> None:
        self.path = (folder or cache_folder() / "features") / key

    def read(self) -> list[Part]:
        """The parts that are there from row 0 on, without a gap."""
        found: dict[int, list[tuple[int, Path]]] = {}
        with contextlib.suppress(OSError):
            for path in self.path.glob(f"*{SUFFIX}"):
                start, _, stop = path.name.removesuffix(SUFFIX).partition("-")
                if start.isdecimal() and stop.isdecimal() and int(start) < int(stop):
                    found.setdefault(int(start), []).append((int(stop), path))
            os.utime(self.path)  # used now: pruned last
        parts: list[Part] = []
        done = 0
        while done in found:
            candidates = sorted(found[done], reverse=True)
            part = next((part for stop, path in candidates if (part := _read(path, done, stop)) is not None), None)
            if part is None:
                break
            parts.append(part)
            done = part.stop
        return parts

    def append(self, part: Part) -> None:
        """Keep ``part``; OSError when it cannot be written."""
        self.path.mkdir(parents=True, exist_ok=True)
        bad = json.dumps({str(row): reason for row, reason in part.bad.items()})
        content = save({"rows": part.rows, "values": part.values.contiguous()}, {"bad": bad})
        write_whole(self.path / f"{part.start:09d}-{part.stop:09d}{SUFFIX}", content)


def _read(path: Path, start: int, stop: int) -> Part | None:
    try:
        with open_regular(path), safetensors.safe_open(path, framework="pt") as file:  # never waits for a pipe
            rows, values = file.get_tensor("rows"), file.get_tensor("values")
            bad = _BAD.validate_json(file.metadata()["bad"])
    except (OSError, UserError, ValueError, KeyError, TypeError, safetensors.SafetensorError):
        return None
    if rows.dtype is not torch.int64 or rows.dim() != 1 or values.dim() < 1 or len(values) != len(rows):
        return None
    if len(rows) + len(bad) != stop - start:  # before the name of a file is believed
        return None
    if rows.tolist() != [row for row in range(start, stop) if row not in bad]:
        return None
    return Part(start, stop, rows, values, bad)


def prune(keep: Sequence[Path], folder: Path | None = None, limit: int = TOTAL_LIMIT) -> None:
    """Remove the longest unused folders beyond ``limit`` bytes, other than those of ``keep``."""
    folder = folder or cache_folder() / "features"
    found = []
    with contextlib.suppress(OSError):
        for path in folder.iterdir():
            with contextlib.suppress(OSError):  # removed by someone else meanwhile
                size = sum(file.stat().st_size for file in path.iterdir())
                found.append((path in keep, path.stat().st_mtime, size, path))
    total = 0
    for kept, _, size, path in sorted(found, reverse=True):
        total += size
        if total > limit and not kept:
            shutil.rmtree(path, ignore_errors=True)
