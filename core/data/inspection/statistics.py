"""Statistics and a digest of a source's captions and labels, from its rows alone: no image is opened.

Flow: rows -> ``count_statistics`` -> ``python -m core data``, the Data panel. A study on several machines compares the
``fingerprint``s of their data.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from statistics import median

from core.data.sources.rows import Row

MAX_WORDS = 64  # longer captions are counted in the last bin
SPLIT_LABELS = ("split", "subset", "set", "fold", "partition")  # names of label columns that assign rows to splits


@dataclass
class DataStatistics:
    """Statistics of captions and labels.

    ``words`` (MAX_WORDS + 1,): histogram of caption lengths. ``captions``: captions per image -> number of images.
    """

    images: int = 0
    pairs: int = 0
    distinct: int = 0  # number of distinct captions
    words: list[int] = field(default_factory=lambda: [0] * (MAX_WORDS + 1))
    captions: dict[int, int] = field(default_factory=dict)
    labels: dict[str, Counter[str]] = field(default_factory=dict)  # name -> value ("" if missing) -> number of images

    @property
    def median_words(self) -> float:
        """Median caption length in words; 0 if there are no captions."""
        lengths = [length for length, count in enumerate(self.words) for _ in range(count)]
        return float(median(lengths)) if lengths else 0.0

    def split_label(self) -> str:
        """The label that assigns rows to splits; "" if there is none."""
        return next((name for name in self.labels if name.lower() in SPLIT_LABELS), "")


def count_statistics(rows: Iterable[Row], label_names: Sequence[str]) -> DataStatistics:
    """The statistics of ``rows``, whose labels are called ``label_names``."""
    result = DataStatistics(labels={name: Counter() for name in label_names})
    captions: Counter[int] = Counter()
    texts: set[str] = set()
    for row in rows:
        result.images += 1
        row_captions = [caption for caption in row.captions if caption]
        result.pairs += len(row_captions)
        captions[len(row_captions)] += 1
        texts.update(row_captions)
        for caption in row_captions:
            result.words[min(len(caption.split()), MAX_WORDS)] += 1
        for name, label_counts in result.labels.items():
            label_counts[row.labels.get(name, "")] += 1
    result.captions, result.distinct = dict(sorted(captions.items())), len(texts)
    return result


def fingerprint(rows: Iterable[Row]) -> str:
    """The first 16 hex digits of the SHA-256 of file names, captions and labels, in order; independent of folders."""
    digest = hashlib.sha256()
    for row in rows:
        parts = (row.image.name, *row.captions, *(f"{name}={value}" for name, value in sorted(row.labels.items())))
        digest.update("\0".join(parts).encode("utf-8", "surrogatepass") + b"\n")
    return digest.hexdigest()[:16]
