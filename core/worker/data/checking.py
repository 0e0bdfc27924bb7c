"""The verbs ``data_check`` and ``data_overlap``: duplicates, leaks between splits, files that cannot be decoded.

Flow: Data panel, data card, the verb ``data`` -> **checking** -> ``core.data.inspection``. Every image is read once;
what was found is kept in the cache folder for the next time.
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

MOST_GROUPS = 5000  # listed, of each kind
THIS = "this"  # the split that a source is, where no label says


def check_source(
    source: str, progress: Reporter, others: Mapping[str, str] | None = None, label: str = ""
) -> dict[str, Any]:
    """Duplicates within ``source``, and its leaks to ``others`` (name -> source) or between the values of ``label``.

    The answer: images, broken ([{row, why}]), exact and near (groups of rows), exact_groups and near_groups (how
    many there are), leaks ([{row, file, left, other, path, kind}]: a row and its own split, the split and image it is
    also in), leak_count, unread (others that cannot be read -> why). Raises DataError for ``source`` itself.
    """
    progress("reading the data", 0, 0)
    rows = rows_of(source, progress, images_only=True)[0].rows
    beside, unread = _others(others or {}, source, progress)
    files = [row.file for row in rows]
    signatures = read_signatures(files, progress)
    groups = duplicates(signatures)
    every, splits = list(files), _splits(rows, label, bool(beside))
    for name, more in beside.items():
        paths = [row.file for row in more]
        signatures = signatures.joined(read_signatures(paths, progress))
        every += paths
        splits += [name] * len(paths)
    progress("comparing splits", 0, 0)
    leaking = leaks(every, splits, duplicates(signatures) if beside else groups)
    own_leaks = [leak for leak in leaking if leak.left < len(files)]
    return {
        "source": source,
        "images": len(files),
        "broken": [{"row": row, "why": why} for row, why in sorted(signatures.broken.items()) if row < len(files)],
        "exact": groups.exact[:MOST_GROUPS],
        "near": groups.near[:MOST_GROUPS],
        "exact_groups": len(groups.exact),
        "near_groups": len(groups.near),
        "leaks": [_leak(leak, every, splits) for leak in own_leaks[:MOST_GROUPS]],
        "leak_count": len(own_leaks),
        "unread": unread,
    }


def _others(others: Mapping[str, str], source: str, progress: Reporter) -> tuple[dict[str, list[Row]], dict[str, str]]:
    rows_by_name: dict[str, list[Row]] = {}
    unread: dict[str, str] = {}
    for name, other_source in others.items():
        if not other_source or other_source == source:
            continue
        try:
            rows_by_name[name] = rows_of(other_source, progress, images_only=True)[0].rows
        except DataError as error:
            unread[name] = str(error)
    return rows_by_name, unread


def _splits(rows: Sequence[Row], label: str, compared: bool) -> list[str]:
    """The split of each row: its label's value, else that it is of this source where there are others."""
    return [row.labels.get(label, "") if label else THIS if compared else "" for row in rows]


def _leak(leak: Leak, files: Sequence[str], splits: Sequence[str]) -> dict[str, Any]:
    return {
        "row": leak.left,
        "file": files[leak.left],
        "left": splits[leak.left],
        "other": splits[leak.right],
        "path": files[leak.right],
        "kind": leak.kind,
    }


def overlap(source: str, progress: Reporter, others: Sequence[str]) -> dict[str, Any]:
    """How many images of ``source`` each of ``others`` holds too: the same file, or the same bytes.

    The answer: shared (source -> images). Those that cannot be read are left out. Raises DataError for ``source``.
    """
    progress("reading the data", 0, 0)
    own_files = [row.file for row in rows_of(source, progress, images_only=True)[0].rows]
    shared: dict[str, int] = {}
    for other_source in dict.fromkeys(others):
        try:
            theirs = [row.file for row in rows_of(other_source, progress, images_only=True)[0].rows]
        except DataError:
            continue
        first = same_bytes([*theirs, *own_files], progress)
        named = set(theirs)
        pairs = zip(own_files, first[len(theirs) :], strict=True)
        shared[other_source] = sum(file in named or position < len(theirs) for file, position in pairs)
    return {"shared": shared}
