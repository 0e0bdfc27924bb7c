"""The ranked pairs of the Noise place: what is marked, where the cut is, and what would be left out.

Flow: worker's answer and the store's marks -> ``RankedPairs`` -> gallery, table, histogram, ``leaving_out``.

Beliefs are compared in thousandths (``core.evaluation.noise`` counts them so), so that the count below a cut is exact
for all pairs, though only the least believed are listed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np

BINS = 1000
Shown = Literal["all", "below", "unmarked", "wrong", "right", "shuffled"]
Sorting = Literal["rank", "caption", "right", "mark", "shuffled"]
Key = tuple[str, str]  # path, caption


@dataclass(frozen=True)
class Pair:
    """One caption of one picture; ``rank`` 1 is the least believed."""

    path: str
    caption: str
    belief: float  # 0 to 1
    right: float  # probability
    rank: int
    shuffled: bool | None  # where the data say so

    @cached_property
    def key(self) -> Key:
        return self.path, self.caption

    @cached_property
    def bin(self) -> int:
        """The thousandth that the belief lies in."""
        return min(BINS - 1, max(0, int(self.belief * BINS)))


class RankedPairs:
    """What one ranking said, with the user's marks. ``cut`` is in thousandths of belief; 0 leaves nothing out."""

    def __init__(self, answer: Mapping[str, Any], marks: Mapping[Key, bool]) -> None:
        self.pairs = [
            Pair(
                str(one["path"]),
                str(one["caption"]),
                float(one["belief"]),
                float(one["right"]),
                int(one["rank"]),
                one.get("shuffled"),
            )
            for one in answer["list"]
        ]
        self.key = str(answer["key"])  # names the ranking in any worker
        self.model, self.data = str(answer["model"]), str(answer["data"])
        self.total, self.doubted = int(answer["pairs"]), int(answer["doubted"])
        self.remembered = bool(answer["remembered"])
        self.shuffled: int | None = answer["shuffled"]
        self.precision: float | None = answer["precision"]
        self.bins = np.asarray(answer["bins"], dtype=np.int64)
        raw = answer.get("shuffled_bins")
        self.shuffled_bins = None if raw is None else np.asarray(raw, dtype=np.int64)
        self.marks: dict[Key, bool] = dict(marks)
        self.cut = self.suggested_cut()
        self.below_too = False  # whether all below the cut are left out, marked or not

    def suggested_cut(self) -> int:
        """Where the mixture of believed and doubted pairs parts them."""
        reached = np.cumsum(self.bins)
        return int(np.searchsorted(reached, self.doubted, side="left")) + 1 if self.doubted else 0

    # Counts
    def below(self, cut: int | None = None) -> int:
        """How many of all pairs are believed less than the cut."""
        return int(self.bins[: self.cut if cut is None else cut].sum())

    def shuffled_below(self) -> int | None:
        """How many of those are known to be shuffled."""
        return None if self.shuffled_bins is None else int(self.shuffled_bins[: self.cut].sum())

    def marked(self, wrong: bool) -> int:
        """How many pairs are marked so."""
        return sum(mark is wrong for mark in self.marks.values())

    def left_out(self, pair: Pair) -> bool:
        """Whether ``pair`` would not be saved."""
        mark = self.marks.get(pair.key)
        return mark is True or (mark is None and self.below_too and pair.bin < self.cut)

    def left_out_count(self) -> int:
        """How many of all pairs would not be saved."""
        if not self.below_too:
            return self.marked(wrong=True)
        listed = {pair.key: pair for pair in self.pairs}
        count = self.below()
        for key, wrong in self.marks.items():
            pair = listed.get(key)
            inside = pair is not None and pair.bin < self.cut
            count += (wrong and not inside) - (inside and not wrong)
        return count

    def saving(self) -> dict[str, Any]:
        """The arguments of ``noise_save`` that say what is left out."""
        marked = [list(key) for key, wrong in self.marks.items() if wrong]
        if not self.below_too:
            return {"pairs": marked}
        kept = [list(key) for key, wrong in self.marks.items() if not wrong]
        if len(self.pairs) == self.total or (self.pairs and self.pairs[-1].bin >= self.cut):  # all of them are listed
            return {"pairs": [*marked, *(list(pair.key) for pair in self.pairs if self._by_cut(pair))]}
        return {"pairs": marked, "below": self.cut, "kept": kept, "key": self.key}

    def _by_cut(self, pair: Pair) -> bool:
        return pair.bin < self.cut and pair.key not in self.marks

    # Choosing
    def mark(self, pairs: Iterable[Pair], wrong: bool | None) -> dict[Key, bool | None]:
        """Set marks; returns what they were, to undo it."""
        before: dict[Key, bool | None] = {}
        for pair in pairs:
            before[pair.key] = self.marks.get(pair.key)
            if wrong is None:
                self.marks.pop(pair.key, None)
            else:
                self.marks[pair.key] = wrong
        return before

    def shown(self, which: Shown, words: str, sorting: Sorting, descending: bool) -> list[int]:
        """Places of the pairs that pass the filter, in order."""
        wanted = words.casefold().split()
        places = [
            place
            for place, pair in enumerate(self.pairs)
            if self._fits(pair, which) and all(word in pair.caption.casefold() for word in wanted)
        ]
        return self._sorted(places, sorting, descending)

    def _fits(self, pair: Pair, which: Shown) -> bool:
        if which == "below":
            return pair.bin < self.cut
        if which == "shuffled":
            return bool(pair.shuffled)
        if which == "all":
            return True
        return self.marks.get(pair.key) is {"unmarked": None, "wrong": True, "right": False}[which]

    def _sorted(self, places: Sequence[int], sorting: Sorting, descending: bool) -> list[int]:
        pairs, marks = self.pairs, self.marks
        order = {None: 1, True: 0, False: 2}
        keys = {
            "rank": lambda place: place,
            "caption": lambda place: pairs[place].caption.casefold(),
            "right": lambda place: pairs[place].right,
            "mark": lambda place: order[marks.get(pairs[place].key)],
            "shuffled": lambda place: bool(pairs[place].shuffled),
        }
        return sorted(places, key=keys[sorting], reverse=descending)
