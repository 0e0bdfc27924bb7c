"""Layouts of large maps, computed once and kept in the cache folder under the digest of what was laid out.

Flow: `core.search.projection` -> ``kept_layout``, else it computes -> ``keep_layout``.
"""

from __future__ import annotations

import hashlib
import io
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from core.data.cache import cache_folder
from core.spec.errors import UserError
from core.spec.files import write_whole
from core.spec.reading import MEGABYTE, read_bytes

VERSION = 1
KEPT = 32  # layouts; the one that was not used for longest makes room
_LARGEST = 64 * MEGABYTE


def layout_digest(vectors: npt.NDArray[Any], how: str) -> str:
    """Names a layout by the vectors (N, D) and the method with its settings."""
    found = hashlib.sha256(f"{VERSION} {how} {vectors.shape}".encode())
    found.update(np.ascontiguousarray(vectors, np.float16).data)
    return found.hexdigest()[:32]


def kept_layout(digest: str, points: int) -> npt.NDArray[np.float64] | None:
    """The layout (N, 2) of that many points; None where there is none that can be read."""
    path = _path(digest)
    try:
        content = read_bytes(path, _LARGEST)
        found = np.load(io.BytesIO(content), allow_pickle=False)
        path.touch()
    except (OSError, ValueError, EOFError, UserError):
        return None
    if found.shape != (points, 2) or found.dtype != np.float32 or not np.isfinite(found).all():
        return None
    layout: npt.NDArray[np.float64] = found.astype(np.float64)
    return layout


def keep_layout(digest: str, layout: npt.NDArray[np.float64]) -> None:
    """Keep a layout; one that cannot be written is computed again the next time."""
    path, content = _path(digest), io.BytesIO()
    np.save(content, layout.astype(np.float32), allow_pickle=False)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, content.getvalue())
        there = sorted(path.parent.glob("*.npy"), key=lambda one: one.stat().st_mtime, reverse=True)
        for old in there[KEPT:]:
            old.unlink(missing_ok=True)
    except OSError:
        return


def _path(digest: str) -> Path:
    return cache_folder() / "maps" / f"{digest}.npy"
