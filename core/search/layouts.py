"""A cache of layouts of large maps, by digest of their vectors and settings.

Flow: `core.search.projection` -> ``load_layout``; if there is no saved layout, it is computed -> ``save_layout``.
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
MAX_LAYOUTS = 32  # the least recently used layouts beyond this are removed
_MAX_BYTES = 64 * MEGABYTE


def layout_digest(vectors: npt.NDArray[Any], method: str) -> str:
    """A digest of the vectors (N, D) and the method ``method`` with its settings."""
    digest = hashlib.sha256(f"{VERSION} {method} {vectors.shape}".encode())
    digest.update(np.ascontiguousarray(vectors, np.float16).data)
    return digest.hexdigest()[:32]


def load_layout(digest: str, points: int) -> npt.NDArray[np.float64] | None:
    """The layout (N, 2) of ``points`` points; None if it is missing or unreadable."""
    path = _path(digest)
    try:
        content = read_bytes(path, _MAX_BYTES)
        loaded = np.load(io.BytesIO(content), allow_pickle=False)
        path.touch()
    except (OSError, ValueError, EOFError, UserError):
        return None
    if loaded.shape != (points, 2) or loaded.dtype != np.float32 or not np.isfinite(loaded).all():
        return None
    layout: npt.NDArray[np.float64] = loaded.astype(np.float64)
    return layout


def save_layout(digest: str, layout: npt.NDArray[np.float64]) -> None:
    """Save a layout; errors are ignored, since it can be recomputed."""
    path, content = _path(digest), io.BytesIO()
    np.save(content, layout.astype(np.float32), allow_pickle=False)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, content.getvalue())
        files = sorted(path.parent.glob("*.npy"), key=lambda file: file.stat().st_mtime, reverse=True)
        for old in files[MAX_LAYOUTS:]:
            old.unlink(missing_ok=True)
    except OSError:
        return


def _path(digest: str) -> Path:
    return cache_folder() / "maps" / f"{digest}.npy"
