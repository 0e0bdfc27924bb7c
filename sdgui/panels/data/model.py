"""The rows of a source in the Data panel: filtering, excluding and undo. No Qt.

Flow: parts of rows as they arrive -> ``SourceRows`` -> ``filtered`` -> the gallery; rows not excluded -> a new source.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

Subset = Literal["all", "kept", "excluded", "uncaptioned", "duplicates", "broken"]
MAX_UNDO = 100  # undo steps


@dataclass(frozen=True)
class Filter:
    """A filter of rows: words of their captions, a label's value, and their properties."""

    words: str = ""
    label: str = ""
    value: str = ""
    subset: Subset = "all"


@dataclass
class SourceRows:
    """The rows of a source. ``problem_rows``: "duplicates" or "broken" -> rows with this problem, once checked."""

    source: str = ""
    paths: list[str] = field(default_factory=list)
    captions: list[tuple[str, ...]] = field(default_factory=list)
    labels: dict[str, list[str]] = field(default_factory=dict)
    excluded: set[int] = field(default_factory=set)
    problem_rows: dict[str, frozenset[int]] = field(default_factory=dict)
    stored_exclusions: frozenset[str] = frozenset()  # excluded images in the file, listed or not
    _texts: list[str] = field(default_factory=list)  # case-folded captions of each row
    _undo: list[list[int]] = field(default_factory=list)  # rows that were excluded or included, per step

    def __len__(self) -> int:
        return len(self.paths)

    def append(
        self, paths: Sequence[str], captions: Sequence[Sequence[str]], labels: Mapping[str, Sequence[str]]
    ) -> range:
        """Add rows; returns their numbers."""
        first = len(self.paths)
        self.paths += paths
        self.captions += map(tuple, captions)
        self._texts += ["\n".join(texts).casefold() for texts in captions]
        for name, values in labels.items():
            self.labels.setdefault(name, [""] * first).extend(values)
        added = range(first, len(self.paths))
        self.excluded.update(row for row in added if self.paths[row] in self.stored_exclusions)
        return added

    def filtered(self, row_filter: Filter, among: range | None = None) -> list[int]:
        """Numbers of the rows that pass ``row_filter``, in order; ``among`` restricts the search to a range."""
        rows: Iterable[int] = range(len(self.paths)) if among is None else among
        for word in row_filter.words.casefold().split():
            texts = self._texts
            rows = [row for row in rows if word in texts[row]]
        if row_filter.label and row_filter.label in self.labels and row_filter.value:
            values, value = self.labels[row_filter.label], "" if row_filter.value == NO_VALUE else row_filter.value
            rows = [row for row in rows if values[row] == value]
        if row_filter.subset == "kept":
            rows = [row for row in rows if row not in self.excluded]
        elif row_filter.subset == "excluded":
            rows = [row for row in rows if row in self.excluded]
        elif row_filter.subset == "uncaptioned":
            rows = [row for row in rows if not self._texts[row]]
        elif row_filter.subset != "all":
            problem_rows = self.problem_rows.get(row_filter.subset, frozenset())
            rows = [row for row in rows if row in problem_rows]
        return list(rows)

    def values(self, label: str) -> list[str]:
        """The values of a label, sorted; `NO_VALUE` stands for rows without a value."""
        values = set(self.labels.get(label, ()))
        return sorted(value for value in values if value) + ([NO_VALUE] if "" in values else [])

    def location(self, row: int) -> str:
        """The path of a row; its number, from 1, if it is not listed."""
        return self.paths[row] if row < len(self) else f"row {row + 1:,}"

    # Excluding
    def exclude(self, rows: Iterable[int], excluded: bool = True) -> list[int]:
        """Exclude ``rows`` that are listed from saving, or include them again; returns the changed rows."""
        changed = [row for row in rows if row < len(self) and (row in self.excluded) != excluded]
        if changed:
            self._undo.append(changed)
            del self._undo[:-MAX_UNDO]
            self.excluded.symmetric_difference_update(changed)
        return changed

    def toggle(self, rows: Sequence[int]) -> list[int]:
        """Exclude ``rows``, or include them again if all are excluded; returns the changed rows."""
        return self.exclude(rows, not all(row in self.excluded for row in rows))

    def undo(self) -> list[int]:
        """Undo the last change of exclusions; returns the changed rows."""
        if not self._undo:
            return []
        changed = self._undo.pop()
        self.excluded.symmetric_difference_update(changed)
        return changed

    def restore_exclusions(self, paths: Iterable[str]) -> list[int]:
        """Exclude the images of the file, also those that are listed later; returns the excluded rows."""
        self.stored_exclusions = stored = frozenset(paths)
        rows = [row for row, path in enumerate(self.paths) if path in stored]
        self.excluded.update(rows)
        return rows

    def excluded_paths(self) -> list[str]:
        """Paths of the excluded images."""
        return [self.paths[row] for row in sorted(self.excluded)]

    def copies(self, groups: Iterable[Sequence[int]]) -> list[int]:
        """The rows to exclude from ``groups`` so that one row of each group remains."""
        copies = []
        for group in groups:
            remaining = [row for row in group if row not in self.excluded]
            copies += remaining[1:]
        return copies


NO_VALUE = "(none)"  # stands for a row without a value of the label
