"""Serves files of runs on this machine: checkpoints, chunks of files, thumbnails.

Serves only files inside the run's folder, and thumbnails of any image.
"""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from core.spec.errors import UserError
from core.spec.machines.answers import CHECKPOINT_FILE, MAX_CHUNK_BYTES, CheckpointFacts, FileFacts, pack_bytes
from core.spec.reading import excerpt, open_regular
from core.spec.run.folder import RunDir, RunDirError
from core.spec.run.model_names import CheckpointError, checkpoint_names, pointer

_MAX_IMAGES = 200
_MAX_SIDE = 512


def checkpoints(run: RunDir) -> list[CheckpointFacts]:
    """The complete checkpoints of ``run``, oldest first."""
    aliases = {alias: _pointer(run, alias) for alias in ("best", "last")}
    facts = []
    for name in checkpoint_names(run):
        try:
            files = [_file_facts(path) for path in sorted((run.checkpoints / name).iterdir()) if _is_part(path)]
        except FileNotFoundError:  # the trainer has just deleted this checkpoint
            continue
        pointers = [alias for alias, target in aliases.items() if target == name]
        facts.append(CheckpointFacts(name=name, files=files, pointers=pointers))
    return facts


def _is_part(path: Path) -> bool:
    """Whether ``path`` is a file of the checkpoint, not one of the file system such as ``.nfs0001`` or ``._a``."""
    return path.is_file() and re.fullmatch(CHECKPOINT_FILE, path.name) is not None


def _pointer(run: RunDir, alias: str) -> str:
    try:
        return pointer(run, alias)
    except (CheckpointError, OSError):
        return ""


def _file_facts(path: Path) -> FileFacts:
    stat = path.stat()
    return FileFacts(name=path.name, size=stat.st_size, stamp=stat.st_mtime_ns)


def read_part(run: RunDir, file: str, offset: int, length: int) -> dict[str, Any]:
    """A chunk of a file in the run folder. Raises UserError if the file is missing or outside the folder."""
    if offset < 0 or not 0 < length <= MAX_CHUNK_BYTES:
        raise UserError(f"cannot read {length} bytes at {offset}; request 1 to {MAX_CHUNK_BYTES} bytes.")
    parts = Path(file).parts
    if not parts or Path(file).is_absolute() or ".." in parts:
        raise UserError(f"{excerpt(file)} is not a file of a run; use a path inside the run folder.")
    try:
        with open_regular(run.path / file, root=run.path, error=RunDirError) as stream:
            stream.seek(0, 2)
            size = stream.tell()
            stream.seek(offset)
            data = stream.read(length)
    except FileNotFoundError as error:
        raise UserError(f"{excerpt(file)} is no longer in {run.path}; choose an existing checkpoint.") from error
    stamp = (run.path / file).stat().st_mtime_ns
    return {"data": pack_bytes(data), "size": size, "stamp": stamp}


def small_images(paths: Sequence[str], side: int) -> dict[str, Any]:
    """JPEG thumbnails by path, at most ``side`` pixels on the longer side. Unreadable images are left out."""
    images: dict[str, Any] = {}
    for path in list(paths)[:_MAX_IMAGES]:
        try:
            data = _thumbnail(Path(path), max(16, min(side, _MAX_SIDE)))
            stamp = Path(path).stat().st_mtime_ns
        except Exception:  # noqa: BLE001  a broken image must not hide the others
            continue
        images[path] = {"data": pack_bytes(data), "size": len(data), "stamp": stamp}
    return images


def _thumbnail(path: Path, side: int) -> bytes:
    from PIL import Image, ImageOps  # noqa: PLC0415  (most sessions never ask for an image)

    with open_regular(path, error=RunDirError, limit=256 << 20) as file, Image.open(file) as image:
        image.draft("RGB", (2 * side, 2 * side))
        image.thumbnail((side, side))
        buffer = io.BytesIO()
        upright = ImageOps.exif_transpose(image)  # the thumbnail is saved without EXIF
        upright.convert("RGB").save(buffer, "JPEG", quality=85)
    return buffer.getvalue()
