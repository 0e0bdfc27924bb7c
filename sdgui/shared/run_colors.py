"""Which runs are overlaid, with the palette index of each. No Qt.

Flow: the tree shows the colour that belongs to each run at every selection; its ticks and the table's ask ``of``.
"""

from __future__ import annotations

from collections.abc import Mapping


class RunColors:
    """A run has one colour (``color_index``), wherever and with whatever other runs it is drawn."""

    def __init__(self) -> None:
        self._overlaid: dict[int, int] = {}

    def show(self, colors: Mapping[int, int]) -> None:
        """These runs are overlaid now, and no others."""
        self._overlaid = dict(colors)

    def of(self, run_id: int) -> int | None:
        """The palette index of a run; None of one that is not overlaid."""
        return self._overlaid.get(run_id)
