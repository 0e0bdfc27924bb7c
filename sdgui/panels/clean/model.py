"""The ranked pairs of the Clean panel: marks, the threshold, and the pairs to exclude. No Qt.

Flow: worker's answer and the store's marks -> ``RankedPairs`` -> gallery, table, histogram, ``save_arguments``.

Match scores are compared in thousandths, as in ``core.evaluation.noise``. Counts below a threshold are
therefore exact for all pairs, although only the pairs with the lowest match scores are listed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, NamedTuple

import numpy as np

BINS = 1000  # match scores are counted in thousandths
PairFilter = Literal["all", "below", "unmarked", "mismatched", "correct", "shuffled"]
Sorting = Literal["rank", "caption", "suggestion", "clean_probability", "mark", "shuffled"]
Key = tuple[str, str]  # path, caption


@dataclass(frozen=True)
class Pair:
    """One caption of one image; rank 1 has the lowest match score."""

    path: str
    caption: str
    match_score: float  # 0 to 1
    clean_probability: float | None  # None if the match scores form one group
    rank: int
    shuffled: bool | None  # None if the data does not mark shuffled captions
    suggestion: str = ""  # best-fitting other caption in the data

    @cached_property
    def key(self) -> Key:
        return self.path, self.caption

    @cached_property
    def bin(self) -> int:
        """The match score in thousandths."""
        return min(BINS - 1, max(0, int(self.match_score * BINS)))


class PairState(NamedTuple):
    """The user's verdict on a pair: a mark (True for mismatched) and a corrected caption ("" for none)."""

    mark: bool | None
    correction: str = ""


