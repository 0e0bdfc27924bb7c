"""What tables, lists, trees, texts and splitters do alike throughout the window, and which of them do otherwise."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from PySide6.QtCore import QObject, QPoint, QPointF, Qt
from PySide6.QtGui import QWheelEvent
from PySide6.QtWidgets import (
    QAbstractItemView,
    QAbstractSpinBox,
    QComboBox,
    QDialog,
    QLineEdit,
    QListWidget,
    QMenu,
    QPlainTextEdit,
    QProgressBar,
    QPushButton,
    QScrollArea,
    QSplitter,
    QTableView,
    QTabWidget,
    QTreeView,
)

from tests.sdgui.signal_receivers import where

_OFF = Qt.ScrollBarPolicy.ScrollBarAlwaysOff
_VIEWS = (QTableView, QTreeView, QListWidget)


@dataclass(frozen=True)
class Habit:
    """``other``: what few of a ``kind`` do, ``few``: the places of those that do."""

    other: str
    kind: type | tuple[type, ...]
    does: Callable[[Any], bool]
    few: str = ""


HABITS = (
    Habit("Tab goes from cell to cell and never out", QTableView, lambda one: one.tabKeyNavigation()),
    Habit("has lines between its cells", QTableView, lambda one: one.showGrid(), "PromptEditor.table"),
    Habit("numbers its rows", QTableView, lambda one: not one.verticalHeader().isHidden()),
    Habit(
        "marks the head of the current cell",
        QTableView,
        lambda one: one.horizontalHeader().highlightSections(),
        "PromptEditor.table SamplesView.written",
    ),
    Habit(
        "breaks lines",
        (QTableView, QListWidget),
        lambda one: one.wordWrap(),
        "CaptionsDetail.candidates MachinePage.gpus PromptEditor.table SamplesBoard.captions SamplesView.written",
    ),
    Habit(
        "is sorted by a click on a head",
        QTableView,
        lambda one: one.isSortingEnabled(),
        "ClassTable.view EvaluationPane.table StudyView.differences StudyView.means SweepView.trials",
    ),
    Habit(
        "cells are selected, not rows",
        QTableView,
        lambda one: one.selectionBehavior() != QAbstractItemView.SelectionBehavior.SelectRows,
        "ComparePart.view PromptEditor.table StudyView.differences StudyView.means SweepView.trials",
    ),
    Habit(
        "one is selected at a time",
        QTableView,
        lambda one: one.selectionMode() != QAbstractItemView.SelectionMode.ExtendedSelection,
        "EvaluationPane.table",
    ),
    Habit(
        "several are selected",
        (QTreeView, QListWidget),
        lambda one: one.selectionMode() == QAbstractItemView.SelectionMode.ExtendedSelection,
        "BrokenPage.list QueuePage.table",
    ),
    Habit(
        "glides between its rows",
        _VIEWS,
        lambda one: one.verticalScrollMode() == QAbstractItemView.ScrollMode.ScrollPerPixel,
        "CaptionView.list RunTable.view RunTableView._frozen SamplesView.written",
    ),
    Habit(
        "never scrolls sideways",
        _VIEWS,
        lambda one: one.horizontalScrollBarPolicy() == _OFF,
        "CaptionsDetail.candidates Differences.list ExperimentsPanel.tree MachinesPanel.list"
        " PlotGrid.legend ResultList.list RunTableView._frozen SamplesBoard.captions SamplesView.captions"
        " StudyEditor.presets",
    ),
    Habit(
        "takes no keys",
        _VIEWS,
        lambda one: one.focusPolicy() == Qt.FocusPolicy.NoFocus,
        "CommandPalette.list RunTableView._frozen",
    ),
    Habit(
        "follows the pointer",
        _VIEWS,
        lambda one: one.hasMouseTracking(),
        "CaptionView.list ExperimentsPanel.tree PlotGrid.legend",
    ),
    Habit(
        "has arrows to unfold its rows",
        QTreeView,
        lambda one: one.rootIsDecorated(),
        "ExperimentsPanel.tree StudyEditor.arms StudyView.arms",
    ),
    Habit("has no heads", QTreeView, lambda one: one.isHeaderHidden(), "Differences.list ExperimentsPanel.tree"),
    Habit(
        "is not unfolded by a double click",
        QTreeView,
        lambda one: not one.expandsOnDoubleClick(),
        "ExperimentsPanel.tree",
    ),
    Habit(
        "Tab is typed and never leads out",
        QPlainTextEdit,
        lambda one: not one.isReadOnly() and not one.tabChangesFocus(),
    ),
    Habit(
        "is typed into",
        QPlainTextEdit,
        lambda one: not one.isReadOnly(),
        "AlertsDialog.conditions DescribeSheet.note LaunchForm/_Lines ManySheet.note PromptEditor.templates"
        " ScriptEditor.text TryTab.names",
    ),
    Habit(
        "has words for an empty line and no button to clear it",
        QLineEdit,
        lambda one: bool(one.placeholderText()) and not one.isClearButtonEnabled(),
        "DescribeSheet.tags FilterForm/QLineEdit IndexSheet.folder IndexSheet.new IndexSheet.old LaunchForm/QLineEdit"
        " MachinesPanel.name ManySheet.add ReplaceBar.replacement ReplaceBar.words StudyEditor.budgets",
    ),
    Habit(
        "has a button to clear it and no words for an empty line",
        QLineEdit,
        lambda one: one.isClearButtonEnabled() and not one.placeholderText(),
        "ClassTable.filter_box",
    ),
    Habit(
        "puts what is typed among its choices",
        QComboBox,
        lambda one: one.isEditable() and one.insertPolicy() != QComboBox.InsertPolicy.NoInsert,
    ),
    Habit(
        "is pressed by Enter",
        QPushButton,
        lambda one: one.autoDefault(),
        "AlertsDialog.follow AlertsDialog.leave AlertsDialog.save AlertsDialog.test"
        " EmptyState._button ExportDialog.copy ExportDialog.leave ExportDialog.show_folder ExportDialog.start"
        " ExportDialog.stop FailureDialog/QPushButton MessageBar._action MessageBar._fold MessageBar._second_action"
        " ReportDialog.export ReportDialog.leave StartCards/QPushButton",
    ),
    Habit(
        "has a frame around its pages",
        QTabWidget,
        lambda one: not one.documentMode(),
        "ClassifyView.tabs DataView.tabs",
    ),
    Habit(
        "parts cannot be shut",
        QSplitter,
        lambda one: not one.childrenCollapsible(),
        "CaptionView.split CleanView.split CompareTab.split GroupsPage/QSplitter MachinesPanel/QSplitter"
        " MainWindow.split MatrixTab.split PromptEditor.split SearchView.pair SearchView.split TryTab.split"
        " ViewsPage.split",
    ),
    Habit("is changed by the wheel in passing", (QComboBox, QAbstractSpinBox), lambda one: not _ignores_the_wheel(one)),
    Habit("page keeps its size", QScrollArea, lambda one: not one.widgetResizable(), "PlotGrid.page SearchBar.chips"),
    Habit("has figures in it", QProgressBar, lambda one: one.isTextVisible(), "ExportDialog.progress"),
    Habit(
        "says more of its entries",
        QMenu,
        lambda one: one.toolTipsVisible(),
        "IconButton/QMenu MainWindow/QMenu StudyPanel.exports",
    ),
    Habit("blocks the window", QDialog, lambda one: one.isModal()),
)


def _ignores_the_wheel(one: QComboBox | QAbstractSpinBox) -> bool:
    down = QPoint(0, -120)
    middle, keys, phase = QPointF(one.rect().center()), Qt.KeyboardModifier.NoModifier, Qt.ScrollPhase.NoScrollPhase
    wheel = QWheelEvent(middle, one.mapToGlobal(middle), QPoint(), down, Qt.MouseButton.NoButton, keys, phase, False)
    one.wheelEvent(wheel)
    return not wheel.isAccepted()


def unusual(found: Iterable[QObject]) -> dict[str, set[str]]:
    """By what few do: the places that do so and are not listed, and those that are listed and do not."""
    parts, faults = list(found), {}
    for habit in HABITS:
        does = {where(one).split(" ")[0] for one in parts if isinstance(one, habit.kind) and habit.does(one)}
        if odd := does ^ set(habit.few.split()):
            faults[habit.other] = odd
    return faults
