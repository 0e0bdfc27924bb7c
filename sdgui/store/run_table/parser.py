"""Parses a filter of runs into a tree.

    filter      any ("or" any)*          where any = part (["and"] part)*
    part        "not" part | "(" filter ")" | comparison | word
    comparison  field operator value | field "in" "(" value ("," value)* ")"

Adjacent words must all occur. ``optim.learning_rate < 1e-3 and val/R@1 > 40% tag:paper night`` is a filter.
"""

from __future__ import annotations

import math
import re
import time
from functools import partial
from typing import Any

from sdgui.store.run_table.expressions import (
    EVERY_RUN,
    And,
    Comparison,
    Expression,
    ExpressionError,
    Not,
    OneOf,
    Or,
    Value,
    Word,
)
from sdgui.store.run_table.fields import RUN_FACTS, Catalogue, Field, Kind, Source, UnknownFieldError
from sdgui.store.run_table.lexer import Token, tokens

MAX_PARTS, MAX_DEPTH = 200, 40  # SQLite refuses much larger expressions
MAX_LENGTH = 4000  # characters in a filter


def parse(text: str, catalogue: Catalogue, now: float | None = None) -> Expression:
    """Parse a filter; an empty filter is ``And(())``, which matches every run.

    ``now``: reference time of ages such as ``created > 3d``, in seconds since the epoch. Raises ExpressionError with
    the position of the error.
    """
    if len(text) > MAX_LENGTH:
        raise ExpressionError(
            f"The filter has {len(text)} characters; the limit is {MAX_LENGTH}.", MAX_LENGTH, len(text)
        )
    return _Parser(text, catalogue, time.time() if now is None else now).parse()


class _Parser:
    def __init__(self, text: str, catalogue: Catalogue, now: float) -> None:
        self._tokens = tokens(text)
        self._end = len(text.rstrip())
        self._catalogue, self._now = catalogue, now
        self._position, self._depth, self._parts = 0, 0, 0

    def parse(self) -> Expression:
        if not self._tokens:
            return EVERY_RUN
        expression = self._parse_or()
        if (token := self._peek()) is not None:
            raise ExpressionError(f"“{token.text}” is not understood here.", token.start, token.end)
        return expression

    def _peek(self, ahead: int = 0) -> Token | None:
        index = self._position + ahead
        return self._tokens[index] if index < len(self._tokens) else None

    def _accept(self, kind: str) -> Token | None:
        token = self._peek()
        if token is None or token.kind != kind:
            return None
        self._position += 1
        return token

    def _parse_or(self) -> Expression:
        parts = [self._parse_and()]
        while self._accept("or"):
            parts.append(self._parse_and())
        return parts[0] if len(parts) == 1 else Or(tuple(parts))

    def _parse_and(self) -> Expression:
        parts = [self._parse_part()]
        while (token := self._peek()) is not None and token.kind not in ("or", "close"):
            self._accept("and")
            parts.append(self._parse_part())
        return parts[0] if len(parts) == 1 else And(tuple(parts))

    def _parse_part(self) -> Expression:
        self._parts += 1
        token = self._peek()
        if token is None:
            raise ExpressionError("Expected a term here.", self._end, self._end + 1)
        if self._parts > MAX_PARTS or self._depth > MAX_DEPTH:
            raise ExpressionError("The filter has too many parts; simplify it.", token.start, token.end)
        self._position += 1
        self._depth += 1
        try:
            return self._parse_operand(token)
        finally:
            self._depth -= 1

    def _parse_operand(self, token: Token) -> Expression:
        if token.kind == "not":
            return Not(self._parse_part())
        if token.kind == "open":
            inner = self._parse_or()
            if not self._accept("close"):
                raise ExpressionError("This parenthesis is not closed.", token.start, token.start + 1)
            return inner
        if token.kind not in ("word", "string"):
            raise ExpressionError(f"Expected a term before “{token.text}”.", token.start, token.end)
        following = self._peek()
        if following is not None and following.kind == "operator":
            return self._comparison(token)
        next_token = self._peek(1)
        if following is not None and following.kind == "in" and next_token is not None and next_token.kind == "open":
            return self._one_of(token)
        return Word(token.text)

    def _field(self, token: Token) -> Field:
        try:
            return self._catalogue.field(token.text)
        except UnknownFieldError as error:
            raise ExpressionError(str(error), token.start, token.end) from error

    def _comparison(self, name: Token) -> Expression:
        field, operator = self._field(name), self._tokens[self._position]
        self._position += 1
        if field.kind is Kind.TIME and operator.text in ("=", "!="):
            same = self._same_time(field)
            return same if operator.text == "=" else Not(same)
        return Comparison(field, operator.text, self._value(field, operator.text))

    def _same_time(self, field: Field) -> Expression:
        """A time equals a date if it lies within that minute, day, month or year."""
        token, value = self._peek(), self._value(field, "=")
        if token is None or value is None:
            return Comparison(field, "=", None)
        start, end = read_period(field, token.text, self._now)
        return And((Comparison(field, ">=", start), Comparison(field, "<", end)))

    def _one_of(self, name: Token) -> Expression:
        field = self._field(name)
        opening = self._tokens[self._position + 1]
        self._position += 2
        read = self._same_time if field.kind is Kind.TIME else partial(self._value, operator="=")
        values: list[Any] = [read(field)]
        while self._accept("comma"):
            values.append(read(field))
        if not self._accept("close"):
            raise ExpressionError("This list is not closed; end it with “)”.", opening.start, opening.end)
        if len(values) > MAX_PARTS:
            raise ExpressionError(f"The list has {len(values)} values; the limit is {MAX_PARTS}.", name.start, name.end)
        return Or(tuple(values)) if field.kind is Kind.TIME else OneOf(field, tuple(values))

    def _value(self, field: Field, operator: str) -> Value:
        token = self._peek()
        if token is None or token.kind not in ("word", "string"):
            start, end = (self._end, self._end + 1) if token is None else (token.start, token.end)
            raise ExpressionError(f"“{field.name} {operator}” needs a value.", start, end)
        self._position += 1
        text = token.text
        percent = self._peek()
        if token.kind == "word" and percent is not None and (percent.kind, percent.text) == ("word", "%"):
            self._position += 1
            text += "%"
        try:
            return read_value(field, operator, text, token.kind == "string", self._now)
        except ValueError as error:
            raise ExpressionError(str(error), token.start, token.end) from error


