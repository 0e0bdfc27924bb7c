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
from core.spec.files import write_whole
from core.spec.shards import is_shards

MANIFEST_SUFFIX = ".csv"

Pair = tuple[str, str, Sequence[object]]  # image path relative to the manifest, caption, additional cells


def manifest(pairs: Iterable[Pair], columns: Sequence[str]) -> bytes:
    """``pairs`` as a CSV with one line per pair; ``columns``: the names of the additional cells."""
    text = io.StringIO()
    writer = csv.writer(text)  # ends lines with CR LF: otherwise a cell that contains a CR would not be quoted
    writer.writerow(["filepath", "title", *escape_row(columns)])
    writer.writerows(escape_row([name, caption, *cells]) for name, caption, cells in pairs)
    return text.getvalue().encode("utf-8", "surrogateescape")


def write_with_record(target: Path, content: bytes, record: Path, record_content: bytes) -> None:
    """Write the manifest ``target`` and its ``record``. If an OSError is raised, both are as they were before."""
    before = record.read_bytes() if record.is_file() else None
    try:
        write_whole(record, record_content)
        write_whole(target, content)
    except OSError:
        if before is None:
            record.unlink(missing_ok=True)
        elif record.read_bytes() != before:
            write_whole(record, before)
        raise


def labels_of(row: Row, names: Sequence[str]) -> list[str]:
    """The labels ``names`` of ``row``; "" for missing ones."""
    return [row.labels.get(name, "") for name in names]


def check_target(target: Path, data: str, replace: bool) -> None:
    """Raise UserError unless ``target`` is a CSV, is not ``data`` itself, and does not exist (unless ``replace``)."""
    if target.suffix.lower() != MANIFEST_SUFFIX:
        raise UserError(f"the file name {target} must end with {MANIFEST_SUFFIX}.")
    if not is_shards(data) and target.exists() and target.resolve() == expand_user(data).resolve():
        raise UserError(f"{target} is the data set itself, which is not overwritten; choose another name.")
    if target.exists() and not replace:
        raise UserError(f"{target} already exists and is not overwritten; choose another name.")
