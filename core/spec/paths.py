"""Names that a user types: ~ for a home, and RUN@STEP, which says which checkpoint of a run is meant."""

from __future__ import annotations

import os
from pathlib import Path


def expand_user(name: str | Path) -> Path:
    """``name`` as a path, with a leading ~ or ~USER as that home; as it is where there is no such user."""
    return Path(os.path.expanduser(name))  # noqa: PTH111  (Path's raises where there is no such user)


def is_file(path: str | Path) -> bool:
    """Whether a regular file is at ``path``; False for what cannot be a name, such as words too long for one.

    ``Path.is_file`` raises for a name that is too long and for a folder that cannot be reached.
    """
    return os.path.isfile(path)  # noqa: PTH113


def is_folder(path: str | Path) -> bool:
    """Whether a folder is at ``path``; False for what cannot be a name, and for one that cannot be reached."""
    return os.path.isdir(path)  # noqa: PTH112


def split_run(name: str) -> tuple[Path, str] | None:
    """The run folder in ``name``, and the checkpoint after its @; "" without one.

    A folder may itself have an @ in its name, so one that is there whole is taken whole. None when there is no such
    folder, as of ``open_clip:`` names.
    """
    path = expand_user(name)
    if is_folder(path):
        return path, ""
    folder, at, which = name.rpartition("@")
    run = expand_user(folder)
    return (run, which) if at and is_folder(run) else None
