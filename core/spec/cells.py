"""Escapes CSV cells that a spreadsheet would run as formulas.

A caption such as ``=HYPERLINK(...)`` would run as a program in a spreadsheet. A leading apostrophe marks it as text, as
spreadsheets do. Texts that already look marked get another apostrophe, so that `unmarked` is the inverse of `marked`.

Flow: every CSV that holds a user's words -> `marked_row`; `core.data.sources.manifests` -> `unmarked`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

_FORMULA = re.compile(r"'*[=+\-@\t\r]")
_MARKED = re.compile(r"'+[=+\-@\t\r]")


def marked(text: str) -> str:
    """``text`` as a cell that no spreadsheet runs."""
    return f"'{text}" if _FORMULA.match(text) else text


def unmarked(cell: str) -> str:
    """The inverse of `marked`."""
    return cell[1:] if cell.startswith("'") and _MARKED.match(cell) else cell


def marked_row(cells: Iterable[object]) -> list[object]:
    """A row with its texts marked; numbers are unchanged."""
    return [marked(cell) if isinstance(cell, str) else cell for cell in cells]
