"""The verb ``describe_source``: statistics of a data source, for the data card and checks before launch.

Flow: data card -> worker ``describe_source`` -> **describing** -> ``open_source``. No image is opened.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from core.data.errors import BadRow, DataError, check_bad_share
from core.data.sources.folders import read_uncaptioned
from core.data.sources.opening import open_source
from core.data.sources.rows import Source
from core.data.sources.shards.collection import FORMAT as SHARDS
from core.data.sources.shards.collection import Shards
from core.spec.config import expand_user
from core.spec.reporter import Reporter
from core.spec.shards import is_shards

MAX_REASONS = 20  # bad rows listed with reasons
MAX_SAMPLES = 8  # sample images
MAX_CAPTIONS = 6  # images with this many captions or more are counted together


def describe_source(source: str, progress: Reporter, images_only: bool = False) -> dict[str, Any]:
    """Describe ``source``: pairs, images, labels (name -> number of classes), bad, reasons, format.

    ``captions``: images with one caption, with two, ..., with `MAX_CAPTIONS` or more; ``samples``: paths of images
    spread over the source; ``labels_unknown``: only an index was read, without labels. ``images_only`` also accepts
    a folder of images without captions. Raises DataError like ``open_source``.
    """
    progress("reading the data", 0, 0)
    if is_shards(source):
        return _describe_shards(source, progress)
    try:
        source_rows = open_source(source, progress=progress)
    except DataError:
        folder = expand_user(source)
        images = read_uncaptioned(folder, progress) if images_only and folder.is_dir() else None
        if images is None or not images.rows:
            raise
        samples = [row.file for row in sample_evenly(images.rows)]
        return {**_base_answer(source, images.format, images.bad, samples), "images": len(images.rows)}
    counts = [0] * MAX_CAPTIONS
    for row in source_rows.rows:
        counts[min(len(row.captions), MAX_CAPTIONS) - 1] += 1
    return {
        **_base_answer(
            source, source_rows.format, source_rows.bad, [row.file for row in sample_evenly(source_rows.rows)]
        ),
        "pairs": sum(len(row.captions) for row in source_rows.rows),
        "images": len(source_rows.rows),
        "labels": _class_counts(source_rows),
        "captions": counts,
    }


def sample_evenly(rows: Sequence[Any], limit: int = MAX_SAMPLES) -> list[Any]:
    """At most ``limit`` of ``rows``, evenly spaced."""
    return [rows[position * len(rows) // limit] for position in range(limit)] if len(rows) > limit else list(rows)


def _describe_shards(source: str, progress: Reporter) -> dict[str, Any]:
    """Describe shards from their index only, since there may be millions of rows: one pair per row, no label counts."""
    shards = Shards.open(source, progress)
    bad_rows = shards.bad_rows()
    check_bad_share(source, bad_rows, len(shards) + shards.bad_count(), max_share=1.0, count=shards.bad_count())
    return {
        **_base_answer(source, SHARDS, bad_rows, [shards.path(row) for row in sample_evenly(range(len(shards)))]),
        "pairs": len(shards),
        "images": len(shards),
        "bad": shards.bad_count(),
        "labels_unknown": True,
    }


def _base_answer(source: str, format: str, bad: Sequence[BadRow], samples: list[str]) -> dict[str, Any]:
    """The common fields of answers; unknown numbers are 0."""
    return {
        "source": source,
        "format": format,
        "pairs": 0,
        "images": 0,
        "labels": {},
        "bad": len(bad),
        "reasons": [str(row) for row in bad[:MAX_REASONS]],
        "captions": [],
        "samples": samples,
        "labels_unknown": False,
    }


def _class_counts(source: Source) -> dict[str, int]:
    """The number of distinct non-empty values of each label, the most useful label for classification first.

    First are the labels that no image lacks; among those, labels with at least two classes, the fewest classes first.
    """
    mappings = {id(row.labels): row.labels for row in source.rows}.values()  # rows share their mappings
    values = {name: {labels.get(name, "") for labels in mappings} for name in source.label_names}

    def usefulness(name: str) -> tuple[bool, bool, int]:
        return "" not in values[name], len(values[name]) > 1, -len(values[name])

    return {name: len(values[name] - {""}) for name in sorted(values, key=usefulness, reverse=True)}
