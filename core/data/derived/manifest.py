"""Writing pairs as a manifest: the file's allowed names and its content.

Flow: changed or selected rows of a source -> ``manifest`` -> a CSV in open_clip's format, which training reads.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from pathlib import Path

from core.data.sources.rows import Row
from core.spec.cells import escape_row
from core.spec.config import expand_user
from core.spec.errors import UserError
from core.spec.shards import is_shards

SUFFIX = ".csv"

Pair = tuple[str, str, Sequence[object]]  # image path relative to the manifest, caption, additional cells


def manifest(pairs: Iterable[Pair], columns: Sequence[str]) -> bytes:
    """``pairs`` as a CSV with one line per pair; ``columns``: the names of the additional cells."""
    text = io.StringIO()
    writer = csv.writer(text)  # ends lines with CR LF: otherwise a cell that contains a CR would not be quoted
    writer.writerow(["filepath", "title", *escape_row(columns)])
    writer.writerows(escape_row([name, caption, *cells]) for name, caption, cells in pairs)
    return text.getvalue().encode("utf-8", "surrogateescape")


def labels_of(row: Row, names: Sequence[str]) -> list[str]:
    """The labels ``names`` of ``row``; "" for missing ones."""
    return [row.labels.get(name, "") for name in names]


def check_target(to: Path, data: str, replace: bool) -> None:
    """Raise UserError unless ``to`` is a CSV, is not ``data`` itself, and does not exist (or ``replace`` is set)."""
    if to.suffix.lower() != SUFFIX:
        raise UserError(f"the file name {to} must end with {SUFFIX}.")
    if not is_shards(data) and to.exists() and to.resolve() == expand_user(data).resolve():
        raise UserError(f"{to} is the data set itself, which is not overwritten; choose another name.")
    if to.exists() and not replace:
        raise UserError(f"{to} already exists and is not overwritten; choose another name.")
