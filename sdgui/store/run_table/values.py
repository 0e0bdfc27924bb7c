"""What is typed behind an operator, as the value that the field is compared with."""

from __future__ import annotations

import math
import re
import time

from sdgui.store.run_table.expressions import Value
from sdgui.store.run_table.fields import FACTS, Field, Kind, Source

_UNITS = {"s": 1, "min": 60, "m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}
_SPAN = re.compile(r"(\d+(?:\.\d+)?)(s|min|m|h|d|w)")
_DATES = {  # format: the part of ``time.struct_time`` that it ends with
    "%Y-%m-%d": 2,
    "%Y-%m-%d %H:%M": 4,
    "%Y-%m-%dT%H:%M": 4,
    "%Y-%m-%d %H:%M:%S": 5,
    "%Y-%m": 1,
    "%Y": 0,
}
_CONSTANTS: dict[str, Value] = {"true": True, "false": False, "none": None}


def read_value(field: Field, operator: str, text: str, quoted: bool, now: float) -> Value:
    """The value of ``text`` for this field; ValueError, in words, where the field cannot be compared with it so."""
    title = _title(field)
    if not quoted and text.lower() == "none":
        if operator not in ("=", "!="):
            raise ValueError("“none” goes with = and != alone.")
        return None
    if field.source is Source.SETTING:
        return _of_setting(field, operator, text, quoted)
    if field.kind in (Kind.TEXT, Kind.TAGS):
        if operator in ("<", "<=", ">", ">="):
            raise ValueError(f"{title} is text; compare it with =, != or :, which means “contains”.")
        return text
    if operator == ":":
        raise ValueError(f"{title} is a number; compare it with <, <=, =, >= or >.")
    if field.kind is Kind.TIME:
        return _period(title, text, now)[0]
    if field.kind is Kind.DURATION:
        return _span(title, text)
    if (number := _number(text)) is None:
        raise ValueError(f"{title} is compared with a number, such as 0.4 or 40%, not with “{text}”.")
    return number


def _title(field: Field) -> str:
    return FACTS[field.key].title if field.source is Source.RUN else field.name


def _of_setting(field: Field, operator: str, text: str, quoted: bool) -> Value:
    if not quoted and text.lower() in _CONSTANTS:
        return _CONSTANTS[text.lower()]
    number = None if quoted or operator == ":" else _number(text)
    if number is None and operator in ("<", "<=", ">", ">="):
        raise ValueError(f"{operator} compares numbers, and “{text}” is none.")
    return text if number is None else number


def _number(text: str) -> float | None:
    """``1e-3``, ``40%``, ``10_000``; None for anything else, nan and infinity too."""
    share = text.endswith("%")
    try:
        number = float(text.removesuffix("%"))
    except ValueError:
        return None
    return (number / 100 if share else number) if math.isfinite(number) else None


def _span(title: str, text: str) -> float:
    """Seconds of ``90s``, ``30min``, ``1h30min``, ``2d``; a bare number is seconds."""
    if (number := _number(text)) is not None:
        return number
    parts = _SPAN.findall(text)
    if not parts or "".join(a + b for a, b in parts) != text:
        raise ValueError(f"{title} is compared with a time such as 90s, 30min, 1h30min or 2d, not with “{text}”.")
    return sum(float(size) * _UNITS[unit] for size, unit in parts)


def read_period(field: Field, text: str, now: float) -> tuple[float, float]:
    """The moments from which and before which a run's TIME ``field`` equals ``text``: "2026-01-31" is a whole day.

    ValueError, in words, for what is neither a date nor an age.
    """
    return _period(_title(field), text, now)


def _period(title: str, text: str, now: float) -> tuple[float, float]:
    """The bounds of a local date, or of an age: ``3d`` is the second three days ago."""
    for form, part in _DATES.items():
        try:
            first = time.strptime(text, form)
            after = [number + (index == part) for index, number in enumerate(first)]
            return time.mktime(first), time.mktime(time.struct_time([*after[:8], -1]))  # whatever the time zone does
        except (ValueError, OverflowError):
            continue
    try:
        moment = now - _span(title, text)
        return moment, moment + 1
    except ValueError:
        raise ValueError(
            f"{title} is compared with a date such as 2026-01-31, or an age such as 3d, not with “{text}”."
        ) from None
