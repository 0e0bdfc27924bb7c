"""Axes of the scatter plot and parallel coordinates, made from columns of the run table. No Qt.

Flow: cells of runs -> ``Axis`` -> scatter and parallel coordinates.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from sdgui.panels.runs.table.cells import Style, is_percentage, style_of, text_of, title_of
from sdgui.store.run_table.fields import Field, Kind, Source
from sdgui.widgets.relations.axis import Floats, ValueAxis

_MIN_LOG_SPAN = 100.0  # positive settings with a larger ratio of maximum to minimum get a log scale
MAX_WORDS = 30  # a column with more distinct words has no axis


class Axis(ValueAxis):
    """The axis of a column of the table."""

    def __init__(self, field: Field, numbers: Floats, words: tuple[str, ...] = (), log: bool = False) -> None:
        super().__init__(field.name, title_of(field), numbers, words, log, 100.0 if is_percentage(field) else 1.0)
        object.__setattr__(self, "field", field)

    field: Field

    def text_at(self, position: float) -> str:
        """The label at a position, formatted as in the table."""
        if self.words or self.field.source is Source.SETTING:
            return super().text_at(position)
        return text_of(self.field, self.value_at(position), style_of(self.field, self.numbers.tolist()))


def axis_of(field: Field, values: Sequence[Any]) -> Axis | None:
    """The axis of a column; None if it has no value or more than ``MAX_WORDS`` distinct words."""
    plain = [_plain(value) for value in values]
    if all(isinstance(value, float) for value in plain if value is not None):
        numbers = np.array([math.nan if value is None else value for value in plain], dtype=np.float64)
        if np.isnan(numbers).all():
            return None
        can_be_log = field.source is Source.SETTING and np.nanmin(numbers) > 0
        return Axis(field, numbers, log=bool(can_be_log and np.nanmax(numbers) / np.nanmin(numbers) >= _MIN_LOG_SPAN))
    words = tuple(sorted({_word(field, value) for value in values if value not in (None, [])}))
    if not 0 < len(words) <= MAX_WORDS:
        return None
    positions = {word: float(index) for index, word in enumerate(words)}
    return Axis(field, np.array([positions.get(_word(field, value), math.nan) for value in values]), words)


def _plain(value: Any) -> float | str | None:
    """A number as float, "word" for any other value; None if there is no value."""
    if value is None or (isinstance(value, float) and not math.isfinite(value)):
        return None
    return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else "word"


def _word(field: Field, value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return (
        value if isinstance(value, str) else text_of(field, value, Style()) if field.kind is Kind.TAGS else str(value)
    )
