"""Statistics of a source's captions and labels, from its rows alone: no image is opened.

Flow: rows -> ``figures`` -> the verb ``data``, the Data panel.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from statistics import median

from core.data.sources.rows import Row

LONGEST = 64  # words; captions with more are counted with these
SPLIT_NAMES = ("split", "subset", "set", "fold", "partition")  # of label columns that say to which split a row belongs


@dataclass
class Figures:
    """``words`` (LONGEST + 1,): histogram of caption lengths; ``captions``: captions per image -> images."""

    images: int = 0
    pairs: int = 0
    distinct: int = 0  # captions that differ
    words: list[int] = field(default_factory=lambda: [0] * (LONGEST + 1))
    captions: dict[int, int] = field(default_factory=dict)
    labels: dict[str, Counter[str]] = field(default_factory=dict)  # name -> value -> images; "" where a row has none

    @property
    def median_words(self) -> float:
        """Median caption length in words; 0 without captions."""
        lengths = [length for length, count in enumerate(self.words) for _ in range(count)]
        return float(median(lengths)) if lengths else 0.0

    def split_label(self) -> str:
        """The label that names splits, or ""."""
        return next((name for name in self.labels if name.lower() in SPLIT_NAMES), "")


def figures(rows: Iterable[Row], label_names: Sequence[str]) -> Figures:
    """Statistics of ``rows``, which have the labels ``label_names``."""
    result = Figures(labels={name: Counter() for name in label_names})
    captions: Counter[int] = Counter()
    texts: set[str] = set()
    for row in rows:
        result.images += 1
        row_captions = [caption for caption in row.captions if caption]
        result.pairs += len(row_captions)
        captions[len(row_captions)] += 1
        texts.update(row_captions)
        for caption in row_captions:
            result.words[min(len(caption.split()), LONGEST)] += 1
        for name, label_counts in result.labels.items():
            label_counts[row.labels.get(name, "")] += 1
    result.captions, result.distinct = dict(sorted(captions.items())), len(texts)
    return result
