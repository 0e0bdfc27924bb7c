"""Names that a user types: ~ for a home, and RUN@STEP, which says which checkpoint of a run is meant."""

from __future__ import annotations

import os
from pathlib import Path


def expand_user(name: str | Path) -> Path:
    """``name`` as a path, with a leading ~ or ~USER as that home; as it is where there is no such user."""
    return Path(os.path.expanduser(name))  # noqa: PTH111  (Path's raises where there is no such user)


def split_run(name: str) -> tuple[Path, str] | None:
    """The run folder in ``name``, and the checkpoint after its @; "" without one.

    A folder may itself have an @ in its name, so one that is there whole is taken whole. None when there is no such
    folder, as of ``open_clip:`` names.
    """
    path = expand_user(name)
    # os.path.isdir, since Path's raises for a name too long or with a null character
    if os.path.isdir(path):  # noqa: PTH112
        return path, ""
    folder, at, which = name.rpartition("@")
    run = expand_user(folder)
    return (run, which) if at and os.path.isdir(run) else None  # noqa: PTH112
