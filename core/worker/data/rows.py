"""The verb ``data_open``: all rows of a source in parts, and statistics.

Flow: Data panel -> worker ``data_open`` -> **rows** -> parts of `ROWS_PER_PART` rows -> gallery; then statistics.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from core.data.errors import DataError
from core.data.inspection.statistics import DataStatistics, count_statistics
from core.data.sources.folders import read_uncaptioned
from core.data.sources.opening import open_source
from core.data.sources.rows import Row, Source
from core.data.sources.shards.collection import Shards, rows_of_shards
from core.spec.config import expand_user
from core.spec.reporter import Reporter
from core.spec.shards import is_shards

ROWS_PER_PART = 500  # rows per partial answer
MAX_ROWS = 200_000  # listed rows
MAX_BAD = 2000  # listed bad rows
MAX_VALUES = 500  # listed values of a label


def open_rows(source: str, progress: Reporter, images_only: bool = False) -> dict[str, Any]:
    """The first `MAX_ROWS` rows of ``source`` in parts (``paths``, ``captions``, ``labels``: name -> values), then
    statistics.

    The answer: source, format, images (total), listed, pairs, distinct, words, captions ([[captions, images]]), labels
    (name -> [{value, images}], most frequent first), values (name -> number of distinct values), split (the label of
    splits), bad, reasons ([{where, why}]). Raises DataError.
    """
    progress("reading the data", 0, 0)
    source_rows, total = rows_of(source, progress, images_only)
    shown_rows = source_rows.rows[:MAX_ROWS]
    for start in range(0, len(shown_rows), ROWS_PER_PART):
        progress("listing images", start, len(shown_rows))
        progress.partial(_part(shown_rows[start : start + ROWS_PER_PART], source_rows.label_names))
    statistics = count_statistics(shown_rows, source_rows.label_names)
    return {
        "source": source,
        "format": source_rows.format,
        "images": total,
        "listed": len(shown_rows),
        "bad": len(source_rows.bad),
        "reasons": [{"where": bad_row.location, "why": bad_row.reason} for bad_row in source_rows.bad[:MAX_BAD]],
        **figures_answer(statistics),
    }


def rows_of(source: str, progress: Reporter, images_only: bool = False) -> tuple[Source, int]:
    """The rows of ``source`` and their total number; of shards only the first rows are read. Raises DataError."""
    if is_shards(source):
        shards = Shards.open(source, progress)
        return rows_of_shards(source, shards, progress, MAX_ROWS), len(shards)
    try:
        source_rows = open_source(source, progress=progress)
    except DataError:
        folder = expand_user(source)
        images = read_uncaptioned(folder, progress) if images_only and folder.is_dir() else None
        if images is None or not images.rows:
            raise
        source_rows = images
    return source_rows, len(source_rows.rows)


def figures_answer(statistics: DataStatistics) -> dict[str, Any]:
    """``statistics`` as JSON."""
    return {
        "pairs": statistics.pairs,
        "distinct": statistics.distinct,
        "words": statistics.words,
        "median_words": statistics.median_words,
        "captions": [[number, images] for number, images in statistics.captions.items()],
        "labels": {name: _value_counts(values) for name, values in statistics.labels.items()},
        "values": {name: sum(1 for value in values if value) for name, values in statistics.labels.items()},
        "split": statistics.split_label(),
    }


def _value_counts(values: Counter[str]) -> list[dict[str, Any]]:
    return [{"value": value, "images": images} for value, images in values.most_common(MAX_VALUES)]


def _part(rows: Sequence[Row], label_names: Sequence[str]) -> dict[str, Any]:
    return {
        "paths": [row.file for row in rows],
        "captions": [list(row.captions) for row in rows],
        "labels": {name: [row.labels.get(name, "") for row in rows] for name in label_names},
    }
