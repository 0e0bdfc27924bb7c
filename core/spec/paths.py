"""Parses paths that a user types (~ for a home folder, RUN@STEP for a checkpoint of a run); suffixes of images."""

from __future__ import annotations

import os
from pathlib import Path

IMAGE_SUFFIXES = frozenset(
    {".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".apng", ".webp", ".gif", ".bmp", ".dib"}
    | {".tif", ".tiff", ".ppm", ".pgm", ".pbm", ".pnm", ".avif", ".jp2", ".ico"}
)


def expand_user(name: str | Path) -> Path:
    """``name`` as a path, with a leading ~ or ~USER expanded; unchanged if there can be no such user."""
    try:
        return Path(os.path.expanduser(name))  # noqa: PTH111  (Path.expanduser raises for an unknown user)
    except ValueError:  # ~USER with a null or half a character
        return Path(name)


def is_file(path: str | Path) -> bool:
    """Whether ``path`` is a regular file. Unlike ``Path.is_file``, False for a name that is too long or unreachable."""
    return os.path.isfile(path)  # noqa: PTH113


def is_folder(path: str | Path) -> bool:
    """Whether ``path`` is a folder; False for a name that is too long or unreachable."""
    return os.path.isdir(path)  # noqa: PTH112


def split_run(name: str) -> tuple[Path, str] | None:
    """The run folder in ``name``, and the checkpoint after the @ ("" if there is no @).

    The name of a folder may contain an @, so an existing folder is never split. None if there is no such folder.
    """
    path = expand_user(name)
    if is_folder(path):
        return path, ""
    folder, separator, checkpoint = name.rpartition("@")
    run = expand_user(folder)
    return (run, checkpoint) if separator and is_folder(run) else None
