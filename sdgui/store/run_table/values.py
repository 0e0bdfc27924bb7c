"""What is typed behind an operator, as the value that the field is compared with."""

from __future__ import annotations

import math
import re
import time

from sdgui.store.run_table.expressions import Value
from sdgui.store.run_table.fields import FACTS, Field, Kind, Source

_UNITS = {"s": 1, "min": 60, "m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}
_SPAN = re.compile(r"(\d+(?:\.\d+)?)(s|min|m|h|d|w)")
_DATES = ("%Y-%m-%d", "%Y-%m-%d %H:%M", "%Y-%m-%dT%H:%M", "%Y-%m-%d %H:%M:%S", "%Y-%m", "%Y")
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
        return _moment(title, text, now)
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


def _moment(title: str, text: str, now: float) -> float:
    """A local date, or an age: ``3d`` is three days ago."""
    for form in _DATES:
        try:
            return time.mktime(time.strptime(text, form))
        except (ValueError, OverflowError):
            continue
    try:
        return now - _span(title, text)
    except ValueError:
        raise ValueError(
            f"{title} is compared with a date such as 2026-01-31, or an age such as 3d, not with “{text}”."
        ) from None
