"""The tab Compare by itself: its cells, what is copied, which runs are compared and what is said of them."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from PySide6.QtCore import Qt

from sdgui.panels.runs.compare import settings
from sdgui.panels.runs.compare.settings import CompareModel, Comparison, FieldRow
from sdgui.panels.runs.table.cells import title_of
from sdgui.panels.runs.table.reader import CellsOfRun
from sdgui.store.run_table.fields import Field, metric
from sdgui.store.store import Store
from sdgui.widgets.style.theme import theme
from tests.sdgui.store.run_table.listing import STUDENT, TEACHER

Role = Qt.ItemDataRole
LINES = (FieldRow("State", ("done", "done"), False), FieldRow("loss", ("1.0", "2.0"), True, frozenset({0})))
TWO = Comparison(("one", "two"), LINES, (1, 4))


@pytest.fixture
def model(qapp: object) -> CompareModel:
    model = CompareModel()
    model.show_comparison(TWO, only_differing=False)
    return model


def each(model: CompareModel, role: Role) -> list[list[object]]:
    return [[model.index(row, column).data(role) for column in range(3)] for row in range(2)]


def test_a_comparison_has_a_row_per_field_and_a_column_per_run(model: CompareModel) -> None:
    assert (model.rowCount(), model.columnCount()) == (2, 3)
    assert (model.rowCount(model.index(0, 0)), model.columnCount(model.index(0, 0))) == (0, 0)
    texts = [["State", "done", "done"], ["loss", "1.0", "2.0"]]
    assert each(model, Role.DisplayRole) == each(model, Role.ToolTipRole) == texts
    horizontal = Qt.Orientation.Horizontal
    for role in (Role.DisplayRole, Role.ToolTipRole):
        assert [model.headerData(column, horizontal, int(role)) for column in range(3)] == ["", "one", "two"]
    assert model.headerData(1, Qt.Orientation.Vertical) is None
    assert model.headerData(0, horizontal, int(Role.DecorationRole)) is None
    swatches = [model.headerData(column, horizontal, int(Role.DecorationRole)) for column in (1, 2)]
    assert [swatch.toImage().pixelColor(1, 1) for swatch in swatches] == [theme().run_color(1), theme().run_color(4)]
    assert each(model, Role.FontRole) == [[None] * 3, [None, theme().font("title"), None]], "the best"
    muted = theme().color("muted")
    assert each(model, Role.ForegroundRole) == [[muted] * 3, [muted, None, None]], "what all agree in is pale"
    model.show_comparison(TWO, only_differing=True)
    assert [model.index(row, 0).data() for row in range(model.rowCount())] == ["loss"]
    model.show_comparison(TWO, only_differing=False, search=" TE s ")
    assert [model.index(row, 0).data() for row in range(model.rowCount())] == ["State"], "each word is part of the name"
    model.show_comparison(TWO, only_differing=True, search="state")
    assert model.rowCount() == 0


def test_only_metrics_missing_in_all_runs_are_omitted(
    filled: tuple[Store, list[int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    store, (first, second, *_) = filled
    rate = "optim.learning_rate"
    values = {first: {rate: None, STUDENT: None}, second: {rate: 0.5, STUDENT: 0.5}}

    def cells_of(_store: Store, run_ids: Sequence[int], fields: Sequence[Field]) -> dict[int, CellsOfRun]:
        return {run: CellsOfRun(str(run), tuple(values[run].get(field.key) for field in fields)) for run in run_ids}

    monkeypatch.setattr(settings, "cells_of", cells_of)
    lines = {line.title: line for line in settings.compare(store, [first, second]).lines}
    assert list(lines).index(rate) < list(lines).index(title_of(metric(STUDENT))), "what was set is above what came out"
    assert title_of(metric(TEACHER)) not in lines
    compared = lines[title_of(metric(STUDENT))], lines[rate]
    assert [line.texts for line in compared] == [("", "50.0"), ("", "0.5")]
    assert [line.differs for line in compared] == [True] * 2
