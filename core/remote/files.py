"""Files of runs on this machine, for those who fetch them: checkpoints, parts of files, small images.

Everything stays inside the run's folder, but for images, whose paths its events name: they are only sent small.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from core.spec.errors import UserError
from core.spec.machines.answers import MOST_BYTES, CheckpointFacts, FileFacts, packed
from core.spec.reading import excerpt, open_regular
from core.spec.run.folder import RunDir, RunDirError
from core.spec.run.model_names import CheckpointError, names, pointer

_MOST_IMAGES = 200
_LARGEST_SIDE = 512


def checkpoints(run: RunDir) -> list[CheckpointFacts]:
    """The whole checkpoints of ``run``, oldest first."""
    pointed = {which: _pointer(run, which) for which in ("best", "last")}
    found = []
    for name in names(run):
        try:
            files = [_facts(path) for path in sorted((run.checkpoints / name).iterdir()) if path.is_file()]
        except FileNotFoundError:  # it made room for a newer one meanwhile
            continue
        pointers = [which for which, named in pointed.items() if named == name]
        found.append(CheckpointFacts(name=name, files=files, pointers=pointers))
    return found


def _pointer(run: RunDir, which: str) -> str:
    try:
        return pointer(run, which)
    except (CheckpointError, OSError):
        return ""


def _facts(path: Path) -> FileFacts:
    found = path.stat()
    return FileFacts(name=path.name, size=found.st_size, stamp=found.st_mtime_ns)


def read_part(run: RunDir, file: str, offset: int, length: int) -> dict[str, Any]:
    """A part of a file of the run's folder. UserError when it is not there, or outside."""
    if offset < 0 or not 0 < length <= MOST_BYTES:
        raise UserError(f"a part of {length} bytes at {offset} cannot be asked for; ask for 1 to {MOST_BYTES}.")
    parts = Path(file).parts
    if not parts or Path(file).is_absolute() or ".." in parts:
        raise UserError(f"{excerpt(file)} is no file of a run; give a path inside its folder.")
    try:
        with open_regular(run.path / file, root=run.path, error=RunDirError) as opened:
            opened.seek(0, 2)
            size = opened.tell()
            opened.seek(offset)
            data = opened.read(length)
    except FileNotFoundError as error:
        raise UserError(f"{excerpt(file)} is no longer in {run.path}; choose a checkpoint that is.") from error
    stamp = (run.path / file).stat().st_mtime_ns
    return {"data": packed(data), "size": size, "stamp": stamp}


def small_images(paths: Sequence[str], side: int) -> dict[str, Any]:
    """JPEGs of images, by path, whose longer side is at most ``side`` pixels; none of what cannot be read."""
    found: dict[str, Any] = {}
    for path in list(paths)[:_MOST_IMAGES]:
        try:
            data = _small(Path(path), max(16, min(side, _LARGEST_SIDE)))
            stamp = Path(path).stat().st_mtime_ns
        except Exception:  # noqa: BLE001  an image may be anything, and the others are shown all the same
            continue
        found[path] = {"data": packed(data), "size": len(data), "stamp": stamp}
    return found


def _small(path: Path, side: int) -> bytes:
    from PIL import Image, ImageOps  # noqa: PLC0415  (most sessions never ask for an image)

    with open_regular(path, error=RunDirError, limit=256 << 20) as file, Image.open(file) as image:
        image.draft("RGB", (2 * side, 2 * side))
        image.thumbnail((side, side))
        held = io.BytesIO()
        upright = ImageOps.exif_transpose(image)  # what is saved below no longer says how it was held
        upright.convert("RGB").save(held, "JPEG", quality=85)
    return held.getvalue()