_UNITS = {"s": 1, "min": 60, "m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}
_SPAN = re.compile(r"(\d+(?:\.\d+)?)(s|min|m|h|d|w)")
_DATES = {  # format -> index of its last field in ``time.struct_time``
    "%Y-%m-%d": 2,
    "%Y-%m-%d %H:%M": 4,
    "%Y-%m-%dT%H:%M": 4,
    "%Y-%m-%d %H:%M:%S": 5,
    "%Y-%m": 1,
    "%Y": 0,
}
_CONSTANTS: dict[str, Value] = {"true": True, "false": False, "none": None}


def read_value(field: Field, operator: str, text: str, quoted: bool, now: float) -> Value:
    """Parse ``text`` as a value of this field. Raises ValueError with a message if they cannot be compared."""
    title = _title(field)
    if not quoted and text.lower() == "none":
        if operator not in ("=", "!="):
            raise ValueError("“none” works only with = and !=.")
        return None
    if field.source is Source.SETTING:
        return _setting_value(field, operator, text, quoted)
    if field.kind in (Kind.TEXT, Kind.TAGS):
        if operator in ("<", "<=", ">", ">="):
            raise ValueError(f"{title} is text; compare it with =, != or :, which means “contains”.")
        return text
    if operator == ":":
        raise ValueError(f"{title} is a number; compare it with <, <=, =, >= or >.")
    if field.kind is Kind.TIME:
        return read_period(field, text, now)[0]
    if field.kind is Kind.DURATION:
        return _span(title, text)
    if (number := _number(text)) is None:
        raise ValueError(f"{title} is compared with a number, such as 0.4 or 40%, not with “{text}”.")
    return number


def _title(field: Field) -> str:
    return RUN_FACTS[field.key].title if field.source is Source.RUN else field.name


def _setting_value(field: Field, operator: str, text: str, quoted: bool) -> Value:
    if not quoted and text.lower() in _CONSTANTS:
        return _CONSTANTS[text.lower()]
    number = None if quoted or operator == ":" else _number(text)
    if number is None and operator in ("<", "<=", ">", ">="):
        raise ValueError(f"{operator} compares numbers, but “{text}” is not a number.")
    return text if number is None else number


def _number(text: str) -> float | None:
    """Parse ``1e-3``, ``40%`` or ``10_000``; None for anything else, including nan and infinity."""
    share = text.endswith("%")
    try:
        number = float(text.removesuffix("%"))
    except ValueError:
        return None
    return (number / 100 if share else number) if math.isfinite(number) else None


def _span(title: str, text: str) -> float:
    """Parse ``90s``, ``30min``, ``1h30min`` or ``2d`` to seconds; a bare number is in seconds."""
    if (number := _number(text)) is not None:
        return number
    parts = _SPAN.findall(text)
    if not parts or "".join(a + b for a, b in parts) != text:
        raise ValueError(f"{title} is compared with a time such as 90s, 30min, 1h30min or 2d, not with “{text}”.")
    return sum(float(size) * _UNITS[unit] for size, unit in parts)


def read_period(field: Field, text: str, now: float) -> tuple[float, float]:
    """The start and end of the period that ``text`` describes: "2026-01-31" is a day, "3d" the second three days ago.

    Raises ValueError with a message if ``text`` is neither a date nor an age.
    """
    title = _title(field)
    for date_format, last_field in _DATES.items():
        try:
            start = time.strptime(text, date_format)
            end = [number + (index == last_field) for index, number in enumerate(start)]  # the next day, month, ...
            return time.mktime(start), time.mktime(time.struct_time([*end[:8], -1]))  # -1: mktime determines DST
        except (ValueError, OverflowError):
            continue
    try:
        moment = now - _span(title, text)
        return moment, moment + 1
    except ValueError:
        raise ValueError(
            f"{title} is compared with a date such as 2026-01-31, or an age such as 3d, not with “{text}”."
        ) from None
