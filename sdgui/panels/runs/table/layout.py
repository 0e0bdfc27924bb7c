"""The layout of a table of runs: filter, columns, order, groups. Plain data, saved in settings and views.

Flow: the table's controls make a new ``TableLayout``; ``query_of`` makes of it what the store is asked.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Self

from sdgui.store.run_table.expressions import Expression
from sdgui.store.run_table.fields import Catalogue, Field, UnknownFieldError
from sdgui.store.run_table.queries import RunQuery, SortKey

NAME = "name"  # the first column, always there
STEPS = "at"  # among the values: the steps that are offered in ``at(METRIC, STEP)``
Values = Mapping[str, Sequence[str]]  # field name -> values that runs have: tags
DEFAULT_COLUMNS = (
    "state",
    "metric",
    "progress",
    "duration",
    "created",
    "preset",
    "optim.learning_rate",
    "optim.batch_size",
    "seed",
    "tag",
    "note",
    "machine",
)
SORT_KEYS_KEPT = 3
MOST_COLUMNS = 100


@dataclass(frozen=True)
class TableLayout:
    """``columns``: names of fields, without the run's own name. ``sort``: (name, descending), the first decides."""

    filter: str = ""
    columns: tuple[str, ...] = DEFAULT_COLUMNS
    sort: tuple[tuple[str, bool], ...] = ()
    group_by: tuple[str, ...] = ()
    only_differing: bool = False
    widths: Mapping[str, int] = field(default_factory=dict)

    def to_json(self) -> str:
        """The layout as JSON, for settings and saved views."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Self:
        """What ``to_json`` wrote; of anything else, as much as can be read."""
        try:
            raw = json.loads(text)
        except ValueError:
            return cls()
        return cls._of(raw) if isinstance(raw, dict) else cls()

    @classmethod
    def _of(cls, raw: dict[str, Any]) -> Self:
        sort = [
            (pair[0], bool(pair[1]))
            for pair in _list(raw.get("sort"))
            if isinstance(pair, list) and len(pair) == 2 and isinstance(pair[0], str)
        ]
        widths = raw.get("widths")
        return cls(
            filter=raw["filter"] if isinstance(raw.get("filter"), str) else "",
            columns=tuple(_names(raw["columns"])[:MOST_COLUMNS]) if "columns" in raw else DEFAULT_COLUMNS,
            sort=tuple(sort[:SORT_KEYS_KEPT]),
            group_by=tuple(_names(raw.get("group_by"))),
            only_differing=raw.get("only_differing") is True,
            widths={
                name: width
                for name, width in (widths.items() if isinstance(widths, dict) else ())
                if isinstance(width, int) and 0 < width < 4000
            },
        )

    def sorted_by(self, name: str) -> TableLayout:
        """Sort by this column; the other way where it is the first key already. Former keys follow."""
        first = self.sort[0] if self.sort else None
        descending = not first[1] if first is not None and first[0] == name else _begins_descending(name)
        others = tuple(key for key in self.sort if key[0] != name)
        return replace(self, sort=((name, descending), *others)[:SORT_KEYS_KEPT])

    def with_columns(self, columns: Iterable[str]) -> TableLayout:
        """Other columns, in this order, each once."""
        return replace(self, columns=tuple(dict.fromkeys(name for name in columns if name != NAME))[:MOST_COLUMNS])

    def grouped_by(self, *names: str) -> TableLayout:
        """Group by these fields; none ends it."""
        return replace(self, group_by=names)


def _begins_descending(name: str) -> bool:
    """Whether a first click sorts in descending order."""
    metric = name.removeprefix("last(").removesuffix(")")
    return (
        metric in ("created", "started", "finished", "metric", "progress", "step")
        or "R@" in metric
        or "recall" in metric
    )


def fields_of(names: Iterable[str], catalogue: Catalogue) -> list[Field]:
    """The fields with these names that some run has reported."""
    fields = []
    for name in names:
        try:
            fields.append(catalogue.field(name))
        except UnknownFieldError:
            continue
    return fields


def query_of(
    layout: TableLayout, expression: Expression, catalogue: Catalogue, experiments: frozenset[int] | None = None
) -> RunQuery:
    """The store query of a layout, over the runs of these experiments; None: of all."""
    sort = []
    for name, descending in layout.sort:
        sort += [SortKey(field, descending) for field in fields_of([name], catalogue)]
    return RunQuery(expression, tuple(sort), tuple(fields_of(layout.group_by, catalogue)), experiments)


def _list(raw: Any) -> list[Any]:
    return raw if isinstance(raw, list) else []


def _names(raw: Any) -> list[str]:
    return [entry for entry in _list(raw) if isinstance(entry, str)]
