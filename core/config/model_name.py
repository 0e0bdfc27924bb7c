"""RUN@STEP: how a model's name says which checkpoint of a run is meant."""

from __future__ import annotations

from pathlib import Path


def split_run(name: str) -> tuple[Path, str] | None:
    """The folder that ``name`` is, and which checkpoint in it is asked for: "" where none is said.

    A folder may itself have an @ in its name, so one that is there whole is taken whole. None when there is no such
    folder, as of ``open_clip:`` names.
    """
    path = Path(name).expanduser()
    if path.is_dir():
        return path, ""
    folder, at, which = name.rpartition("@")
    run = Path(folder).expanduser()
    return (run, which) if at and run.is_dir() else None
