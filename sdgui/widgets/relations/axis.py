"""A column of values as an axis: numbers on a line, categories at separate positions. No Qt.

Flow: cells of runs, or settings of trials -> ``ValueAxis`` -> scatter and parallel coordinates, which draw positions
from 0 to 1.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class ValueAxis:
    """A column as an axis. ``numbers`` (N,): value per run, nan if missing; for categories, the index in ``words``."""

    name: str
    title: str
    numbers: Floats
    words: tuple[str, ...] = ()
    log: bool = False
    factor: float = 1.0  # display factor: 100 for shares in per cent

    def scaled(self) -> Floats:
        """(N,) values as displayed: log10 on a log scale, per cent for shares."""
        if self.log:
            return np.log10(np.where(self.numbers > 0, self.numbers, np.nan))
        return self.numbers * self.factor

    def places(self) -> Floats:
        """(N,) positions from 0 to 1; 0.5 if all values are equal, nan if missing."""
        scaled = self.scaled()
        low, high = self.ends()
        return np.full(len(scaled), 0.5) + scaled * 0 if high <= low else (scaled - low) / (high - low)

    def ends(self) -> tuple[float, float]:
        """Smallest and largest displayed value; (0, 0) without values."""
        scaled = self.scaled()
        if np.isnan(scaled).all():
            return 0.0, 0.0
        return float(np.nanmin(scaled)), float(np.nanmax(scaled))

    def varies(self) -> bool:
        """Whether there are at least two different values."""
        low, high = self.ends()
        return low < high

    def value_at(self, place: float) -> float:
        """The value at a position from 0 to 1."""
        low, high = self.ends()
        scaled = low + place * (high - low)
        return float(10.0**scaled) if self.log else scaled / self.factor

    def text_at(self, place: float) -> str:
        """The label at a position."""
        if self.words:
            return self.words[min(len(self.words) - 1, max(0, round(self.value_at(place))))]
        return f"{self.factor * self.value_at(place):.3g}"

    def condition(self, low: float, high: float) -> str:
        """The filter that matches the values between two positions."""
        if self.words:
            selected_words = [word for index, word in enumerate(self.words) if low <= self._place_of(index) <= high]
            quoted = ['"' + word.replace("\\", "\\\\").replace('"', '\\"') + '"' for word in selected_words]
            return f"{self.name} in ({', '.join(quoted)})"
        return f"{self.name} >= {self.value_at(low):.6g} {self.name} <= {self.value_at(high):.6g}"

    def _place_of(self, index: int) -> float:
        return index / (len(self.words) - 1) if len(self.words) > 1 else 0.5
