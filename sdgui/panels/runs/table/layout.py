"""The layout of the run table: filter, columns, order and groups. Plain data, saved in settings and views.

Flow: the table's controls -> a new ``TableLayout`` -> ``query_of`` -> the store's query.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Self

from sdgui.shared.stored_json import read_stored
from sdgui.store.run_table.expressions import Expression
from sdgui.store.run_table.fields import Catalogue, Field, UnknownFieldError
from sdgui.store.run_table.queries import RunQuery, SortKey

NAME_COLUMN = "name"  # the first column, always shown
STEPS_KEY = "at"  # key of ``Values`` with the steps to complete in ``at(METRIC, STEP)``
Values = Mapping[str, Sequence[str]]  # field name -> existing values, such as tags
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
MAX_SORT_KEYS = 3
MAX_COLUMNS = 100


@dataclass(frozen=True)
class TableLayout:
    """A layout. ``columns``: field names without the run's name; ``sort``: (name, descending), most important first."""

    filter: str = ""
    columns: tuple[str, ...] = DEFAULT_COLUMNS
    sort: tuple[tuple[str, bool], ...] = ()
    group_by: tuple[str, ...] = ()
    only_differing: bool = False
    widths: Mapping[str, int] = field(default_factory=dict)  # field name -> width of its column in px

    def to_json(self) -> str:
        """The layout as JSON, for settings and saved views."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Read the output of ``to_json``; the default layout if the text is invalid."""
        return read_stored(text, cls)

    def sorted_by(self, name: str) -> TableLayout:
        """Sort by a column first, or if it already is first, reverse its order."""
        first = self.sort[0] if self.sort else None
        descending = not first[1] if first is not None and first[0] == name else _begins_descending(name)
        others = tuple(key for key in self.sort if key[0] != name)
        return replace(self, sort=((name, descending), *others)[:MAX_SORT_KEYS])

    def with_columns(self, columns: Iterable[str]) -> TableLayout:
        """The layout with these columns, without duplicates."""
        return replace(
            self, columns=tuple(dict.fromkeys(name for name in columns if name != NAME_COLUMN))[:MAX_COLUMNS]
        )

    def grouped_by(self, *names: str) -> TableLayout:
        """The layout grouped by these fields; without names, ungrouped."""
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
    """The fields with these names, without metrics that no run has reported."""
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
    """The store's query for a layout. ``experiments``: whose runs to list; None: all."""
    sort = []
    for name, descending in layout.sort:
        sort += [SortKey(field, descending) for field in fields_of([name], catalogue)]
    return RunQuery(expression, tuple(sort), tuple(fields_of(layout.group_by, catalogue)), experiments)
