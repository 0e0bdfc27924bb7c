"""The tab Compare by itself: its cells, what is copied, which runs are compared and what is said of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any, cast

import pytest
from PySide6.QtCore import QObject, Qt, Signal
from pytestqt.qtbot import QtBot

from sdgui.panels.runs.compare import settings
from sdgui.panels.runs.compare.settings import CompareModel, ComparePart, Comparison, FieldRow
from sdgui.panels.runs.table.cells import title_of
from sdgui.panels.runs.table.reader import CellsOfRun
from sdgui.store.run_table.fields import Field, metric
from sdgui.store.store import Store
from sdgui.widgets.style.theme import theme
from tests.sdgui.store.run_table.listing import STUDENT, TEACHER

Role = Qt.ItemDataRole
LINES = (FieldRow("State", ("done", "done"), False), FieldRow("loss", ("1.0", "2.0"), True, frozenset({0})))
TWO = Comparison(("one", "two"), LINES)


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
    assert model.headerData(1, horizontal, int(Role.DecorationRole)) is None
    assert each(model, Role.FontRole) == [[None] * 3, [None, theme().font("title"), None]], "the best"
    muted = theme().color("muted")
    assert each(model, Role.ForegroundRole) == [[muted] * 3, [muted, None, None]], "what all agree in is pale"
    model.show_comparison(TWO, only_differing=True)
    assert [model.index(row, 0).data() for row in range(model.rowCount())] == ["loss"]


class Table(QObject):
    """As much of the table of runs as is asked; ``late`` are questions to the store and where their answers go."""

    selection_changed = Signal(list)
    listed = Signal(object)

    def __init__(self) -> None:
        super().__init__()
        self.selected = list[int]()
        self.late: list[tuple[Callable[[], Any], Callable[[Any], object]]] = []
        self.reader = SimpleNamespace(run=lambda work, done: self.late.append((work, done)))

    def chosen_runs(self) -> list[int]:
        return self.selected

    def answer(self, number: int = -1) -> None:
        work, done = self.late[number]
        done(work())


def compared(_store: object, run_ids: Sequence[int]) -> Comparison:
    texts = tuple(map(str, run_ids))
    return Comparison(texts, (FieldRow("Run", texts, len(texts) > 1), FieldRow("State", ("done",) * len(texts), False)))


def test_the_overlaid_or_else_the_selected_runs_are_compared(qtbot: QtBot, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settings, "compare", compared)
    table = Table()
    part = ComparePart(cast(Any, None), cast(Any, table), cast(Any, None))
    qtbot.addWidget(part)

    def shown() -> tuple[list[str], int, str]:
        names = [
            str(part.model.headerData(column, Qt.Orientation.Horizontal))
            for column in range(1, part.model.columnCount())
        ]
        return names, part.model.rowCount(), part.note.text()

    table.selected = [1, 2]
    table.selection_changed.emit([1, 2])
    table.listed.emit(None)
    assert table.late == [], "nobody sees it"
    part.show()
    assert len(table.late) == 1
    table.answer()
    assert shown() == (["1", "2"], 1, "2 runs")
    part.only.setChecked(False)
    assert shown() == (["1", "2"], 2, "2 runs")
    part.only.setChecked(True)
    assert shown()[1] == 1
    part.show_runs((5,))
    table.answer()
    assert shown()[0] == ["1", "2"], "one curve makes no comparison"
    part.show_runs((6, 5, 9))
    table.answer()
    assert shown()[0] == ["6", "5", "9"]
    table.selected = [3]
    part.show_runs(())
    table.answer()
    sentence = "Tick or select two or more runs to see how they differ."
    assert shown() == (["3"], 2, sentence), "a single run shows all fields"
    table.selected = list(range(25))
    table.selection_changed.emit([])
    table.selected = []
    table.selection_changed.emit([])
    table.answer()
    assert shown() == ([], 0, sentence)
    table.answer(-2)
    assert shown() == ([], 0, sentence), "the answer to a question that was replaced by another"
    table.selected = list(range(25))
    table.selection_changed.emit([])
    table.answer()
    assert shown()[1:] == (1, "20 runs, the first of 25")
    assert part.view.columnWidth(0) > part.view.columnWidth(1)


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
    assert title_of(metric(TEACHER)) not in lines
    compared = lines[title_of(metric(STUDENT))], lines[rate]
    assert [line.texts for line in compared] == [("", "50.0"), ("", "0.5")]
    assert [line.differs for line in compared] == [True] * 2
