"""The verbs ``data_check`` and ``data_overlap``: duplicates, leaks between splits, unreadable files.

Flow: Data panel, data card, the verb ``data`` -> **checking** -> ``core.data.inspection``. Every image is read once;
signatures are cached.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from core.data.derived.subset import same_bytes
from core.data.errors import DataError
from core.data.inspection.duplicates import duplicates
from core.data.inspection.leaks import Leak, leaks
from core.data.inspection.signatures import read_signatures
from core.data.sources.rows import Row
from core.spec.reporter import Reporter
from core.worker.data.rows import rows_of

MAX_GROUPS = 5000  # listed per kind
THIS_SOURCE = "this"  # the name of the source's split without a split label


def check_source(
    source: str, progress: Reporter, others: Mapping[str, str] | None = None, label: str = ""
) -> dict[str, Any]:
    """Find duplicates within ``source``, and leaks to ``others`` (name -> source) or between values of ``label``.

    The answer: images, broken ([{row, why}]), exact and near (groups of rows), exact_groups and near_groups (their
    numbers), leaks ([{row, file, split, other_split, path, kind}]: a row, and the image in the other split),
    leak_count, unreadable (name of another source -> reason). Raises DataError if ``source`` is unreadable.
    """
    progress("reading the data", 0, 0)
    rows = rows_of(source, progress, images_only=True)[0].rows
    other_rows, unreadable = _read_others(others or {}, source, progress)
    files = [row.file for row in rows]
    signatures = read_signatures(files, progress)
    groups = duplicates(signatures, progress)
    all_files, splits = list(files), _splits(rows, label, bool(other_rows))
    for name, rows_of_other in other_rows.items():
        paths = [row.file for row in rows_of_other]
        signatures = signatures.join(read_signatures(paths, progress))
        all_files += paths
        splits += [name] * len(paths)
    progress("comparing splits", 0, 0)
    leaking = leaks(all_files, splits, duplicates(signatures, progress) if other_rows else groups)
    source_leaks = [leak for leak in leaking if leak.left < len(files)]
    return {
        "source": source,
        "images": len(files),
        "broken": [
            {"row": row, "why": reason} for row, reason in sorted(signatures.broken.items()) if row < len(files)
        ],
        "exact": groups.exact[:MAX_GROUPS],
        "near": groups.near[:MAX_GROUPS],
        "exact_groups": len(groups.exact),
        "near_groups": len(groups.near),
        "leaks": [_leak_as_json(leak, all_files, splits) for leak in source_leaks[:MAX_GROUPS]],
        "leak_count": len(source_leaks),
        "unreadable": unreadable,
    }


def _read_others(
    others: Mapping[str, str], source: str, progress: Reporter
) -> tuple[dict[str, list[Row]], dict[str, str]]:
    rows_by_name: dict[str, list[Row]] = {}
    unreadable: dict[str, str] = {}
    for name, other_source in others.items():
        if not other_source or other_source == source:
            continue
        try:
            rows_by_name[name] = rows_of(other_source, progress, images_only=True)[0].rows
        except DataError as error:
            unreadable[name] = str(error)
    return rows_by_name, unreadable


def _splits(rows: Sequence[Row], label: str, compared: bool) -> list[str]:
    """The split of each row: the value of ``label``, or `THIS_SOURCE` for a comparison with other sources."""
    return [row.labels.get(label, "") if label else THIS_SOURCE if compared else "" for row in rows]


def _leak_as_json(leak: Leak, files: Sequence[str], splits: Sequence[str]) -> dict[str, Any]:
    return {
        "row": leak.left,
        "file": files[leak.left],
        "split": splits[leak.left],
        "other_split": splits[leak.right],
        "path": files[leak.right],
        "kind": leak.kind,
    }


def overlap(source: str, progress: Reporter, others: Sequence[str]) -> dict[str, Any]:
    """Count the images of ``source`` that each of ``others`` also contains, by file or bytes.

    The answer: shared (source -> images). Unreadable sources are skipped. Raises DataError if ``source`` is unreadable.
    """
    progress("reading the data", 0, 0)
    own_files = [row.file for row in rows_of(source, progress, images_only=True)[0].rows]
    shared: dict[str, int] = {}
    for other_source in dict.fromkeys(others):
        try:
            other_files = [row.file for row in rows_of(other_source, progress, images_only=True)[0].rows]
        except DataError:
            continue
        first = same_bytes([*other_files, *own_files], progress)
        other_set = set(other_files)
        pairs = zip(own_files, first[len(other_files) :], strict=True)
        shared[other_source] = sum(file in other_set or position < len(other_files) for file, position in pairs)
    return {"shared": shared}
