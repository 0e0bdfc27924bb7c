"""The verb ``describe_source``: what a data source holds, for the data card and for whoever asks before launching.

Flow: data card -> worker ``describe_source`` -> **describing** -> ``open_source``. Names are read,
no image is opened.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from core.data.sources.folders import IMAGE_SUFFIXES
from core.data.sources.opening import BadRow, DataError, Source, check_bad_share, open_source
from core.data.sources.shards.collection import Shards
from core.data.sources.shards.source import FORMAT as SHARDS
from core.spec.config import expand_user
from core.spec.reporter import Reporter
from core.spec.shards import is_shards

REASONS = 20  # bad rows listed with their reason
SAMPLES = 8  # images shown on a card
MOST_CAPTIONS = 6  # an image; images with more are counted with these
PLAIN = "images without captions"
_EVERY = 1000  # folders between two reports of progress


def describe_source(source: str, progress: Reporter, images_only: bool = False) -> dict[str, Any]:
    """Figures of ``source``: pairs, images, labels (name -> number of classes), bad, reasons, format.

    ``captions``: images with one caption, with two, ..., with `MOST_CAPTIONS` or more; ``samples``: paths of images
    from all over it; ``sampled``: labels are not counted. ``images_only`` takes a folder of bare images too, which
    has no pairs. Raises DataError as ``open_source`` does.
    """
    progress("reading the data", 0, 0)
    if is_shards(source):
        return _describe_shards(source, progress)
    try:
        found = open_source(source, progress=progress)
    except DataError:
        folder = expand_user(source)
        images, first = _count_images(folder, progress) if images_only and folder.is_dir() else (0, [])
        if not images:
            raise
        return {**_answer(source, PLAIN, [], []), "images": images, "samples": first}
    counts = [0] * MOST_CAPTIONS
    for row in found.rows:
        counts[min(len(row.captions), MOST_CAPTIONS) - 1] += 1
    return {
        **_answer(source, found.format, found.bad, [row.file for row in spread(found.rows)]),
        "pairs": sum(len(row.captions) for row in found.rows),
        "images": len(found.rows),
        "labels": _classes(found),
        "captions": counts,
    }


def spread(rows: Sequence[Any], most: int = SAMPLES) -> list[Any]:
    """At most ``most`` of ``rows``, evenly from the first on."""
    return [rows[position * len(rows) // most] for position in range(most)] if len(rows) > most else list(rows)


def _describe_shards(source: str, progress: Reporter) -> dict[str, Any]:
    """By their index alone, as the rows may be millions: a pair for each, and the classes of no label."""
    shards = Shards.open(source, progress)
    bad = shards.bad_rows()
    check_bad_share(source, bad, len(shards) + shards.bad_count(), 1.0, shards.bad_count())
    return {
        **_answer(source, SHARDS, bad, [shards.path(row) for row in spread(range(len(shards)))]),
        "pairs": len(shards),
        "images": len(shards),
        "bad": shards.bad_count(),
        "sampled": True,
    }


def _answer(source: str, format: str, bad: Sequence[BadRow], samples: list[str]) -> dict[str, Any]:
    """What every answer has; figures that are not known are 0."""
    return {
        "source": source,
        "format": format,
        "pairs": 0,
        "images": 0,
        "labels": {},
        "bad": len(bad),
        "reasons": [str(row) for row in bad[:REASONS]],
        "captions": [],
        "samples": samples,
        "sampled": False,
    }


def _classes(source: Source) -> dict[str, int]:
    """Number of distinct values of each label; an empty cell has none."""
    values: dict[str, set[str]] = {name: set() for name in source.label_names}
    for labels in {id(row.labels): row.labels for row in source.rows}.values():  # rows share their mappings
        for name, value in labels.items():
            if value:
                values[name].add(value)
    return {name: len(found) for name, found in values.items()}


def _count_images(folder: Path, progress: Reporter) -> tuple[int, list[str]]:
    """How many images there are in the tree, hidden folders left out, and the first of them."""
    paths = plain_images(folder, progress)
    first = list(islice(paths, SAMPLES))
    return len(first) + sum(1 for _ in paths), first


def plain_images(folder: Path, progress: Reporter) -> Iterator[str]:
    """Paths of all images in the tree, by name within each folder; hidden folders are left out."""
    count = 0
    for number, (path, inner, names) in enumerate(os.walk(folder)):
        inner[:] = sorted(name for name in inner if not name.startswith("."))
        if number % _EVERY == 0:
            progress("counting images", count, 0)
        for name in sorted(names):
            if not name.startswith(".") and name[name.rfind(".") :].lower() in IMAGE_SUFFIXES:
                count += 1
                yield f"{path}{os.sep}{name}"
