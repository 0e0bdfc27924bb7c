"""Cached indexes of searched image folders; a later search encodes only new images.

Flow: `core.worker.searching` -> ``update_folder_index`` -> `core.search.index.build`.
"""

from __future__ import annotations

import hashlib
import re
import shutil
from functools import partial
from pathlib import Path

from core.search.errors import AllMissingError, NoImagesError, UnusableIndexError
from core.search.index.build import build_index
from core.spec.config import expand_user
from core.spec.reporter import Progress

MAX_INDEXES = 16  # with more, the least recently searched indexes are removed
_MAX_NAME_LENGTH = 40  # length of the part of an index's name that comes from the folder's name
_NAME = re.compile(r".*-[0-9a-f]{20}")


def update_folder_index(home: Path, model: str, weights: str, folder: str, progress: Progress) -> Path | None:
    """Update and return the cached index of the images in ``folder``, for a model with an exact name.

    A damaged index, or an index of other weights with the same name, is replaced. None if the folder contains no
    images. Raises errors of opening the model, and IndexFolderError if another process is writing the index, the disk
    is full, or ``home`` is not writable; encoded images are kept.
    """
    source = expand_user(folder).absolute()
    key = "\n".join((model, weights, str(source))).encode("utf-8", "surrogateescape")
    path = home / f"{source.name[:_MAX_NAME_LENGTH]}-{hashlib.sha256(key).hexdigest()[:20]}"
    try:
        build = partial(build_index, model, str(source), path, progress, lambda _text: None, weights=weights)
        try:
            build()
        except AllMissingError:
            build(drop_missing=True)
        except UnusableIndexError:
            shutil.rmtree(path)
            build()
    except NoImagesError:
        return None
    path.touch()  # marks it as recently used
    _remove_oldest(home)
    return path


def _remove_oldest(home: Path) -> None:
    indexes = [
        path for path in home.iterdir() if path.is_dir() and not path.is_symlink() and _NAME.fullmatch(path.name)
    ]
    for old in sorted(indexes, key=lambda path: path.stat().st_mtime, reverse=True)[MAX_INDEXES:]:
        shutil.rmtree(old, ignore_errors=True)
