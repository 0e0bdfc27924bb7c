"""Filters search results by folder, label, file size and modification date.

Flow: terminal or panel -> ``Filter`` -> mask -> results.
"""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

import numpy as np

from core.search.collection import Collection, Columns
from core.search.errors import QueryError
from core.search.index.storage import Mask
from core.spec.config import expand_user

_SIZE = re.compile(r"^\s*(\d+(?:\.\d+)?)\s*(k|m|g)?i?b?\s*$", re.IGNORECASE)
_MAX_SIZE = float(1 << 62)  # bytes
_MAX_SECONDS = 9e9  # since the epoch; fits in 64 bits as nanoseconds
_FACTORS = {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30}


@dataclass(frozen=True)
class Filter:
    """A filter; empty fields match everything. ``folders`` include their subfolders."""

    folders: tuple[str, ...] = ()
    labels: Mapping[str, tuple[str, ...]] = field(default_factory=dict)  # name -> allowed values
    min_size: int = 0  # bytes
    max_size: int = 0
    after: float | None = None  # modification time, seconds since the epoch
    before: float | None = None

    def mask(self, collection: Collection) -> Mask:
        """Whether each image matches: (N,). Raises QueryError for an unknown label or folder."""
        mask = collection.alive.copy()
        if self.min_size:
            mask &= collection.sizes >= self.min_size
        if self.max_size:
            mask &= collection.sizes <= self.max_size
        if self.after is not None:
            mask &= collection.times >= int(self.after * 1e9)
        if self.before is not None:
            mask &= collection.times < int(self.before * 1e9)
        if self.folders:
            mask &= _in_folders(collection.columns, self.folders)
        for name, values in self.labels.items():
            mask &= _with_label(collection.columns, name, values)
        return mask


def _in_folders(columns: Columns, folders: tuple[str, ...]) -> Mask:
    parents = [str(expand_user(folder).absolute()).rstrip(os.sep) for folder in folders]
    inside = np.array(
        [any(folder == top or folder.startswith(top + os.sep) for top in parents) for folder in columns.folders]
    )
    if not inside.any():
        raise QueryError(
            f"there is no image in {', '.join(parents)}; choose another folder, such as {columns.folders[0]}."
        )
    mask: Mask = (columns.folder >= 0) & inside[np.maximum(columns.folder, 0)]
    return mask


def _with_label(columns: Columns, name: str, values: tuple[str, ...]) -> Mask:
    if name not in columns.labels:
        available = ", ".join(columns.labels) or "none"
        raise QueryError(f"there is no label {name!r}; available labels: {available}.")
    known_values, codes = columns.labels[name]
    unknown = [value for value in values if value not in known_values]
    if unknown:
        close = difflib.get_close_matches(unknown[0], known_values, n=1, cutoff=0.5)
        hint = f"did you mean {close[0]!r}?" if close else f"available: {', '.join(map(repr, known_values[:5]))}."
        raise QueryError(f"no image has the label {name} = {unknown[0]!r}; {hint}")
    mask: Mask = np.isin(codes, [known_values.index(value) for value in values])
    return mask


def read_size(text: str | int) -> int:
    """Bytes from a number or a text such as "200 KB" or "1.5MiB". Raises QueryError for anything else."""
    match = _SIZE.match(str(text))
    if match is None:
        raise QueryError(f"{text!r} is not a size; enter a number of bytes, or a size such as 200KB or 1.5MB.")
    size = float(match[1]) * _FACTORS[(match[2] or "").lower()]
    if size > _MAX_SIZE:
        raise QueryError(f"the size {text} is larger than any file; enter a size such as 200KB or 1.5MB.")
    return round(size)


def read_date(text: str | float) -> float:
    """Seconds since the epoch from a number, or from a date such as "2024-05-31" (local time).

    Raises QueryError for anything else.
    """
    if isinstance(text, (int, float)):
        if not abs(text) < _MAX_SECONDS:
            raise QueryError(f"{text} is not a time; enter seconds since 1970, or a date such as 2024-05-31.")
        return float(text)
    try:
        return datetime.fromisoformat(text.strip()).timestamp()
    except (ValueError, OverflowError, OSError) as error:
        raise QueryError(f"{text!r} is not a date; enter a date such as 2024-05-31 or 2024-05-31T18:00.") from error
