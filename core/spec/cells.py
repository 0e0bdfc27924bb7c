"""Escapes CSV cells that a spreadsheet would run as formulas.

A spreadsheet would run a caption such as ``=HYPERLINK(...)`` as a program. A leading apostrophe marks a cell as text.
Texts that already look marked get another apostrophe, so that `unescape_cell` reverts `escape_cell`.

Flow: every CSV with text from users or data -> `escape_row`; `core.data.sources.manifests` -> `unescape_cell`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

_FORMULA = re.compile(r"'*[=+\-@\t\r]")
_MARKED = re.compile(r"'+[=+\-@\t\r]")


def escape_cell(text: str) -> str:
    """``text`` as a cell that a spreadsheet does not run."""
    return f"'{text}" if _FORMULA.match(text) else text


def unescape_cell(cell: str) -> str:
    """The inverse of `escape_cell`."""
    return cell[1:] if cell.startswith("'") and _MARKED.match(cell) else cell


def escape_row(cells: Iterable[object]) -> list[object]:
    """A row with its texts escaped by `escape_cell`; numbers are unchanged."""
    return [escape_cell(cell) if isinstance(cell, str) else cell for cell in cells]
