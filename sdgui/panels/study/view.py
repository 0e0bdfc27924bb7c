"""The view of one study: progress, results with a plot, runs and arms.

Flow: ``StudySnapshot`` -> ``show_snapshot``; unchanged parts are not redrawn.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from PySide6.QtCore import QModelIndex, Qt, Signal
from PySide6.QtGui import QResizeEvent
from PySide6.QtWidgets import (
    QHeaderView,
    QProgressBar,
    QSplitter,
    QTabWidget,
    QTreeWidget,
    QTreeWidgetItem,
    QWidget,
)

from core.spec.study import Study
from sdgui.panels.study.arms import fill_arms
from sdgui.panels.study.cost_curves import CostCurves, cost_curves, crossing_texts
from sdgui.panels.study.error_bars import ErrorBars
from sdgui.panels.study.model import Table, differences_table, means_table, metric_heading
from sdgui.panels.study.results import METRIC_ROLE, bars_of, bars_title, make_sortable
from sdgui.panels.study.toolbar import NEW_STUDY_SHORTCUT
from sdgui.runs.study_status import StudyRunSnapshot, StudySnapshot
from sdgui.shared.tables import CopyingTable
from sdgui.store.studies import StudyRecord
from sdgui.widgets.elided_label import ElidedLabel
from sdgui.widgets.formats import count, duration
from sdgui.widgets.input_boxes import NoWheelComboBox
from sdgui.widgets.layouts.boxes import hbox, vbox
from sdgui.widgets.plain_text import PlainLabel, plain_tip
from sdgui.widgets.style.theme import SPACE, theme

NETWORKS = (("Final network (teacher, if any)", "final"), ("Student", "student"), ("Teacher", "teacher"))
_MIN_ROWS = 5  # minimum height of the table, in rows
_NUMBER_COLUMNS = (1, 4, 5)  # right-aligned columns of the list of runs
_ICONS = {  # state of a run -> state whose icon is shown, text
    "waiting": ("queued", "queued"),
    "training": ("running", "training"),
    "measuring": ("running", "evaluating"),
    "done": ("done", "done"),
    "failed": ("failed", "failed"),
}
_STATES = {  # state of a study -> sentence
    "not started": "Not started yet.",
    "starting": "Starting: preparing data.",
    "running": "Running.",
    "paused": "Paused. All runs are saved; press Resume to continue.",
    "stopped": "Stopped. Press Resume to continue.",
    "interrupted": "Interrupted: the process exited unexpectedly. Press Resume to continue from the last checkpoints.",
    "extended": "Extended. Press Start to train the new runs.",
    "done": "Done.",
    "failed": "Finished with failed runs. Press Resume to retry them.",
    "gone": "The folder of the study is missing.",
}

_ABOUT = (
    "A study trains several recipes with the same seeds and compares them with confidence intervals. "
    "It keeps running when the window is closed."
)


class StudyView(QWidget):
    """The view. ``run_requested``: the folder of a run to show.

    The table is as high as its rows while ``fits_table``, that is, until the user moves the handle below it.
    """

    run_requested = Signal(object)  # Path

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._snapshot: StudySnapshot | None = None
        self.fits_table = True
        self._colors: Mapping[str, int] = {}  # arm -> palette index
        self._metric = ""
        self._estimate = ""  # estimate of time and memory, until the study starts
        self.about, self.state = ElidedLabel("", self, role="muted"), ElidedLabel("", self)
        self.progress = QProgressBar(self)
        self.progress.setTextVisible(False)
        self.progress.setAccessibleName("Finished runs")
        self.tabs = QTabWidget(self)
        results = self._make_results_page(self.tabs)
        self.runs, self.arms = QTreeWidget(self.tabs), QTreeWidget(self.tabs)
        for widget, title in ((results, "Resu&lts"), (self.runs, "Ru&ns"), (self.arms, "&Arms")):
            self.tabs.addTab(widget, title)
        self._models = [make_sortable(view) for view in (self.means, self.differences)]
        for view in (self.means, self.differences):
            view.selectionModel().currentChanged.connect(self._on_cell_chosen)
        self._build()

    def _make_results_page(self, parent: QWidget) -> QWidget:
        """Create parents before children, since reparenting restyles all children."""
        results = QWidget(parent)
        self.note = PlainLabel(results, wordWrap=True, role="small")
        self.split = QSplitter(Qt.Orientation.Vertical, results)
        self.tables = QTabWidget(self.split)
        self.network = NoWheelComboBox(self.tables)
        self.network.setAccessibleName("Network")
        self.network.setToolTip("Network")
        for text, name in NETWORKS:
            self.network.addItem(text, name)
        self.means = CopyingTable("Arm means", self.tables)
        self.differences = CopyingTable("Differences of arms", self.tables)
        self.tables.addTab(self.means, "&Means")
        self.tables.addTab(self.differences, "&Differences")
        self.tables.setCornerWidget(self.network)
        self.bars, self.costs = ErrorBars(self.split), CostCurves(self.split)
        self.costs.hide()
        self.split.splitterMoved.connect(self._on_split_moved)
        vbox(self.note, (self.split, 1), into=results, margins=(0, SPACE, 0, 0))
        return results

    def _build(self) -> None:
        self.runs.setHeaderLabels(["Arm", "Seed", "State", "Device", "Progress", "Time", "Message"])
        self.runs.setAccessibleName("Runs of the study, in order")
        self.runs.setToolTip("Press Enter to show the run")
        self.arms.setHeaderLabels(["Arm and changed settings", "First arm", "This arm"])
        self.arms.setAccessibleName("Arms of the study and the settings that they change")
        for tree in (self.runs, self.arms):
            tree.setUniformRowHeights(True)
        self.runs.setRootIsDecorated(False)
        self.runs.header().setSectionResizeMode(QHeaderView.ResizeMode.ResizeToContents)
        for column in _NUMBER_COLUMNS:
            self.runs.headerItem().setTextAlignment(column, Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
        self.runs.itemActivated.connect(
            lambda item, _c: self.run_requested.emit(item.data(0, Qt.ItemDataRole.UserRole))
        )
        self.progress.setFixedWidth(20 * SPACE)  # leaves room for the sentence
        top = hbox((self.state, 1), self.progress)
        vbox(self.about, top, (self.tabs, 1), into=self, spacing=SPACE // 2)
        self.network.activated.connect(lambda _row: self._show_results())

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        self._fit_table()

    def _on_split_moved(self) -> None:
        self.fits_table = False

    def _fit_table(self) -> None:
        if self.fits_table:
            rows = max(_MIN_ROWS, self.means.model().rowCount()) + 1  # with a scroll bar
            height = self.tables.tabBar().height() + self.means.horizontalHeader().sizeHint().height()
            height += rows * self.means.verticalHeader().defaultSectionSize()
            rest = max(1, self.split.height() - height)  # for the bars or the curves, of which one is hidden
            self.split.setSizes([height, rest, rest])

    # Display
    def show_snapshot(self, snapshot: StudySnapshot, colors: Mapping[str, int]) -> None:
        """Show the current state of the study. ``colors``: arm -> palette index of its runs."""
        previous, self._snapshot = self._snapshot, snapshot
        self._colors = colors
        study = snapshot.study
        self.about.setText("" if study is None else study.about or _summary(study))
        self.state.setText(state_text(snapshot))
        self.progress.setMaximum(max(1, len(snapshot.runs)))
        self.progress.setValue(snapshot.done)
        self.progress.setVisible(snapshot.done < len(snapshot.runs))
        if previous is None or previous.runs != snapshot.runs or previous.folder != snapshot.folder:
            self._show_runs(snapshot.runs)
        if previous is None or previous.study != study:
            self.arms.clear()
            if study is not None:
                fill_arms(self.arms, study)
        if previous is None or previous.folder != snapshot.folder or previous.results_stamp != snapshot.results_stamp:
            self._show_results()
        self._show_note()

    def show_estimate(self, text: str) -> None:
        """Show the estimate of a study that has not started; "" hides it."""
        self._estimate = text
        self._show_note()

    def shown_tables(self) -> list[Table]:
        """The two tables to export."""
        return [model.table for model in self._models]

    def _show_note(self) -> None:
        snapshot = self._snapshot
        if snapshot is None:
            return
        notes = [self._estimate] if self._estimate and snapshot.state == "not started" else []
        notes += [snapshot.results_problem] if snapshot.results_problem else []
        if snapshot.study is not None and len(snapshot.study.seeds) == 1:
            notes.append("Only one seed: intervals and tests need at least two. Add seeds.")
        if snapshot.results is None and not snapshot.results_problem:
            notes.append("No run has finished yet. The tables are filled as runs finish.")
        notes += snapshot.trouble.splitlines() if snapshot.alive else []
        notes += [f"{run.arm}, seed {run.seed}, failed: {run.message}" for run in snapshot.failures[:3]]
        self.note.setText("\n".join(notes))
        self.note.setVisible(bool(notes))

    def _show_results(self) -> None:
        results = self._snapshot.results if self._snapshot is not None else None
        network = str(self.network.currentData())
        for model, view, make in zip(
            self._models, (self.means, self.differences), (means_table, differences_table), strict=True
        ):
            model.show_table(Table((), (), (), ()) if results is None else make(results, network))
            view.fit_columns()
        metrics = [] if results is None else list(results["metrics"])
        if self._metric not in metrics:
            self._metric = metrics[0] if metrics else ""
        self._show_plot()
        self._fit_table()

    def _show_plot(self) -> None:
        """Show the arms side by side, or curves if they were trained for several budgets."""
        results = self._snapshot.results if self._snapshot is not None else None
        metric, network = self._metric, str(self.network.currentData())
        by_budget = results is not None and len(results.get("budgets", ())) > 1
        self.bars.setVisible(bool(metric) and not by_budget)
        self.costs.setVisible(bool(metric) and by_budget)
        if results is None or not metric:
            return
        title = metric_heading(metric)
        if by_budget:
            crossings = "; ".join(crossing_texts(results, metric))
            title += f" by seconds of training{crossings and f'. {crossings}.'}"
            self.costs.set_curves(title, cost_curves(results, metric, network))
        else:
            bars = bars_of(results, metric, network, self._colors)
            self.bars.set_bars(title + bars_title(bars), bars)

    def _on_cell_chosen(self, index: QModelIndex, _before: QModelIndex) -> None:
        metric = index.data(METRIC_ROLE) if index.isValid() else ""
        is_metric = (
            self._snapshot is not None
            and self._snapshot.results is not None
            and metric in self._snapshot.results["metrics"]
        )
        if is_metric and metric != self._metric:
            self._metric = metric
            self._show_plot()

    def _show_runs(self, runs: tuple[StudyRunSnapshot, ...]) -> None:
        """Show ``runs`` in the existing rows, so that the list keeps its selection and scroll position."""
        while self.runs.topLevelItemCount() > len(runs):
            self.runs.takeTopLevelItem(len(runs))
        for row, run in enumerate(runs):
            item = self.runs.topLevelItem(row) or self._add_row()
            icon, text = _ICONS.get(run.state, ("queued", run.state))
            progress = f"{count(run.step)}/{count(run.total)}" if run.total and run.state == "training" else ""
            time = f"{duration(run.seconds_left)} left" if run.seconds_left is not None else ""
            time = duration(run.seconds) if run.seconds is not None else time
            texts = (run.arm, str(run.seed), text, device_text(run), progress, time, run.message)
            for column, cell in enumerate(texts):
                item.setText(column, cell)
            item.setIcon(2, theme().state_icon(icon))
            item.setToolTip(6, plain_tip(run.message))
            item.setData(0, Qt.ItemDataRole.UserRole, Path(run.folder))

    def _add_row(self) -> QTreeWidgetItem:
        item = QTreeWidgetItem(self.runs)
        for column in _NUMBER_COLUMNS:
            item.setTextAlignment(column, Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
        return item


def device_text(run: StudyRunSnapshot) -> str:
    """Machine and GPU as text, such as ``gpu, GPU 2``; "" for this computer without an assigned GPU."""
    return ", ".join(part for part in (run.machine, f"GPU {run.device}" if run.device else "") if part)


def state_text(snapshot: StudySnapshot) -> str:
    """The state as text, such as ``Running. 5 of 12 runs finished, about 8 min left.``"""
    parts = [status_text(snapshot)]
    if snapshot.runs:
        time_left = f", about {duration(snapshot.seconds_left)} left" if snapshot.seconds_left is not None else ""
        failed = f", {len(snapshot.failures)} failed" if snapshot.failures else ""
        parts.append(f"{snapshot.done} of {len(snapshot.runs)} runs finished{failed}{time_left}.")
    return " ".join(parts)


def status_text(snapshot: StudySnapshot) -> str:
    """The status as text, such as ``Running.``, or the problem with the folder."""
    if snapshot.problem:
        return snapshot.problem.splitlines()[0]
    if snapshot.state == "not started" and (snapshot.done or snapshot.sweep is not None):  # opened from elsewhere
        return "Not running. Press Start to continue."
    return _STATES[snapshot.state]


def placeholder(study: StudyRecord | None) -> tuple[str, str, str, str]:
    """Title, text, button and its shortcut of the page without a study, or before ``study`` has been read."""
    if study is None:
        return "No studies yet", _ABOUT, "New study…", NEW_STUDY_SHORTCUT
    if study.is_local:
        return study.name, "Reading the folder of the study…", "", ""
    text = f"The folder of this study is on {study.owner_host}; its progress and results are shown there."
    return study.name, text, "", ""


def _summary(study: Study) -> str:
    """A summary, such as ``4 arms, 230, 600 s, seeds 0, 1, 2``."""
    arms = f"{len(study.arms)} arm{'s' if len(study.arms) != 1 else ''}"
    budgets = ", ".join(f"{seconds:g}" for seconds in study.budgets)
    return ", ".join([arms, *([f"{budgets} s"] if budgets else []), f"seeds {', '.join(map(str, study.seeds))}"])
