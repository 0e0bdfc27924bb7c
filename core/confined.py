"""Whether what is about to be written lies in the folder that it belongs to, once links are followed.

A folder that was handed over may hold a link in the place of a folder or a log: what is written through it lands
wherever the link's author pleased.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from core.spec.errors import UserError
from core.spec.reading import excerpt


def check_inside(folder: Path, paths: Iterable[Path], error: type[UserError]) -> None:
    """Raises ``error`` for the first of ``paths``, there or not, that a link leads out of ``folder``."""
    # os.path.realpath, since Path's resolve raises for links that lead round in a circle
    root = Path(os.path.realpath(folder))
    for path in paths:
        if not Path(os.path.realpath(path)).is_relative_to(root):
            raise error(
                f"{excerpt(str(path))} leads out of {excerpt(str(folder))} by a link, and nothing is written there; "
                "replace the link by a folder or file of its own."
            )
