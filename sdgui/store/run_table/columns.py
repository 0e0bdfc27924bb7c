"""Fields as SQL, with the same values on SQLite and PostgreSQL.

``sort_key`` has any sortable type; ``number`` is NULL if the value is not a number; ``text`` casts values to text.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import (
    ARRAY,
    Double,
    Integer,
    SQLColumnExpression,
    Subquery,
    Text,
    case,
    cast,
    collate,
    func,
    literal,
    select,
)

from core.spec.run.metric_names import higher_is_better, is_share
from sdgui.store.run_table.fields import Field, Kind, Source
from sdgui.store.tables import ConfigRow, ExperimentRow, RunRow, StepValueRow, SummaryRow, TagRow, run_tags

Sql = SQLColumnExpression[Any]

# round(x - _ALMOST_HALF) rounds x down; older SQLite libraries have no floor(). A little less than 0.5, so that 0.15 is
# in the band from 0.15, although 0.15 / 0.05 is slightly less than 3 in floating point.
_ALMOST_HALF = 0.5 - 1e-9
_TEXTS = ARRAY(Text())  # PostgreSQL's text[], a path into JSON
_FACTS: dict[str, Sql] = {
    "name": ExperimentRow.name,  # runs with equal names are ordered by id, the last key of every order
    "experiment": ExperimentRow.name,
    "state": RunRow.state,
    "note": RunRow.note,
    "metric": RunRow.best_value,
    "metric_step": case((RunRow.best_metric != "", RunRow.best_step), else_=None),
    "step": RunRow.step,
    "steps": RunRow.total_steps,
    "progress": case((RunRow.total_steps > 0, cast(RunRow.step, Double) / RunRow.total_steps), else_=None),
    "created": RunRow.created,
    "started": RunRow.started,
    "finished": RunRow.finished,
    "machine": RunRow.machine,
    "devices": RunRow.devices,
    "owner": RunRow.owner,
    "parent": RunRow.parent,
    "failure": RunRow.failure,
    "recipe": ConfigRow.recipe,
    "key": RunRow.key,
}
SEARCHED_COLUMNS = (
    ExperimentRow.name,
    RunRow.note,
    RunRow.state,
    RunRow.machine,
    RunRow.owner,
    RunRow.key,
    RunRow.failure,
)


class Columns:
    """SQL expressions of fields in one dialect, for statements over runs, experiments and configs."""

    def __init__(self, postgres: bool) -> None:
        self._postgres = postgres

    def sort_key(self, field: Field) -> Sql:
        """The expression that the field is sorted and grouped by."""
        if field.source is Source.METRIC:
            return self._metric(field)
        if field.source is Source.SETTING:
            return self._json(field.key)
        return self._fact(field.key)

    def group_key(self, field: Field) -> Sql:
        """The value shared by the runs of a group; for a metric, the number of the band.

        It can be passed back as a query parameter.
        """
        if field.source is Source.METRIC:
            return cast(func.round(self.number(field) / band_width(field) - _ALMOST_HALF), Integer)
        return self.text(field) if field.source is Source.SETTING else self.sort_key(field)

    def shown(self, field: Field) -> Sql:
        """The value shown in a cell; tags are a JSON array."""
        if field.key != "tag" or field.source is not Source.RUN:
            return self.sort_key(field)
        names = self._tags()
        aggregate = func.jsonb_agg if self._postgres else func.json_group_array
        return select(aggregate(names.c.name)).scalar_subquery()

    def document(self) -> Sql:
        """The complete config as JSON text."""
        return cast(ConfigRow.config, Text) if self._postgres else func.json(ConfigRow.config)

    def number(self, field: Field) -> Sql:
        """The field as a number; NULL if it is not a number."""
        if field.source is not Source.SETTING:
            return literal(None) if field.kind in (Kind.TEXT, Kind.TAGS) else self.sort_key(field)
        if self._postgres:
            value = self._json(field.key)
            return case((func.jsonb_typeof(value) == "number", cast(cast(value, Text), Double)), else_=None)
        return case((self._json_type(field.key).in_(("integer", "real")), self._json(field.key)), else_=None)

    def text(self, field: Field) -> Sql:
        """The field as text: "true" and "false" for switches, "" for an empty text; NULL without a value."""
        if field.source is not Source.SETTING:
            return cast(self.sort_key(field), Text)
        if self._postgres:
            return self._json(field.key).op("#>>")(cast(literal("{}"), _TEXTS))
        kind = self._json_type(field.key)
        return case((kind.in_(("true", "false")), kind), else_=cast(self._json(field.key), Text))

    def settings(self, fields: Sequence[Field]) -> Sql:
        """The settings as one JSON array, in one query of the config."""
        if self._postgres:
            return func.jsonb_build_array(*(self._json(field.key) for field in fields))
        paths = [json_path(field.key) for field in fields]
        # for a single path, json_extract would return the value itself instead of an array
        return func.json_extract(ConfigRow.config, *(paths if len(paths) > 1 else 2 * paths))

    def _json(self, key: str) -> Sql:
        if self._postgres:
            return ConfigRow.config.op("#>")(cast(literal(pg_path(key)), _TEXTS))
        return func.json_extract(ConfigRow.config, json_path(key))

    def _json_type(self, key: str) -> Sql:
        return func.json_type(ConfigRow.config, json_path(key))

    def _metric(self, field: Field) -> Sql:
        """The best of the field's metrics; at a step (``step_values``), NULL if the run has not reached the step."""
        is_at_step = field.aggregate == "at"
        row: Any = StepValueRow if is_at_step else SummaryRow
        column = row.value if is_at_step else row.last if field.aggregate == "last" else row.best
        best = func.max if higher_is_better(field.metrics[0]) else func.min
        value = select(best(column) if len(field.metrics) > 1 else column)
        value = value.where(row.run_id == RunRow.id, row.metric.in_(field.metrics)).correlate(RunRow)
        if not is_at_step:
            return value.scalar_subquery()
        value = value.where(row.at_step == field.step)
        return case((RunRow.step >= field.step, value.scalar_subquery()), else_=None)

    def _fact(self, key: str) -> Sql:
        if key == "tag":
            aggregate = func.string_agg if self._postgres else func.group_concat
            return select(aggregate(self._tags().c.name, ", ")).scalar_subquery()
        if key == "duration":
            return case((RunRow.started.is_not(None), RunRow.training_seconds), else_=None)
        return _FACTS[key]

    def _tags(self) -> Subquery:
        """The names of the run's tags, in order."""
        names = select(TagRow.name).join(run_tags, run_tags.c.tag_id == TagRow.id)
        return names.where(run_tags.c.owner_id == RunRow.id).order_by(TagRow.name).correlate(RunRow).subquery()

    def has_tag(self, name: str, exact: bool) -> Sql:
        """Whether the run has this tag, or one that contains ``name``."""
        matches = self.equals(TagRow.name, name) if exact else self.contains(TagRow.name, name)
        tagged = select(run_tags.c.owner_id).join(TagRow, TagRow.id == run_tags.c.tag_id)
        return tagged.where(run_tags.c.owner_id == RunRow.id, matches).correlate(RunRow).exists()

    def equals(self, text: Any, value: str) -> Sql:
        """Whether a text equals ``value``, ignoring case in any script."""
        is_equal: Sql = self._folded(text) == value.casefold()
        return is_equal

    def contains(self, text: Any, part: str) -> Sql:
        """Whether a text contains this part, ignoring case in any script."""
        has_part: Sql = self._folded(text).contains(part.casefold(), autoescape=True)
        return has_part

    def _folded(self, text: Any) -> Any:
        """``text`` with case folded: on SQLite by ``str.casefold``, which ``make_engine`` registers.

        PostgreSQL's lower() depends on the collation, and does not fold final sigma and sharp s.
        """
        if not self._postgres:
            return func.casefold(text, type_=Text())
        lower = func.lower(collate(cast(text, Text), "und-x-icu"))
        return func.replace(func.translate(lower, "ς", "σ"), "ß", "ss", type_=Text())


def band_width(field: Field) -> float:
    """Width of the bands for grouping runs by a metric: 5 % for shares, 0.1 for other metrics."""
    return 0.05 if is_share(field.metrics[0]) else 0.1


def json_path(key: str) -> str:
    """SQLite's path to a dotted setting."""
    return "$." + ".".join(f'"{part}"' for part in key.split("."))


def pg_path(key: str) -> str:
    """PostgreSQL's path to a dotted setting, as the text of an array."""
    return "{" + ",".join(f'"{part}"' for part in key.split(".")) + "}"
