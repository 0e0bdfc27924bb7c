"""Which colour each overlaid run has: one of twenty that differ, given out among those that are overlaid. No Qt.

Flow: the tree gives them out at each selection; its ticks, the table's, the curves and their legend ask ``of``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

COLORS = 20  # of the palette


class RunColors:
    """A run keeps its colour while it is overlaid; the next gets the first that is free, or the one least used."""

    def __init__(self) -> None:
        self._given: dict[int, int] = {}

    def give(self, run_ids: Sequence[int]) -> None:
        """These runs are overlaid now, and no others."""
        self._given = {run_id: self._given[run_id] for run_id in run_ids if run_id in self._given}
        used = Counter(self._given.values())
        for run_id in run_ids:
            if run_id not in self._given:
                color = min(range(COLORS), key=lambda one: (used[one], one))
                self._given[run_id] = color
                used[color] += 1

    def fix(self, colors: Mapping[int, int]) -> None:
        """These runs are overlaid now, in given colours: the seeds of a study's arm share one."""
        self._given = dict(colors)

    def of(self, run_id: int) -> int | None:
        """The palette index of a run; None of one that is not overlaid."""
        return self._given.get(run_id)
