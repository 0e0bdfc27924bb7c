"""Image paths of a new manifest: relative to its folder, and never outside it."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from core.spec.errors import UserError
from core.spec.shards import file_of

LINK_NAME = "images"


def names_below(files: Sequence[str], folder: Path) -> list[str]:
    """The relative paths of ``files`` (absolute paths) in a manifest that is saved in ``folder``.

    If the files are not below ``folder``, a link to their common folder is created in ``folder``. Raises UserError if
    the link cannot be created, or exists and leads elsewhere.
    """
    root = Path(os.path.commonpath([folder_of(file) for file in files]))
    folder.mkdir(parents=True, exist_ok=True)
    base = folder.absolute()
    if root.is_relative_to(base):
        return [Path(file).relative_to(base).as_posix() for file in files]
    link = base / LINK_NAME
    try:
        if not link.exists():
            link.symlink_to(root, target_is_directory=True)
    except OSError as error:
        raise UserError(
            f"cannot link {root} into {base} ({error.strerror}); choose a folder above the data."
        ) from error
    if link.resolve() != root.resolve():
        raise UserError(f"{link} does not lead to {root}; remove the link, or choose another folder.")
    return [(Path(LINK_NAME) / Path(file).relative_to(root)).as_posix() for file in files]


def folder_of(file: str) -> str:
    """The folder of ``file``; for an image in a tar, the folder of the tar."""
    return os.path.dirname(file_of(file))  # noqa: PTH120  (Path is too slow for a million files)
