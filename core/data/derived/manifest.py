"""A new manifest: what it may be called, and its bytes. Whatever saves pairs writes them in this form.

Flow: rows of a source, changed or chosen -> ``manifest`` -> a CSV as open_clip has them, which training reads.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from pathlib import Path

from core.data.sources.rows import Row
from core.spec.cells import marked_row
from core.spec.config import expand_user
from core.spec.errors import UserError
from core.spec.shards import is_shards

SUFFIX = ".csv"

Pair = tuple[str, str, Sequence[object]]  # an image's path from the manifest's folder, a caption, further cells


def manifest(pairs: Iterable[Pair], columns: Sequence[str]) -> bytes:
    """The CSV of ``pairs``, a line each; ``columns`` are the names of their further cells."""
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(["filepath", "title", *marked_row(columns)])
    writer.writerows(marked_row([name, caption, *cells]) for name, caption, cells in pairs)
    return text.getvalue().encode("utf-8", "surrogateescape")


def labels_of(row: Row, names: Sequence[str]) -> list[str]:
    """The labels ``names`` of ``row``; "" for those that it has not."""
    return [row.labels.get(name, "") for name in names]


def refuse_target(to: Path, data: str, replace: bool) -> None:
    """Raise UserError where a manifest made of ``data`` may not be ``to``: not a CSV, the data itself, or there."""
    if to.suffix.lower() != SUFFIX:
        raise UserError(f"{to} must end with {SUFFIX}.")
    if not is_shards(data) and to.exists() and to.resolve() == expand_user(data).resolve():
        raise UserError(f"{to} is the data set itself and is not overwritten; choose another name.")
    if to.exists() and not replace:
        raise UserError(f"{to} already exists and is not overwritten; choose another name.")