class RankedPairs:
    """One ranking with the user's marks. ``threshold`` is in thousandths of the match score; 0 excludes nothing."""

    def __init__(
        self,
        answer: Mapping[str, Any],
        marks: Mapping[Key, bool],
        corrections: Mapping[Key, str] | None = None,
        ranked_at: float = 0.0,
    ) -> None:
        """``answer``: the answer of ``noise_open``; ``ranked_at``: when a stored answer was computed (Unix time, s)."""
        self.ranked_at = ranked_at
        self.pairs = [
            Pair(
                str(entry["path"]),
                str(entry["caption"]),
                float(entry["match_score"]),
                entry["clean_probability"],
                int(entry["rank"]),
                entry.get("shuffled"),
                str(entry.get("suggestion", "")),
            )
            for entry in answer["list"]
        ]
        self.key = str(answer["key"])  # identifies the ranking in any worker
        self.model, self.data = str(answer["model"]), str(answer["data"])
        self.total, self.mismatched = int(answer["pairs"]), int(answer["mismatched"])
        self.two_groups = answer["groups"] == 2  # with one group, no pair is called mismatched
        self.shuffled: int | None = answer["shuffled"]  # number of pairs marked as shuffled in the data
        self.precision: float | None = answer["precision"]  # share of shuffled among as many lowest-ranked pairs
        self.bins = np.asarray(answer["bins"], dtype=np.int64)
        raw = answer.get("shuffled_bins")
        self.shuffled_bins = None if raw is None else np.asarray(raw, dtype=np.int64)
        self.marks: dict[Key, bool] = dict(marks)
        self.corrections: dict[Key, str] = dict(corrections or {})  # pair -> caption; the basket has the fixes
        self.threshold = self.suggested_threshold()
        self.exclude_below = False  # whether unmarked pairs below the threshold are excluded too

    def suggested_threshold(self) -> int:
        """The threshold below which pairs are likely mismatched; 0 if no pair is."""
        cumulative = np.cumsum(self.bins)
        return int(np.searchsorted(cumulative, self.mismatched, side="left")) + 1 if self.mismatched else 0

    def caption(self, pair: Pair) -> str:
        """The pair's caption, or the user's correction."""
        return self.corrections.get(pair.key, pair.caption)

    # Counts
    def below_count(self) -> int:
        """The number of pairs below the threshold."""
        return int(self.bins[: self.threshold].sum())

    def shuffled_below_count(self) -> int | None:
        """The number of shuffled pairs below the threshold; None if the data does not mark shuffled pairs."""
        return None if self.shuffled_bins is None else int(self.shuffled_bins[: self.threshold].sum())

    def mark_count(self, mismatched: bool) -> int:
        """The number of pairs with this mark."""
        return sum(mark is mismatched for mark in self.marks.values())

    def is_excluded(self, pair: Pair) -> bool:
        """Whether ``pair`` is excluded from saving."""
        mark = self.marks.get(pair.key)
        return mark is True or (mark is None and self.exclude_below and pair.bin < self.threshold)

    def excluded_count(self) -> int:
        """The number of excluded pairs."""
        if not self.exclude_below:
            return self.mark_count(mismatched=True)
        is_below_by_key = {pair.key: pair.bin < self.threshold for pair in self.pairs}
        count = self.below_count()
        for key, is_mismatched in self.marks.items():  # a mark counts more than the threshold
            # An unlisted pair is above the threshold, unless unlisted pairs are below it: then it probably is too.
            is_below = is_below_by_key.get(key, not self._lists_all_below)
            count += (is_mismatched and not is_below) - (is_below and not is_mismatched)
        return count

    def save_arguments(self) -> dict[str, Any]:
        """The arguments of ``noise_save`` for the excluded pairs."""
        marked_keys = [list(key) for key, is_mismatched in self.marks.items() if is_mismatched]
        if not self.exclude_below:
            return {"pairs": marked_keys}
        correct = [list(key) for key, is_mismatched in self.marks.items() if not is_mismatched]
        if self._lists_all_below:
            excluded = (pair for pair in self.pairs if pair.key not in self.marks and self.is_excluded(pair))
            return {"pairs": [*marked_keys, *(list(pair.key) for pair in excluded)]}
        return {"pairs": marked_keys, "below": self.threshold, "clean": correct, "key": self.key}

    def excluded_pairs(self) -> list[Pair]:
        """Excluded pairs without a correction; unlisted pairs only if they are marked mismatched."""
        listed_keys = {pair.key for pair in self.pairs}
        marked_keys = [key for key, is_mismatched in self.marks.items() if is_mismatched and key not in listed_keys]
        unlisted = (Pair(path, caption, 0.0, None, 0, None) for path, caption in marked_keys)
        excluded = [*filter(self.is_excluded, self.pairs), *unlisted]
        return [pair for pair in excluded if pair.key not in self.corrections]

    @property
    def _lists_all_below(self) -> bool:
        """Whether every pair below the threshold is listed."""
        return len(self.pairs) == self.total or bool(self.pairs and self.pairs[-1].bin >= self.threshold)

    # Choosing
    def set_states(self, states: Mapping[Key, PairState]) -> dict[Key, PairState]:
        """Set marks and corrections; returns the previous ones, for undo."""
        before = {key: PairState(self.marks.pop(key, None), self.corrections.pop(key, "")) for key in states}
        self.marks |= {key: state.mark for key, state in states.items() if state.mark is not None}
        self.corrections |= {key: state.correction for key, state in states.items() if state.correction}
        return before

    def filtered(self, pair_filter: PairFilter, words: str, sorting: Sorting, descending: bool) -> list[int]:
        """Indices of the pairs that pass the filter, in order."""
        terms = words.casefold().split()
        indices = [
            index
            for index, pair in enumerate(self.pairs)
            if self._fits(pair, pair_filter) and all(word in pair.caption.casefold() for word in terms)
        ]
        return self._sorted(indices, sorting, descending)

    def _fits(self, pair: Pair, pair_filter: PairFilter) -> bool:
        if pair_filter == "below":
            return pair.bin < self.threshold
        if pair_filter == "shuffled":
            return bool(pair.shuffled)
        if pair_filter == "all":
            return True
        return self.marks.get(pair.key) is {"unmarked": None, "mismatched": True, "correct": False}[pair_filter]

    def _sorted(self, indices: Sequence[int], sorting: Sorting, descending: bool) -> list[int]:
        pairs, marks = self.pairs, self.marks
        order = {None: 1, True: 0, False: 2}
        keys = {
            "rank": lambda index: index,
            "caption": lambda index: pairs[index].caption.casefold(),
            "suggestion": lambda index: pairs[index].suggestion.casefold(),
            "clean_probability": lambda index: -1.0 if (p := pairs[index].clean_probability) is None else p,
            "mark": lambda index: order[marks.get(pairs[index].key)],
            "shuffled": lambda index: bool(pairs[index].shuffled),
        }
        return sorted(indices, key=keys[sorting], reverse=descending)
