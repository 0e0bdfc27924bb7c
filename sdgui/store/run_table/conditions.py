"""A filter as SQL. Every value is bound; a comparison with a missing value is never true."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

from sqlalchemy import and_, func, not_, or_, select, true

from sdgui.store.run_table.columns import SEARCHED_COLUMNS, Columns, Sql
from sdgui.store.run_table.expressions import And, Comparison, Expression, Not, OneOf, Or, Value, Word
from sdgui.store.run_table.fields import Field, Kind, Source, setting
from sdgui.store.tables import ConfigRow, RunRow

_PRESET = setting("preset")
_ORDERS: dict[str, Callable[[Any, Any], Any]] = {
    "<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge
}  # fmt: skip


def condition(expression: Expression, columns: Columns) -> Sql:
    """The SQL condition for a filter. Rows without the compared value do not match, but match the negation."""
    match expression:
        case Word(text):
            return _word(text, columns)
        case Comparison(field, symbol, value):
            # a run without a config matches "= none", and "!=" with any value
            matches_missing = symbol in ("=", "!=") and (symbol == "=") == (value is None)
            return _per_config(field, _comparison(expression, columns), matches_missing)
        case OneOf(field, values):
            return _per_config(field, or_(*(_equal(field, value, columns) for value in values)), None in values)
        case Not(part):
            return not_(condition(part, columns))
        case And(parts):
            return and_(true(), *(condition(part, columns) for part in parts))
        case Or(parts):
            return or_(*(condition(part, columns) for part in parts))


def _per_config(field: Field, comparison: Sql, matches_missing: bool) -> Sql:
    """Compare a setting once per config instead of once per run, since many runs share a config.

    ``matches_missing``: whether runs without a config match.
    """
    matches = func.coalesce(comparison, False)
    if field.source is not Source.SETTING:
        return matches
    config_matches = RunRow.digest.in_(select(ConfigRow.digest).where(matches).correlate(None))
    if matches_missing:
        return or_(ConfigRow.digest.is_(None), config_matches)
    return func.coalesce(config_matches, False)


def _word(text: str, columns: Columns) -> Sql:
    texts = [func.coalesce(columns.contains(column, text), False) for column in SEARCHED_COLUMNS]
    preset = func.coalesce(columns.contains(columns.text(_PRESET), text), False)
    return or_(*texts, preset, columns.has_tag(text, exact=False))


def _comparison(comparison: Comparison, columns: Columns) -> Sql:
    field, value = comparison.field, comparison.value
    if comparison.operator == "=":
        return _equal(field, value, columns)
    if comparison.operator == "!=":
        return not_(func.coalesce(_equal(field, value, columns), False))
    if comparison.operator == ":":
        if field.kind is Kind.TAGS:
            return columns.has_tag(str(value), exact=True)
        text = columns.text(field)
        return columns.contains(text, value) if isinstance(value, str) else _equal(field, value, columns)
    is_ordered: Sql = _ORDERS[comparison.operator](columns.number(field), value)
    return is_ordered


def _equal(field: Field, value: Value, columns: Columns) -> Sql:
    if value is None:
        text = columns.text(field)
        return or_(text.is_(None), text == "")
    if field.kind is Kind.TAGS:
        return columns.has_tag(str(value), exact=True)
    if isinstance(value, bool):
        return columns.text(field) == ("true" if value else "false")
    if isinstance(value, float):
        return columns.number(field) == value
    return columns.equals(columns.text(field), value)
