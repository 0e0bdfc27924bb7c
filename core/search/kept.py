"""Folders of images that were searched, each kept as an index: the next search in one encodes only what is new there.

Flow: `core.worker.searching` -> ``kept_index`` -> `core.search.index.build`; nobody names these indexes.
"""

from __future__ import annotations

import hashlib
import re
import shutil
from pathlib import Path

from core.search.collection import Progress
from core.search.errors import IndexFolderError
from core.search.index.build import build_index
from core.spec.config import expand_user

KEPT = 16  # indexes; the one that was not searched for longest makes room
_LONGEST = 40  # characters of a folder's name
_NAME = re.compile(r".*-[0-9a-f]{20}")


def kept_index(home: Path, model: str, weights: str, folder: str, progress: Progress) -> Path | None:
    """The index under ``home`` of the images in ``folder`` by a model (an exact name), brought up to date.

    None where there can be none: the folder holds no image, or another process is writing the index. Raises what
    opening the model raises, and OSError when ``home`` cannot be written to; what was encoded until then is kept.
    """
    source = expand_user(folder).absolute()
    what = "\n".join((model, weights, str(source))).encode("utf-8", "surrogateescape")
    path = home / f"{source.name[:_LONGEST]}-{hashlib.sha256(what).hexdigest()[:20]}"
    home.mkdir(parents=True, exist_ok=True)
    try:
        build_index(model, str(source), path, progress, lambda _text: None, weights=weights)
    except IndexFolderError:
        return None
    path.touch()  # searched last
    _make_room(home)
    return path


def _make_room(home: Path) -> None:
    there = [path for path in home.iterdir() if path.is_dir() and not path.is_symlink() and _NAME.fullmatch(path.name)]
    for old in sorted(there, key=lambda path: path.stat().st_mtime, reverse=True)[KEPT:]:
        shutil.rmtree(old, ignore_errors=True)
