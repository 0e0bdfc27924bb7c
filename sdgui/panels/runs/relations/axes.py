"""Columns of values as axes: numbers on a line, words at places of their own. No Qt.

Flow: cells of runs -> ``Axis`` -> scatter and parallel coordinates, which draw places from 0 to 1.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sdgui.panels.runs.table.cells import Style, shares, style_of, text_of, title_of
from sdgui.store.run_table.fields import Field, Kind, Source

Floats = NDArray[np.float64]
_LOG_FROM = 100.0  # positive settings that span more than this are drawn on a log scale
MOST_WORDS = 30


@dataclass(frozen=True)
class Axis:
    """``numbers`` (N,): a value for each run, nan for none; of words, their index in ``words``."""

    field: Field
    numbers: Floats
    words: tuple[str, ...] = ()
    log: bool = False

    @property
    def title(self) -> str:
        return title_of(self.field)

    def scaled(self) -> Floats:
        """(N,) as drawn: log10 on a log scale, per cent of shares."""
        if self.log:
            return np.log10(np.where(self.numbers > 0, self.numbers, np.nan))
        return self.numbers * (100.0 if shares(self.field) else 1.0)

    def places(self) -> Floats:
        """(N,) from 0 to 1; 0.5 where all are equal, nan for none."""
        scaled = self.scaled()
        low, high = self.ends()
        return np.full(len(scaled), 0.5) + scaled * 0 if high <= low else (scaled - low) / (high - low)

    def ends(self) -> tuple[float, float]:
        """Least and greatest as drawn; (0, 0) without a value."""
        scaled = self.scaled()
        if np.isnan(scaled).all():
            return 0.0, 0.0
        return float(np.nanmin(scaled)), float(np.nanmax(scaled))

    def value_at(self, place: float) -> float:
        """The value at a place from 0 to 1, in its own unit."""
        low, high = self.ends()
        drawn = low + place * (high - low)
        if self.log:
            return float(10.0**drawn)
        return drawn / (100.0 if shares(self.field) else 1.0)

    def text_at(self, place: float) -> str:
        """The label at a place."""
        if self.words:
            return self.words[min(len(self.words) - 1, max(0, round(self.value_at(place))))]
        value = self.value_at(place)
        if self.field.source is Source.SETTING:
            return f"{value:.3g}"
        return text_of(self.field, value, style_of(self.field, self.numbers.tolist()))

    def condition(self, low: float, high: float) -> str:
        """The filter that matches the values between two places."""
        name = self.field.name
        if self.words:
            selected_words = [word for index, word in enumerate(self.words) if low <= self._place_of(index) <= high]
            quoted = ['"' + word.replace("\\", "\\\\").replace('"', '\\"') + '"' for word in selected_words]
            return f"{name} in ({', '.join(quoted)})"
        return f"{name} >= {self.value_at(low):.6g} {name} <= {self.value_at(high):.6g}"

    def _place_of(self, index: int) -> float:
        return index / (len(self.words) - 1) if len(self.words) > 1 else 0.5


def axis_of(field: Field, values: Sequence[Any]) -> Axis | None:
    """The axis of a column; None if it has more than ``MOST_WORDS`` distinct words, or no value."""
    plain = [_plain(value) for value in values]
    if all(isinstance(value, float) for value in plain if value is not None):
        numbers = np.array([math.nan if value is None else value for value in plain], dtype=np.float64)
        if np.isnan(numbers).all():
            return None
        spread = field.source is Source.SETTING and np.nanmin(numbers) > 0
        return Axis(field, numbers, log=bool(spread and np.nanmax(numbers) / np.nanmin(numbers) >= _LOG_FROM))
    words = tuple(sorted({_word(field, value) for value in values if value not in (None, [])}))
    if not 0 < len(words) <= MOST_WORDS:
        return None
    places = {word: float(index) for index, word in enumerate(words)}
    return Axis(field, np.array([places.get(_word(field, value), math.nan) for value in values]), words)


def _plain(value: Any) -> float | str | None:
    if value is None or (isinstance(value, float) and not math.isfinite(value)):
        return None
    return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else "word"


def _word(field: Field, value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return (
        value if isinstance(value, str) else text_of(field, value, Style()) if field.kind is Kind.TAGS else str(value)
    )
