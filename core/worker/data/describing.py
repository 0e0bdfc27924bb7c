"""The verb ``describe_source``: the size, labels and bad rows of a data source, for the window's data picker.

Flow: data picker -> worker ``describe_source`` -> **describing** -> ``open_source``. Names are read,
no picture is opened.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from core.data.sources.folders import PICTURE_SUFFIXES
from core.data.sources.opening import DataError, Source, check_bad_share, open_source
from core.data.sources.shards.collection import Shards
from core.data.sources.shards.source import FORMAT as SHARDS
from core.spec.config import expand_user
from core.spec.reporter import Reporter
from core.spec.shards import is_shards
from core.worker.session import Session, Verb

REASONS = 20  # bad rows listed with their reason
PLAIN = "pictures without captions"
_EVERY = 1000  # folders between two reports of progress


class DataSession(Session):
    """Answers requests about data sources; it loads no model and keeps nothing."""

    @property
    def verbs(self) -> Mapping[str, Verb]:
        return {"describe_source": describe_source}


def describe_source(source: str, progress: Reporter, pictures_only: bool = False) -> dict[str, Any]:
    """Figures of ``source``: pairs, pictures, labels (name -> number of classes), bad, reasons, format.

    ``pictures_only`` takes a folder of bare pictures too, which has no pairs. Raises DataError as ``open_source`` does.
    """
    progress("reading the data", 0, 0)
    if is_shards(source):
        return _describe_shards(source, progress)
    try:
        found = open_source(source)
    except DataError:
        folder = expand_user(source)
        pictures = _count_pictures(folder, progress) if pictures_only and folder.is_dir() else 0
        if not pictures:
            raise
        return _answer(source, PLAIN, pictures=pictures)
    pairs = sum(len(row.captions) for row in found.rows)
    bad = [str(row) for row in found.bad[:REASONS]]
    return _answer(source, found.format, pairs, len(found.rows), _classes(found), len(found.bad), bad)


def _describe_shards(source: str, progress: Reporter) -> dict[str, Any]:
    """By their index alone, as the rows may be millions: a pair for each, and the classes of no label."""
    shards = Shards.open(source, progress)
    check_bad_share(source, shards.bad_rows(), len(shards) + shards.bad_count(), 1.0, shards.bad_count())
    bad = [str(row) for row in shards.bad_rows()[:REASONS]]
    return _answer(source, SHARDS, len(shards), len(shards), {}, shards.bad_count(), bad)


def _answer(
    source: str,
    format: str,
    pairs: int = 0,
    pictures: int = 0,
    labels: dict[str, int] | None = None,
    bad: int = 0,
    reasons: list[str] | None = None,
) -> dict[str, Any]:
    return {
        "source": source,
        "format": format,
        "pairs": pairs,
        "pictures": pictures,
        "labels": labels or {},
        "bad": bad,
        "reasons": reasons or [],
    }


def _classes(source: Source) -> dict[str, int]:
    """Number of distinct values of each label; an empty cell has none."""
    values: dict[str, set[str]] = {name: set() for name in source.label_names}
    for labels in {id(row.labels): row.labels for row in source.rows}.values():  # rows share their mappings
        for name, value in labels.items():
            if value:
                values[name].add(value)
    return {name: len(found) for name, found in values.items()}


def _count_pictures(folder: Path, progress: Reporter) -> int:
    """Pictures in the tree, hidden folders left out."""
    count = 0
    for number, (_, inner, names) in enumerate(os.walk(folder)):
        inner[:] = [name for name in inner if not name.startswith(".")]
        count += sum(not name.startswith(".") and name[name.rfind(".") :].lower() in PICTURE_SUFFIXES for name in names)
        if number % _EVERY == 0:
            progress("counting pictures", count, 0)
    return count
