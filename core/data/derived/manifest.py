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


def check_target(target: Path, data: str, replace: bool) -> None:
    """Raise UserError unless ``target`` is a CSV, is not ``data`` itself, and does not exist (unless ``replace``)."""
    if target.suffix.lower() != SUFFIX:
        raise UserError(f"the file name {target} must end with {SUFFIX}.")
    if not is_shards(data) and target.exists() and target.resolve() == expand_user(data).resolve():
        raise UserError(f"{target} is the data set itself, which is not overwritten; choose another name.")
    if target.exists() and not replace:
        raise UserError(f"{target} already exists and is not overwritten; choose another name.")
