"""The tab Compare: settings and metrics of runs, one column per run, optionally only the rows that differ.

Order of the rows: facts, settings, metrics (validation first), then values read from the run folders.

Flow: ticked (or selected) runs -> the store's cells, read in a thread -> rows -> table.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

from PySide6.QtCore import QModelIndex, QObject, QPersistentModelIndex, Qt
from PySide6.QtGui import QColor, QPixmap, QShowEvent
from PySide6.QtWidgets import QCheckBox, QHeaderView, QLineEdit, QWidget

from core.spec.config import ConfigError
from core.spec.reading import excerpt
from core.spec.run.logged import read_any_config, settings_of
from core.spec.run.metric_names import higher_is_better
from core.spec.run.provenance import facts, read_provenance
from sdgui.panels.runs.plots.charts import SECTIONS, chart_of
from sdgui.panels.runs.table.cells import style_of, text_of, title_of
from sdgui.panels.runs.table.reader import cells_of
from sdgui.panels.runs.table.run_table import RunTable
from sdgui.shared.tables import CopyingTable, HeadedModel
from sdgui.store.records import Run
from sdgui.store.run_table.fields import Field, Kind, Source, fact, settings
from sdgui.store.run_table.fields import setting as setting_field
from sdgui.store.store import Store
from sdgui.widgets.layouts.boxes import hbox, vbox
from sdgui.widgets.plain_text import PlainLabel, plain_tip
from sdgui.widgets.style.theme import SPACE, theme

MAX_RUNS = 20
_FACTS = ("state", "metric", "duration", "tag", "machine", "created")
Index = QModelIndex | QPersistentModelIndex


@dataclass(frozen=True)
class FieldRow:
    """A row: one field of all runs. ``best``: columns with the best value; empty if unranked or all are equal."""

    title: str
    texts: tuple[str, ...]
    differs: bool
    best: frozenset[int] = frozenset()


@dataclass(frozen=True)
class Comparison:
    """The runs side by side. ``lines``: the rows; ``names``, ``colors`` (palette indices): of each run."""

    names: tuple[str, ...] = ()
    lines: tuple[FieldRow, ...] = ()
    colors: tuple[int, ...] = ()


def compare(store: Store, run_ids: Sequence[int]) -> Comparison:
    """Read facts, metrics and settings of runs; called in a thread."""
    catalogue = store.catalogue()
    fields: list[Field] = [fact(name) for name in _FACTS]
    fields += [setting_field(name) for name in settings()]
    fields += [catalogue.field(name) for name in sorted(catalogue.metrics, key=_section_rank)]
    cells = cells_of(store, run_ids, fields)
    listed_ids = [run_id for run_id in run_ids if run_id in cells]
    lines = []
    for index, field in enumerate(fields):
        values = [cells[run_id].values[index] for run_id in listed_ids]
        if field.source is Source.METRIC and all(value is None for value in values):
            continue
        style = style_of(field, values)
        texts = tuple(text_of(field, value, style) for value in values)
        differs = any(value != values[0] for value in values)
        lines.append(FieldRow(title_of(field), texts, differs, _best(field, values)))
    lines += _other_lines([store.run(run_id) for run_id in listed_ids])
    shown = [cells[run_id] for run_id in listed_ids]
    return Comparison(tuple(run.name for run in shown), tuple(lines), tuple(run.color for run in shown))


def _section_rank(metric: str) -> int:
    """The sort key of a metric: validation first, since runs are compared by it, then the sections of the plots."""
    section = chart_of(metric).section
    return -1 if section == "Validation" else SECTIONS.index(section)


def _other_lines(runs: Sequence[Run]) -> list[FieldRow]:
    """Rows read from the run folders: configs of logged runs, code, packages, machines and data."""
    rows = [_recorded_facts(run) for run in runs]
    recorded = [row for row in rows if row]  # a run without a recorded value does not differ
    lines = []
    for name in dict.fromkeys(name for row in rows for name in row if name not in settings()):
        values = [row.get(name) for row in rows]
        texts = tuple("" if value is None else excerpt(str(value), 200) for value in values)
        lines.append(FieldRow(name, texts, any(row.get(name) != recorded[0].get(name) for row in recorded)))
    return lines


def _recorded_facts(run: Run) -> dict[str, object]:
    if not run.is_local:
        return {}
    facts_of_run: dict[str, object] = {}
    if run.is_logged:
        with suppress(ConfigError):
            facts_of_run |= settings_of(read_any_config(run.dir.config))
    return facts_of_run | facts(read_provenance(run.dir))


def _best(field: Field, values: Sequence[object]) -> frozenset[int]:
    """The columns with the best value; empty as in `FieldRow`."""
    is_metric = field.source is Source.METRIC or field.key == "metric"  # the fact "metric" is the best mean recall
    if field.source is Source.METRIC and field.metrics[0].startswith("diag/"):  # neither higher nor lower is better
        return frozenset()
    numbers = [value for value in values if isinstance(value, (int, float))]
    if not is_metric or len(set(numbers)) < 2 or field.kind is not Kind.NUMBER:
        return frozenset()
    higher_better = field.key == "metric" or higher_is_better(field.metrics[0])
    best = max(numbers) if higher_better else min(numbers)
    return frozenset(column for column, value in enumerate(values) if value == best)


class CompareModel(HeadedModel):
    """Rows are fields, columns are runs."""

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._comparison, self._lines = Comparison(), tuple[FieldRow, ...]()

    def show_comparison(self, comparison: Comparison, only_differing: bool, search: str = "") -> None:
        """Show the rows whose title contains every word of ``search``, optionally only those with differing values."""
        words = search.casefold().split()
        self.beginResetModel()
        self._comparison = comparison
        self._lines = tuple(
            line
            for line in comparison.lines
            if (line.differs or not only_differing) and all(word in line.title.casefold() for word in words)
        )
        self.endResetModel()

    def rowCount(self, parent: Index = QModelIndex()) -> int:  # noqa: B008  # Qt's own signature
        return 0 if parent.isValid() else len(self._lines)

    def columnCount(self, parent: Index = QModelIndex()) -> int:  # noqa: B008
        return 0 if parent.isValid() else 1 + len(self._comparison.names)

    def heading(self, column: int, role: int) -> object:
        name = "" if column == 0 else self._comparison.names[column - 1]
        if role == Qt.ItemDataRole.ToolTipRole:
            return plain_tip(name)
        if role == Qt.ItemDataRole.DecorationRole and column > 0:
            return _swatch(theme().run_color(self._comparison.colors[column - 1]))
        return name if role == Qt.ItemDataRole.DisplayRole else None

    def data(self, index: Index, role: int = int(Qt.ItemDataRole.DisplayRole)) -> object:
        line, column = self._lines[index.row()], index.column()
        if role in (Qt.ItemDataRole.DisplayRole, Qt.ItemDataRole.ToolTipRole):
            text = line.title if column == 0 else line.texts[column - 1]
            return plain_tip(text) if role == Qt.ItemDataRole.ToolTipRole else text
        if role == Qt.ItemDataRole.FontRole and column - 1 in line.best:
            return theme().font("title")
        if role == Qt.ItemDataRole.ForegroundRole and (column == 0 or not line.differs):
            return theme().color("muted")
        return None


def _swatch(color: QColor) -> QPixmap:
    """The short line that also marks a run in the legend of the plots."""
    swatch = QPixmap(2 * SPACE, 3)
    swatch.fill(color)
    return swatch


class CompareTab(QWidget):
    """Compares the overlaid runs, or the selected runs if fewer than two are overlaid."""

    def __init__(self, store: Store, table: RunTable, parent: QWidget) -> None:
        super().__init__(parent)
        self._store, self._table = store, table
        self._comparison = Comparison()
        self._overlaid: tuple[int, ...] = ()
        self._requested_ids: tuple[int, ...] = ()  # runs of the latest request
        self._fitted_ids: tuple[int, ...] = ()  # runs whose columns have been fitted
        self.model = CompareModel(self)
        self.view = CopyingTable("Settings and metrics of the selected runs", self)
        self.view.setModel(self.model)
        self.view.setTextElideMode(Qt.TextElideMode.ElideMiddle)
        header = self.view.horizontalHeader()
        header.setStyleSheet("QHeaderView { border: none; border-radius: 0; }")
        header.setTextElideMode(Qt.TextElideMode.ElideMiddle)
        header.setDefaultAlignment(Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter)
        header.setDefaultSectionSize(20 * SPACE)
        header.setSectionResizeMode(QHeaderView.ResizeMode.Interactive)
        self.only = QCheckBox("Only differences", self)
        self.only.setChecked(True)
        self.only.setToolTip("Hide settings and metrics with the same value in all runs")
        self.only.toggled.connect(lambda _on: self._show())
        self.search = QLineEdit(self)
        self.search.setPlaceholderText("Filter by name")
        self.search.setAccessibleName("Filter settings and metrics by name")
        self.search.setToolTip("Show only settings and metrics whose name contains these words")
        self.search.setClearButtonEnabled(True)
        self.search.setMaximumWidth(28 * SPACE)
        self.search.textChanged.connect(lambda _text: self._show())
        self.note = PlainLabel("", self, role="muted")
        row = hbox(self.search, self.only, (self.note, 1))
        column = vbox(row, (self.view, 1), into=self, margins=(0, SPACE, 0, 0))
        column.addStretch()  # below the note, while the table is hidden
        table.selection_changed.connect(lambda _runs: self.refresh())
        table.listed.connect(lambda _listing: self.refresh())

    def show_runs(self, run_ids: tuple[int, ...]) -> None:
        """Compare these runs, in the order of their curves."""
        self._overlaid = run_ids
        self.refresh()

    def refresh(self) -> None:
        """Compare the overlaid or selected runs, if the tab is visible."""
        if not self.isVisible():
            return
        run_ids = self._overlaid if len(self._overlaid) > 1 else tuple(self._table.view.selected_runs())
        self._requested_ids = run_ids
        self._table.reader.run(lambda: (run_ids, compare(self._store, run_ids[:MAX_RUNS])), self._show_result)

    def _show_result(self, result: tuple[tuple[int, ...], Comparison]) -> None:
        if result[0] == self._requested_ids:
            self._comparison = result[1]
            self._show()

    def _show(self) -> None:
        number = len(self._comparison.names)
        search = self.search.text()
        comparison = self._comparison if number else Comparison()  # a row without runs says nothing
        self.model.show_comparison(comparison, self.only.isChecked() and number > 1, search)
        self._fit_columns(number)
        if number < 2:
            text = "Tick or select two or more runs to see how they differ."
        else:
            text = f"{number} runs" + (
                f", the first of {len(self._requested_ids)}" if len(self._requested_ids) > MAX_RUNS else ""
            )
        nothing_found = number > 0 and self.model.rowCount() == 0
        if nothing_found:
            text += f"; no name contains “{search.strip()}”" if search.strip() else ", which do not differ"
        self.note.setText(text)
        self.view.setVisible(number > 0 and not nothing_found)

    def _fit_columns(self, number: int) -> None:
        """Let ``number`` runs share the width; for the same runs, keep the widths that the user has set."""
        if self._fitted_ids == self._requested_ids:
            return
        self._fitted_ids = self._requested_ids
        self.view.setColumnWidth(0, 34 * SPACE)
        share = (self.width() - 37 * SPACE) // max(1, number)  # without the scroll bar
        for column in range(1, number + 1):
            needed = min(share, self.view.sizeHintForColumn(column))
            self.view.setColumnWidth(column, max(20 * SPACE, needed))

    def showEvent(self, event: QShowEvent) -> None:
        super().showEvent(event)
        self.refresh()
