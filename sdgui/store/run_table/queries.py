"""The queries of the table of runs: which runs, in what order and groups, and the cells of visible rows.

Flow: a panel makes a ``RunQuery``; ``run_ids`` returns the order, ``run_cells`` the visible cells. So a table of ten
thousand runs keeps ten thousand ids in memory and reads a page at a time.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Double, Select, cast, func, select

from sdgui.store.registry.dialect import is_postgres
from sdgui.store.run_table.columns import Columns, Sql
from sdgui.store.run_table.conditions import condition
from sdgui.store.run_table.expressions import EVERY_RUN, Expression
from sdgui.store.run_table.fields import Catalogue, Field, Kind, Source
from sdgui.store.run_table.fields import settings as setting_names
from sdgui.store.run_table.intervals import Mean, mean_of
from sdgui.store.sessions import Sessions, batches
from sdgui.store.tables import ConfigRow, ExperimentRow, RunRow, SummaryRow

Cell = Any  # a JSON value: number, text, bool, list, None
MAX_GROUPS = 5000
_MAX_SETTINGS = 60  # per call of json_array, which accepts a hundred arguments


@dataclass(frozen=True)
class SortKey:
    field: Field
    descending: bool = False


@dataclass(frozen=True)
class RunQuery:
    """A selection of runs and their order. ``sort``: keys by priority; ties are ordered newest first.

    ``experiments``: ids of the experiments to list; None for all.
    """

    filter: Expression = EVERY_RUN
    sort: tuple[SortKey, ...] = ()
    group_by: tuple[Field, ...] = ()
    experiments: frozenset[int] | None = None


@dataclass(frozen=True)
class RunGroup:
    """Runs with the same values of the grouping fields. ``newest``: id of the newest run; ``means``: by field name."""

    newest: int
    count: int
    keys: tuple[Any, ...]  # SQL values, used to query the group's runs
    means: Mapping[str, Mean]


class RunTableRecords(Sessions):
    """Lists runs of all experiments, without the bin."""

    def catalogue(self) -> Catalogue:
        """All fields that can be listed, with the metrics that runs have reported."""
        # one index lookup per metric instead of one per run and metric
        seen = select(func.min(SummaryRow.metric).label("metric")).cte("seen", recursive=True)
        next_metric = select(func.min(SummaryRow.metric)).where(SummaryRow.metric > seen.c.metric).scalar_subquery()
        seen = seen.union_all(select(next_metric).where(seen.c.metric.is_not(None)))
        with self._read() as session:
            metrics = session.scalars(select(seen.c.metric).where(seen.c.metric.is_not(None))).all()
        return Catalogue(metrics)

    def run_ids(self, query: RunQuery, group: RunGroup | None = None) -> list[int]:
        """The ids of matching runs, in order; only runs of ``group`` if given."""
        with self._read() as session:
            columns = Columns(is_postgres(session))
            statement = _listed(select(RunRow.id), query, columns)
            if group is not None:
                for field, key in zip(query.group_by, group.keys, strict=True):
                    statement = statement.where(columns.group_key(field).is_not_distinct_from(key))
            orders = [_ordered(columns.sort_key(key.field), key.descending) for key in query.sort]
            return list(session.scalars(statement.order_by(*orders, RunRow.id.desc())))

    def run_groups(self, query: RunQuery, fields: Sequence[Field]) -> list[RunGroup]:
        """The groups of matching runs, with the means of the numeric ``fields``.

        Groups are ordered by the mean or value of the first sort key; without a sort key, largest first.
        """
        fields = _averaged(query, fields)
        with self._read() as session:
            columns = Columns(is_postgres(session))
            parts: dict[str, tuple[Field, Sql]] = {
                f"k{i}": (field, columns.group_key(field)) for i, field in enumerate(query.group_by)
            }
            parts |= {f"n{i}": (field, cast(columns.number(field), Double)) for i, field in enumerate(fields)}
            if query.sort and (key := query.sort[0].field) in query.group_by:
                parts["order"] = key, cast(columns.number(key), Double)
            # Settings are read once per config instead of once per run, since many runs share a config; the statements
            # are materialised because SQLite would otherwise look up each number three times.
            of_run: list[Any] = []
            of_config: list[Any] = []
            for name, (field, part) in parts.items():
                (of_config if field.source is Source.SETTING else of_run).append(part.label(name))
            listed = _listed(select(RunRow.id, RunRow.digest, *of_run), query, columns)
            runs = listed.cte("listed").prefix_with("MATERIALIZED")
            their_configs = select(ConfigRow.digest, *of_config).where(ConfigRow.digest.in_(select(runs.c.digest)))
            configs = their_configs.cte("settings").prefix_with("MATERIALIZED")
            values: dict[str, Sql] = {name: (runs if name in runs.c else configs).c[name] for name in parts}
            keys = [values[f"k{i}"] for i in range(len(query.group_by))]
            sums = [part for i in range(len(fields)) for part in _moments(values[f"n{i}"])]
            statement = select(func.max(runs.c.id), func.count(), *keys, *sums).group_by(*keys)
            statement = statement.outerjoin_from(runs, configs, configs.c.digest == runs.c.digest)
            statement = statement.order_by(*_group_order(query, fields, values), func.count().desc(), *keys)
            return [_group(row, len(keys), fields) for row in session.execute(statement.limit(MAX_GROUPS))]

    def group_keys(self, query: RunQuery, run_ids: Sequence[int]) -> dict[int, tuple[Any, ...]]:
        """The ``RunGroup.keys`` of each given run that matches the query."""
        with self._read() as session:
            columns = Columns(is_postgres(session))
            keys: list[Any] = [columns.group_key(field).label(f"k{i}") for i, field in enumerate(query.group_by)]
            statement = _listed(select(RunRow.id, *keys), query, columns).where(RunRow.id.in_(run_ids))
            return {row[0]: tuple(row[1:]) for row in session.execute(statement)}

    def run_cells(self, run_ids: Sequence[int], fields: Sequence[Field]) -> dict[int, tuple[Cell, ...]]:
        """The values of ``fields`` for each existing run. Tags are a list of names."""
        settings = [field for field in fields if field.source is Source.SETTING]
        plain_fields = [field for field in fields if field.source is not Source.SETTING]
        cells: dict[int, tuple[Cell, ...]] = {}
        with self._read() as session:
            columns = Columns(is_postgres(session))
            parts = list(batches(settings, _MAX_SETTINGS))
            selected = [columns.settings(part) for part in parts]
            selected += [columns.shown(field) for field in plain_fields]
            statement = _joined(select(RunRow.id, *selected))
            for ids in batches(run_ids):
                rows = session.execute(statement.where(RunRow.id.in_(ids)))
                cells |= {row[0]: _cells(row, fields, parts) for row in rows}
        return cells

    def differing_settings(self, run_ids: Sequence[int]) -> list[str]:
        """The settings in which these runs differ, in the order of the form; runs without a config are ignored."""
        differ: set[str] = set()
        first: dict[str, Any] | None = None
        with self._read() as session:
            document = Columns(is_postgres(session)).document()
            for ids in batches(run_ids):
                digests = select(RunRow.digest).where(RunRow.id.in_(ids)).distinct()
                for text in session.scalars(select(document).where(ConfigRow.digest.in_(digests))):
                    raw = json.loads(text)
                    first = raw if first is None else first
                    differ |= set(_differences(first, raw, ""))
        return [name for name in setting_names() if name in differ]


def _joined(statement: Any) -> Select[Any]:
    joined: Select[Any] = (
        statement.select_from(RunRow)
        .join(ExperimentRow, ExperimentRow.id == RunRow.experiment_id)
        .outerjoin(ConfigRow, ConfigRow.digest == RunRow.digest)
    )
    return joined


def _listed(statement: Any, query: RunQuery, columns: Columns) -> Select[Any]:
    existing = _joined(statement).where(RunRow.deleted.is_(None), ExperimentRow.deleted.is_(None))
    if query.experiments is not None:
        existing = existing.where(RunRow.experiment_id.in_(query.experiments))
    return existing.where(condition(query.filter, columns))


def _ordered(key: Sql, descending: bool) -> Sql:
    return (key.desc() if descending else key.asc()).nulls_last()


def _averaged(query: RunQuery, fields: Sequence[Field]) -> list[Field]:
    """The fields to average: numbers that may differ within a group, and the first sort key."""
    without_mean = {Kind.TEXT, Kind.TAGS, Kind.TIME}
    averaged = dict.fromkeys(field for field in fields if field.kind not in without_mean)
    averaged |= dict.fromkeys(key.field for key in query.sort[:1] if key.field.kind not in (Kind.TEXT, Kind.TAGS))
    # a metric may differ within a group, because runs are grouped by bands of its values
    return [field for field in averaged if field not in query.group_by or field.source is Source.METRIC]


def _moments(number: Sql) -> tuple[Sql, ...]:
    """Count, mean and mean of squares."""
    return func.count(number), func.avg(number), func.avg(number * number)


def _group_order(query: RunQuery, fields: Sequence[Field], values: Mapping[str, Sql]) -> list[Sql]:
    if not query.sort:
        return []
    key = query.sort[0]
    if key.field in query.group_by:
        order = values[f"k{query.group_by.index(key.field)}"]
        return [_ordered(func.min(values["order"]), key.descending), order.desc() if key.descending else order]
    if key.field in fields:
        return [_ordered(func.avg(values[f"n{fields.index(key.field)}"]), key.descending)]
    return []


def _group(row: Any, key_count: int, fields: Sequence[Field]) -> RunGroup:
    means = {}
    for number, field in enumerate(fields):
        start = 2 + key_count + 3 * number
        count, mean, squares = row[start : start + 3]
        if count:
            means[field.name] = mean_of(count, mean, squares)
    return RunGroup(newest=row[0], count=row[1], keys=tuple(row[2 : 2 + key_count]), means=means)


def _cells(row: Any, fields: Sequence[Field], parts: Sequence[Sequence[Field]]) -> tuple[Cell, ...]:
    """The values in the order of ``fields``: settings come as JSON arrays, NULL without a config."""
    setting_values: list[Cell] = []
    for part, array in zip(parts, row[1 : 1 + len(parts)], strict=True):
        values = json.loads(array) if isinstance(array, str) else array or [None] * len(part)
        setting_values += values[: len(part)]
    settings, plain_values = iter(setting_values), iter(row[1 + len(parts) :])
    return tuple(
        next(settings) if field.source is Source.SETTING else _displayed_value(field, next(plain_values))
        for field in fields
    )


def _displayed_value(field: Field, value: Any) -> Cell:
    if field.kind is Kind.TAGS:
        names = json.loads(value) if isinstance(value, str) else value or []
        return sorted(names, key=str.casefold)
    return value


def _differences(first: Mapping[str, Any], second: Mapping[str, Any], prefix: str) -> Iterator[str]:
    """Dotted names of the settings in which two configs differ."""
    for name in first.keys() | second.keys():
        first_value, second_value = first.get(name), second.get(name)
        if first_value == second_value:
            continue
        if isinstance(first_value, dict) and isinstance(second_value, dict):
            yield from _differences(first_value, second_value, f"{prefix}{name}.")
        else:
            yield prefix + name
