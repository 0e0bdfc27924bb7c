"""Formats the table's values: one unit per metric, equal decimals in a column, local time. No Qt.

Shares are shown in per cent with the unit in the header, so that numbers align: ``R@1, %`` above ``40.6``.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from core.spec.run.metric_names import is_share
from sdgui.store.run_table.columns import band_width
from sdgui.store.run_table.fields import RUN_FACTS, SHARE_FACTS, Field, Kind, Source
from sdgui.store.run_table.intervals import Mean
from sdgui.widgets.formats import count, duration, metric_title

_DIGITS = 4  # significant digits of metrics that are not shown in per cent
_COUNTS = frozenset({"step", "steps", "metric_step"})  # facts shown as whole numbers, such as 1 200


@dataclass(frozen=True)
class Style:
    """A column's number format: the value times ``scale``, rounded to ``decimals`` unless None."""

    scale: float = 1.0
    decimals: int | None = None


def title_of(field: Field) -> str:
    """The title of a column, with its unit."""
    if field.source is Source.RUN:
        title = RUN_FACTS[field.key].title
    elif field.source is Source.METRIC:
        title = metric_title(field.key) + {"last": " (last)", "at": f" at {count(field.step)}"}.get(field.aggregate, "")
    else:
        title = field.key
    return f"{title}, %" if is_percentage(field) else title


def tip_of(field: Field) -> str:
    """The tooltip of a column: what it shows and its name in filters."""
    if field.source is Source.RUN:
        return f"{RUN_FACTS[field.key].tip}\nIn a filter: {field.name}"
    if field.source is Source.SETTING:
        return f"Setting {field.key}"
    statistic = "Last value" if field.aggregate == "last" else "Best value"
    if field.aggregate == "at":
        statistic = f"Last value up to step {count(field.step)}, for runs that have reached it,"
    metric_text = field.metrics[0] if len(field.metrics) == 1 else f"the best of {', '.join(field.metrics)}"
    return f"{statistic} of {metric_text}\nIn a filter: {field.name}"


def is_percentage(field: Field) -> bool:
    """Whether a field is shown in per cent."""
    if field.source is Source.METRIC:
        return is_share(field.metrics[0])
    return field.source is Source.RUN and field.key in SHARE_FACTS


def is_numeric(field: Field, value: Any) -> bool:
    """Whether a cell is right-aligned."""
    if field.kind in (Kind.NUMBER, Kind.DURATION, Kind.TIME):
        return True
    return field.kind is None and isinstance(value, (int, float)) and not isinstance(value, bool)


def style_of(field: Field, values: Iterable[Any]) -> Style:
    """The number format of a column, based on the largest of ``values``."""
    if is_percentage(field):
        return Style(100.0, 0 if field.key == "progress" else 1)
    if field.source is not Source.METRIC:
        return Style()
    sizes = [abs(value) for value in values if isinstance(value, (int, float)) and math.isfinite(value) and value]
    if not sizes:
        return Style()
    digits = math.floor(math.log10(max(sizes))) + 1  # digits before the decimal point
    if digits < -1 or digits > 7:
        return Style(1.0, None)
    return Style(1.0, max(0, _DIGITS - max(1, digits)))


def text_of(field: Field, value: Any, style: Style) -> str:
    """The text of a run's cell; "" if there is no value."""
    if value is None or value == [] or value == "":
        return "" if field.key != "machine" or value is None else "this computer"
    if field.kind is Kind.TAGS:
        return " ".join(f"#{tag}" for tag in value)
    if field.kind is Kind.TIME:
        return time.strftime("%Y-%m-%d %H:%M", time.localtime(value))
    if field.kind is Kind.DURATION:
        return duration(value)
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, (int, float)):
        return _number(field, value, style)
    if isinstance(value, str):
        return " ".join(value.split()) if field.key in ("note", "failure") else value
    return json.dumps(value, ensure_ascii=False)


def _number(field: Field, value: float, style: Style) -> str:
    if field.source is Source.RUN and field.key in _COUNTS:
        return count(value)
    if style.decimals is not None:
        return f"{style.scale * value:.{style.decimals}f}"
    if isinstance(value, float) and field.source is Source.METRIC:
        return f"{value:.{_DIGITS - 1}e}" if value else "0"
    return f"{value:.10g}" if isinstance(value, float) else str(value)


def mean_text(field: Field, mean: Mean, style: Style) -> str:
    """The text of a group's mean, such as ``40.6 ± 1.2`` (half of the 95 % interval, if several runs)."""
    if field.kind is Kind.TIME:
        return ""
    if field.kind is Kind.DURATION:
        return duration(mean.mean)
    if field.source is Source.SETTING:
        style = Style(1.0, None)
    centre = text_of(field, float(mean.mean), style)
    if math.isnan(mean.half) or (field.source is not Source.METRIC and field.key != "metric"):
        return centre
    return f"{centre} ± {_number(field, mean.half, style)}"


def band_text(field: Field, value: Any) -> str:
    """The band of a metric that contains ``value``, such as ``40 to 45``."""
    if not isinstance(value, (int, float)):
        return "none"
    if not math.isfinite(value):
        return "not finite"
    width = band_width(field)
    low = math.floor(value / width + 1e-9) * width
    scale, decimals = (100.0, 0) if is_percentage(field) else (1.0, 1)
    return f"{scale * low:.{decimals}f} to {scale * (low + width):.{decimals}f}"


def group_title(fields: Sequence[Field], values: Sequence[Any], member_name: str) -> str:
    """The common values of a group as its title. ``member_name``: the name of one of its runs.

    A recipe (same settings, any seed) is shown as the experiment of this run and the start of the recipe's hash.
    """
    parts = []
    for field, value in zip(fields, values, strict=True):
        if field.source is Source.METRIC:
            parts.append(f"{title_of(field)}: {band_text(field, value)}")
        elif field.key == "recipe" and isinstance(value, str):
            parts.append(f"{member_name.rpartition(' · ')[0]} ({value[:4]})")
        else:
            parts.append(f"{title_of(field)}: {text_of(field, value, Style()) or 'none'}")
    return " · ".join(parts)
