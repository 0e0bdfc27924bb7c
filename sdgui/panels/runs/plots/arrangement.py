"""The arrangement of plots: pinned plots, folded sections, search, combined metrics and ranges. Plain data, no Qt.

The plot of the metric that ranks runs comes first and is large. Pinned plots follow, then the sections of `groups`.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Self

from sdgui.panels.runs.plots.charts import SECTIONS, Chart, sort_charts
from sdgui.shared.stored_json import read_stored

SELECTION, PINNED = "Selection metric", "Pinned"
_RANKING_METRICS = ("val/mean_recall", "val/top1")  # the first of these that a run reports ranks the runs


@dataclass(frozen=True)
class PlotSection:
    """A section of the page with its plots; a folded section has its plots too, but they are hidden."""

    title: str
    charts: tuple[Chart, ...]
    folded: bool = False

    @property
    def large(self) -> bool:
        """Whether the section's plots are shown larger."""
        return self.title == SELECTION


@dataclass(frozen=True)
class Arrangement:
    """How the user arranged the plots. ``pinned``: ids of pinned plots, in order; ``folded``: titles of sections.

    ``combined``: guest plot -> host plot that draws the guest's curves. ``ranges``: plot -> y range.
    """

    pinned: tuple[str, ...] = ()
    folded: frozenset[str] = frozenset()
    search: str = ""
    combined: Mapping[str, str] = field(default_factory=dict)
    ranges: Mapping[str, tuple[float, float]] = field(default_factory=dict)

    def sections(self, charts: Iterable[Chart]) -> list[PlotSection]:
        """The sections from top to bottom; a search unfolds all sections."""
        matching = [chart for chart in sort_charts(charts) if self._fits(chart)]
        by_id = {chart.id: chart for chart in matching}
        first = next((by_id[metric] for metric in _RANKING_METRICS if metric in by_id), None)
        pinned = [by_id[chart_id] for chart_id in self.pinned if chart_id in by_id and by_id[chart_id] != first]
        others = [chart for chart in matching if chart != first and chart not in pinned]
        groups = [(SELECTION, [first] if first is not None else []), (PINNED, pinned)]
        groups += [(section, [chart for chart in others if chart.section == section]) for section in SECTIONS]
        return [
            PlotSection(title, tuple(members), title in self.folded and not self.search.strip())
            for title, members in groups
            if members
        ]

    def _fits(self, chart: Chart) -> bool:
        text = f"{chart.title} {chart.id} {chart.section}".casefold()
        return all(word in text for word in self.search.casefold().split())

    def pin(self, chart_id: str) -> Arrangement:
        """Pin or unpin a plot."""
        others = tuple(pinned_id for pinned_id in self.pinned if pinned_id != chart_id)
        return replace(self, pinned=others if len(others) < len(self.pinned) else (*others, chart_id))

    def fold(self, title: str) -> Arrangement:
        """Fold or unfold a section."""
        return replace(self, folded=self.folded ^ {title})

    def guests(self, chart_id: str) -> list[str]:
        """The plots whose curves are drawn in the plot ``chart_id``."""
        return [guest for guest, host in self.combined.items() if host == chart_id]

    def combine(self, guest: str, host: str) -> Arrangement:
        """Draw the curves of ``guest`` and its own guests in the plot ``host``."""
        moved = dict.fromkeys([guest, *self.guests(guest)], host)
        return replace(self, combined={**self.combined, **moved})

    def separate(self, host: str) -> Arrangement:
        """Undo combining: every metric of ``host`` is drawn in its own plot again."""
        return replace(self, combined={guest: other for guest, other in self.combined.items() if other != host})

    def with_range(self, chart_id: str, y_range: tuple[float, float] | None) -> Arrangement:
        """Set a fixed y range; None follows the data."""
        ranges = {other: bounds for other, bounds in self.ranges.items() if other != chart_id}
        return replace(self, ranges=ranges if y_range is None else {**ranges, chart_id: y_range})

    def to_json(self) -> str:
        """Serialise the arrangement for the settings, except for the search."""
        lists = {"pinned": self.pinned, "folded": sorted(self.folded)}
        return json.dumps({**lists, "combined": dict(self.combined), "ranges": dict(self.ranges)})

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Read the output of ``to_json``; the default arrangement if the text is invalid."""
        return read_stored(text, cls)
