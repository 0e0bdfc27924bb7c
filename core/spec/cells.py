"""Protects cells of a CSV that a spreadsheet would run as formulas: marked when written, unmarked when read.

A caption such as ``=HYPERLINK(...)`` is an image's text here and a program in a spreadsheet. An apostrophe before it
says that it is text, as spreadsheets themselves write it. Texts that look marked already get another one, so that
`unmarked` gives back what `marked` was given, whatever it was.

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
    """The text that `marked` made ``cell`` of."""
    return cell[1:] if cell.startswith("'") and _MARKED.match(cell) else cell


def marked_row(cells: Iterable[object]) -> list[object]:
    """A row with its texts marked; numbers stay as they are, negative ones too."""
    return [marked(cell) if isinstance(cell, str) else cell for cell in cells]
