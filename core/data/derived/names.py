"""How a new manifest names images that lie elsewhere: a manifest's paths must not lead out of its folder."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from core.spec.errors import UserError
from core.spec.shards import file_of

LINK = "images"


def names_below(files: Sequence[str], folder: Path) -> list[str]:
    """How a manifest in ``folder`` names ``files`` (absolute paths).

    Where they do not lie below it, a link to their common folder is made there. Raises UserError when that is not
    allowed, or a link of that name leads elsewhere.
    """
    root = Path(os.path.commonpath([folder_of(file) for file in files]))
    folder.mkdir(parents=True, exist_ok=True)
    here = folder.absolute()
    if root.is_relative_to(here):
        return [Path(file).relative_to(here).as_posix() for file in files]
    link = here / LINK
    try:
        if not link.exists():
            link.symlink_to(root, target_is_directory=True)
    except OSError as error:
        raise UserError(
            f"cannot link {root} into {here} ({error.strerror}); choose a folder above the data."
        ) from error
    if link.resolve() != root.resolve():
        raise UserError(f"{link} leads to other images than {root}; remove it, or choose another folder.")
    return [(Path(LINK) / Path(file).relative_to(root)).as_posix() for file in files]


def folder_of(file: str) -> str:
    """Where ``file`` lies; of an image in a tar where the tar lies."""
    return os.path.dirname(file_of(file))  # noqa: PTH120  (of a million: Path is too slow)
