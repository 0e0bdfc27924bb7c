"""Values of the table as text: one unit per metric, equal decimals in a column, local time. No Qt.

A share is written in per cent and its unit stands in the head, so that figures align: ``R@1, %`` over ``40.6``.
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
from sdgui.store.run_table.fields import FACTS, SHARES, Field, Kind, Source
from sdgui.store.run_table.intervals import Mean
from sdgui.widgets.formats import count, duration

_DIGITS = 4  # of a metric that is no share
_COUNTED = frozenset({"step", "steps", "metric_step"})


@dataclass(frozen=True)
class Style:
    """How a column's numbers are written: the value times ``scale``, rounded to ``decimals``; None does not round."""

    scale: float = 1.0
    decimals: int | None = None


def title_of(field: Field) -> str:
    """The column's head, with its unit."""
    if field.source is Source.RUN:
        title = FACTS[field.key].title
    elif field.source is Source.METRIC:
        title = short_metric(field.key) + {"last": " (last)", "at": f" at {count(field.step)}"}.get(field.aggregate, "")
    else:
        title = field.key
    return f"{title}, %" if shares(field) else title


def short_metric(name: str) -> str:
    """``student image → text R@1`` for ``val/student/image_to_text_R@1``."""
    words = name.removeprefix("val/").removeprefix("train/").replace("/", " ")
    return words.replace("image_to_text", "image → text").replace("text_to_image", "text → image").replace("_", " ")


def tip_of(field: Field) -> str:
    """What a column shows, for its tooltip."""
    if field.source is Source.RUN:
        return f"{FACTS[field.key].tip}\nIn a filter: {field.name}"
    if field.source is Source.SETTING:
        return f"Setting {field.key}"
    statistic = "Last value" if field.aggregate == "last" else "Best value"
    if field.aggregate == "at":
        statistic = f"Last value up to step {count(field.step)}, for runs that have reached it,"
    metric_text = field.metrics[0] if len(field.metrics) == 1 else f"the best of {', '.join(field.metrics)}"
    return f"{statistic} of {metric_text}\nIn a filter: {field.name}"


def shares(field: Field) -> bool:
    """Whether a field is written in per cent."""
    if field.source is Source.METRIC:
        return is_share(field.metrics[0])
    return field.source is Source.RUN and field.key in SHARES


def is_numeric(field: Field, value: Any) -> bool:
    """Whether a cell is written at the right."""
    if field.kind in (Kind.NUMBER, Kind.DURATION, Kind.TIME):
        return True
    return field.kind is None and isinstance(value, (int, float)) and not isinstance(value, bool)


def style_of(field: Field, values: Iterable[Any]) -> Style:
    """The decimals of a column, by the largest of ``values``."""
    if shares(field):
        return Style(100.0, 0 if field.key == "progress" else 1)
    if field.source is not Source.METRIC:
        return Style()
    sizes = [abs(value) for value in values if isinstance(value, (int, float)) and math.isfinite(value) and value]
    if not sizes:
        return Style()
    digits = math.floor(math.log10(max(sizes))) + 1  # digits before the point
    if digits < -1 or digits > 7:
        return Style(1.0, None)
    return Style(1.0, max(0, _DIGITS - max(1, digits)))


def text_of(field: Field, value: Any, style: Style) -> str:
    """A cell of one run; "" without a value."""
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
    if field.source is Source.RUN and field.key in _COUNTED:
        return count(value)
    if style.decimals is not None:
        return f"{style.scale * value:.{style.decimals}f}"
    if isinstance(value, float) and field.source is Source.METRIC:
        return f"{value:.{_DIGITS - 1}e}" if value else "0"
    return f"{value:.10g}" if isinstance(value, float) else str(value)


def mean_text(field: Field, mean: Mean, style: Style) -> str:
    """``40.6 ± 1.2`` of a group: the mean and half its 95 % interval, which one run alone does not have."""
    if field.kind is Kind.TIME:
        return ""
    if field.kind is Kind.DURATION:
        return duration(mean.mean)
    if field.source is Source.SETTING:
        style = Style(1.0, None)
    centre = text_of(field, float(mean.mean), style)
    if math.isnan(mean.half) or (field.source is not Source.METRIC and field.key != "metric"):
        return centre
    decimals = 1 if style.decimals is None else style.decimals
    return f"{centre} ± {style.scale * mean.half:.{decimals}f}"


def band_text(field: Field, value: Any) -> str:
    """The band of a metric that a value lies in, as ``40 to 45``."""
    if not isinstance(value, (int, float)):
        return "none"
    if not math.isfinite(value):
        return "not finite"
    width = band_width(field)
    low = math.floor(value / width + 1e-9) * width
    scale, decimals = (100.0, 0) if shares(field) else (1.0, 1)
    return f"{scale * low:.{decimals}f} to {scale * (low + width):.{decimals}f}"


def group_title(fields: Sequence[Field], values: Sequence[Any], run: str) -> str:
    """What the runs of a group have in common; a recipe is called after the experiment of ``run``, one of them."""
    parts = []
    for field, value in zip(fields, values, strict=True):
        if field.source is Source.METRIC:
            parts.append(f"{title_of(field)}: {band_text(field, value)}")
        elif field.key == "recipe" and isinstance(value, str):
            parts.append(f"{run.rpartition(' · ')[0]} ({value[:4]})")
        else:
            parts.append(f"{title_of(field)}: {text_of(field, value, Style()) or 'none'}")
    return " · ".join(parts)
