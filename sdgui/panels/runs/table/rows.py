"""The rows of the table: runs, or groups with the runs of expanded groups. Ids only, no cells; no Qt.

Flow: the store's ids or groups -> ``Rows`` -> the table's model, which asks ``at(row)``.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from sdgui.store.run_table.queries import RunGroup


class Row(NamedTuple):
    """A run, or the header of a group (``run_id`` is None)."""

    run_id: int | None
    group: int | None = None

    @property
    def is_group(self) -> bool:
        return self.run_id is None


class Rows:
    """The rows; stores one integer per run, or with groups, per run of an expanded group."""

    def __init__(
        self,
        run_ids: Sequence[int] = (),
        groups: Sequence[RunGroup] | None = None,
        open_groups: Mapping[int, list[int]] | None = None,
    ) -> None:
        self.groups = None if groups is None else list(groups)
        self._ids = list(run_ids)
        self._open = dict(open_groups or {})  # position of an expanded group -> its runs
        self._starts: list[int] = []  # row of each group's header
        self._rows_of: dict[int, int] = {}  # run id -> row, built on first use
        self._number_rows()

    def __len__(self) -> int:
        return self._length

    def at(self, row: int) -> Row:
        """The run or group at a row. Raises IndexError if there is no such row."""
        if not 0 <= row < self._length:
            raise IndexError(row)
        if self.groups is None:
            return Row(self._ids[row])
        group = bisect_right(self._starts, row) - 1
        inside = row - self._starts[group] - 1
        return Row(None if inside < 0 else self._open[group][inside], group)

    def run_ids(self) -> list[int]:
        """The runs that have a row, top to bottom."""
        if self.groups is None:
            return self._ids
        return [run_id for group in sorted(self._open) for run_id in self._open[group]]

    def same_layout(self, other: Rows) -> bool:
        """Whether all rows have the same run or group; means and counts may differ."""
        return self._ids == other._ids and self._open == other._open and self._group_keys() == other._group_keys()

    def _group_keys(self) -> list[tuple[Any, ...]] | None:
        return None if self.groups is None else [group.keys for group in self.groups]

    def total(self) -> int:
        """The number of runs, including those in collapsed groups."""
        return len(self._ids) if self.groups is None else sum(group.count for group in self.groups)

    def row_of(self, run_id: int) -> int | None:
        """The row of a run; None if it is not listed."""
        if not self._rows_of:
            self._rows_of = dict(zip(self._ids, range(len(self._ids)), strict=True))
            for group, ids in self._open.items():
                first = self._starts[group] + 1
                self._rows_of |= dict(zip(ids, range(first, first + len(ids)), strict=True))
        return self._rows_of.get(run_id)

    def is_open(self, group: int) -> bool:
        return group in self._open

    def header_row(self, group: int) -> int:
        """The row of a group's header."""
        return self._starts[group]

    def open_group(self, group: int, run_ids: Sequence[int]) -> None:
        """Expand a group with these runs."""
        self._open[group] = list(run_ids)
        self._number_rows()

    def close_group(self, group: int) -> None:
        self._open.pop(group, None)
        self._number_rows()

    def child_count(self, group: int) -> int:
        """The number of rows below a group's header."""
        return len(self._open.get(group, ()))

    def _number_rows(self) -> None:
        self._rows_of.clear()
        if self.groups is None:
            self._length = len(self._ids)
            return
        self._starts, start = [], 0
        for group in range(len(self.groups)):
            self._starts.append(start)
            start += 1 + self.child_count(group)
        self._length = start
