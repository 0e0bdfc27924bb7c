"""Checks of an event's fields: each returns the value of an untrusted line, or raises with the reason.

Flow: a line of ``events.jsonl`` -> ``core.spec.run.events.decode`` -> a check per field -> a typed event. Steps are
integers that a float represents exactly, times can be converted to local time, and the database can store both.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping
from typing import Any

from core.spec.errors import UserError
from core.spec.reading import excerpt, parse_json

LARGEST_STEP = 1 << 53  # curves hold steps as float64
LATEST = 2.5e11  # seconds since the epoch (the year 9892): convertible to local time everywhere
MOST_VALUES = 2000  # metrics of one event
LONGEST_NAME = 200  # characters of a metric's name
_NOT_FINITE = {"nan": float("nan"), "inf": float("inf"), "-inf": float("-inf")}

Check = Callable[[Any], Any]


class EventError(UserError):
    """A line that is not an event, or a file that is not an events file; the message names the problem."""


def shown(value: object) -> str:
    """An untrusted value for a message."""
    return "null" if value is None else excerpt(value)


def step(value: Any) -> int:
    """An integer from 0 to 2^53."""
    if type(value) is int and 0 <= value <= LARGEST_STEP:
        return value
    raise EventError(f"{shown(value)} is not a whole number from 0 to 2^53")


def moment(value: Any) -> float:
    """Seconds since the epoch that can be converted to a date."""
    if type(value) in (int, float) and 0 <= value <= LATEST:
        return float(value)
    raise EventError(f"{shown(value)} is not a time in seconds since 1970")


def text(value: Any) -> str:
    if isinstance(value, str):
        return value
    raise EventError(f"{shown(value)} is not text")


def flag(value: Any) -> bool:
    if isinstance(value, bool):
        return value
    raise EventError(f"{shown(value)} is neither true nor false")


def one_of(words: Collection[str]) -> Check:
    """A check that accepts only ``words``."""

    def check(value: Any) -> str:
        if isinstance(value, str) and value in words:
            return value
        raise EventError(f"{shown(value)} is not one of {', '.join(words)}")

    return check


def numbers(values: Any) -> Mapping[str, float]:
    """Metrics by name: at most `MOST_VALUES`, each a number of 64 bits or one of "nan", "inf", "-inf"."""
    if not isinstance(values, dict):
        raise EventError(f"{shown(values)} is not an object")
    if len(values) > MOST_VALUES:
        raise EventError(f"{len(values)} metrics in one event; at most {MOST_VALUES} are read")
    if values and max(map(len, values)) > LONGEST_NAME:
        raise EventError(f"a metric's name is longer than {LONGEST_NAME} characters")
    if {float}.issuperset(map(type, values.values())):  # the common case, for speed
        return values
    return {name: _number(name, value) for name, value in values.items()}


def _number(name: str, value: Any) -> float:
    if type(value) is float:
        return value
    if type(value) is int and abs(value) < 1 << 63:
        return float(value)
    if isinstance(value, str) and value in _NOT_FINITE:
        return _NOT_FINITE[value]
    raise EventError(f"{excerpt(name)}: {shown(value)} is not a number")


def check_nesting(line: bytes) -> None:
    """Raise EventError for a line with plain data that is nested too deep or beyond 64 bits."""
    parse_json(line, "content", error=EventError)


def content(value: Any) -> Mapping[str, Any]:
    if isinstance(value, dict):
        return value
    raise EventError(f"{shown(value)} is not an object")


def finite(value: Any) -> Any:
    """``value`` with "nan", "inf" and "-inf" for numbers that JSON cannot hold."""
    if isinstance(value, float) and not math.isfinite(value):
        return "nan" if math.isnan(value) else ("inf" if value > 0 else "-inf")
    if isinstance(value, Mapping):
        return {key: finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [finite(item) for item in value]
    return value
