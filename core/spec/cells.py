"""Escapes CSV cells that a spreadsheet would run as formulas.

A caption such as ``=HYPERLINK(...)`` would run as a program in a spreadsheet. A leading apostrophe marks it as text, as
spreadsheets do. Texts that already look marked get another apostrophe: `unescape_cell` reverts `escape_cell`.

Flow: every CSV that holds a user's words -> `marked_row`; `core.data.sources.manifests` -> `unescape_cell`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

_FORMULA = re.compile(r"'*[=+\-@\t\r]")
_MARKED = re.compile(r"'+[=+\-@\t\r]")


def escape_cell(text: str) -> str:
    """``text`` as a cell that no spreadsheet runs."""
    return f"'{text}" if _FORMULA.match(text) else text


def unescape_cell(cell: str) -> str:
    """The inverse of `escape_cell`."""
    return cell[1:] if cell.startswith("'") and _MARKED.match(cell) else cell


def marked_row(cells: Iterable[object]) -> list[object]:
    """A row with its texts marked; numbers are unchanged."""
    return [escape_cell(cell) if isinstance(cell, str) else cell for cell in cells]
