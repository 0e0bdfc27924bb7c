"""A column of values as an axis: numbers on a line, categories at separate positions. No Qt.

Flow: cells of runs, or settings of trials -> ``ValueAxis`` -> scatter and parallel coordinates, which draw positions
from 0 to 1.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import ROUND_CEILING, ROUND_FLOOR, Context

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

    def positions(self) -> Floats:
        """(N,) positions from 0 to 1; 0.5 if all values are equal, nan if missing."""
        scaled = self.scaled()
        low, high = self.limits()
        return np.full(len(scaled), 0.5) + scaled * 0 if high <= low else (scaled - low) / (high - low)

    def limits(self) -> tuple[float, float]:
        """Smallest and largest displayed value; (0, 0) without values."""
        scaled = self.scaled()
        if np.isnan(scaled).all():
            return 0.0, 0.0
        return float(np.nanmin(scaled)), float(np.nanmax(scaled))

    def varies(self) -> bool:
        """Whether there are at least two different values."""
        low, high = self.limits()
        return low < high

    def value_at(self, position: float) -> float:
        """The value at a position from 0 to 1."""
        low, high = self.limits()
        scaled = low + position * (high - low)
        return float(10.0**scaled) if self.log else scaled / self.factor

    def text_at(self, position: float) -> str:
        """The label at a position."""
        if self.words:
            return self.words[min(len(self.words) - 1, max(0, round(self.value_at(position))))]
        return f"{self.factor * self.value_at(position):.3g}"

    def condition(self, low: float, high: float) -> str:
        """The filter that matches the values between two positions."""
        if self.words:
            selected_words = [word for index, word in enumerate(self.words) if low <= self._position_of(index) <= high]
            quoted = ['"' + word.replace("\\", "\\\\").replace('"', '\\"') + '"' for word in selected_words]
            return f"{self.name} in ({', '.join(quoted)})"
        # rounded outwards, so that the runs at both ends match
        at_least, at_most = _rounded(self.value_at(low), ROUND_FLOOR), _rounded(self.value_at(high), ROUND_CEILING)
        return f"{self.name} >= {at_least} {self.name} <= {at_most}"

    def _position_of(self, index: int) -> float:
        return index / (len(self.words) - 1) if len(self.words) > 1 else 0.5


def _rounded(value: float, rounding: str) -> str:
    """``value`` as text with 6 significant digits; an error of the scale, as in 0.29999999999999993, is ignored."""
    return f"{float(Context(prec=6, rounding=rounding).create_decimal(f'{value:.12g}')):.6g}"
