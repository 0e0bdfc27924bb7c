"""The view of one sweep: its progress, its trials as a table, and plots in tabs.

Flow: `StudySnapshot` with a `SweepReport` -> ``show_snapshot`` -> only the visible tab is drawn.
"""

from __future__ import annotations

from PySide6.QtCore import QModelIndex, Signal
from PySide6.QtWidgets import QProgressBar, QPushButton, QTabWidget, QWidget

from core.spec.study.confirming import confirmable_trials
from core.spec.study.sweep_report import SweepReport, trial_name
from sdgui.panels.study.model import Table
from sdgui.panels.study.results import SORT_ROLE, make_sortable
from sdgui.panels.study.sweep import plots
from sdgui.panels.study.sweep.model import objective_heading, setting_names, trials_table, value_text
from sdgui.panels.study.sweep.plots import SweepPlot, objectives_of
from sdgui.panels.study.view import status_text
from sdgui.runs.study_status import StudySnapshot
from sdgui.shared.tables import CopyingTable
from sdgui.widgets.elided_label import ElidedLabel
from sdgui.widgets.layouts.boxes import hbox, vbox
from sdgui.widgets.plain_text import PlainLabel, plain_tip
from sdgui.widgets.relations.parallel import ParallelCoordinates
from sdgui.widgets.style.theme import SPACE

_CONFIRM = "Create a study of the best trials and the default config with new seeds (Ctrl+Alt+M)"
_NOTHING_TO_CONFIRM = "There is no complete trial within all constraints yet"


class SweepView(QWidget):
    """Progress, trials and plots of a sweep. ``run_requested``: the run folder of a trial's first seed."""

    run_requested = Signal(object)  # Path
    confirm_requested = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._snapshot: StudySnapshot | None = None
        self.about, self.state = ElidedLabel("", self, role="muted"), ElidedLabel("", self)
        self.note = PlainLabel(self, wordWrap=True, role="small")
        self.progress = QProgressBar(self)
        self.progress.setTextVisible(False)
        self.progress.setAccessibleName("Finished trials")
        self.confirm = QPushButton("Confirm…", self)
        self.confirm.setShortcut("Ctrl+Alt+M")
        self.confirm.clicked.connect(self.confirm_requested)
        self.tabs = QTabWidget(self)
        self.trials = CopyingTable("Sweep trials", self.tabs)
        self._model = make_sortable(self.trials)
        self.trials.activated.connect(self._open_run)
        self.parallel = ParallelCoordinates(self.tabs)
        self.parallel.empty_text = (
            "There is nothing to compare: the finished trials have the same settings and results."
        )
        setting, second_setting = ("Setting", setting_names), ("Second setting", setting_names)
        objective, second_objective = ("Objective", objectives_of), ("Second objective", objectives_of)
        self.plots = {
            "&History": SweepPlot(plots.history, [objective], self.tabs),
            "S&lice": SweepPlot(plots.slices, [setting, objective], self.tabs),
            "&Contour": SweepPlot(plots.contour, [setting, second_setting, objective], self.tabs),
            "&Importance": SweepPlot(plots.importance, [objective], self.tabs),
            "Tim&eline": SweepPlot(plots.timeline, [], self.tabs),
            "Intermediate &values": SweepPlot(plots.intermediate, [], self.tabs),
            "&Pareto": SweepPlot(plots.pareto, [objective, second_objective], self.tabs),
        }
        self.tabs.addTab(self.trials, "&Trials")
        self.tabs.addTab(self.parallel, "Pa&rallel")
        for title, plot in self.plots.items():
            self.tabs.addTab(plot, title)
        self.tabs.currentChanged.connect(lambda _index: self._show_tab())
        top = hbox((self.state, 2), (self.progress, 1), self.confirm)
        vbox(self.about, top, self.note, (self.tabs, 1), into=self, spacing=SPACE // 2)

    def show_snapshot(self, snapshot: StudySnapshot) -> None:
        """Show the current state of the sweep."""
        previous, self._snapshot = self._snapshot, snapshot
        report = snapshot.sweep
        self.about.setText(snapshot.study.about if snapshot.study is not None else "")
        self.about.setVisible(bool(self.about.text()))
        self.state.setText(state_text(snapshot))
        self.progress.setMaximum(max(1, report.wanted if report else 1))
        self.progress.setValue(report.done if report else 0)
        self.confirm.setEnabled(bool(confirmable_trials(report)))
        self.confirm.setToolTip(plain_tip(_CONFIRM if self.confirm.isEnabled() else _NOTHING_TO_CONFIRM))
        notes = [snapshot.results_problem, *(snapshot.trouble.splitlines() if snapshot.alive else [])]
        notes += [
            f"trial-{trial.number} failed: {trial.message}"
            for trial in (report.trials if report else [])[-20:]
            if trial.message
        ]
        self.note.setText("\n".join([note for note in notes if note][:4]))
        self.note.setVisible(bool(self.note.text()))
        if previous is None or previous.sweep != report or previous.folder != snapshot.folder:
            self.tabs.setTabVisible(self.tabs.count() - 1, report is not None and len(report.objectives) > 1)
            self._model.show_table(Table((), (), (), ()) if report is None else trials_table(report))
            self.trials.resizeColumnsToContents()
            self._show_tab()

    def _show_tab(self) -> None:
        report, page = self._snapshot.sweep if self._snapshot else None, self.tabs.currentWidget()
        if page is self.parallel:
            self.parallel.show_axes(*(plots.parallel_axes(report) if report is not None else ([], [])))
        elif isinstance(page, SweepPlot):
            page.show_report(report)

    def _open_run(self, index: QModelIndex) -> None:
        number = index.siblingAtColumn(0).data(SORT_ROLE)
        if self._snapshot is not None and self._snapshot.study is not None and isinstance(number, int):
            seed = self._snapshot.study.seeds[0]
            self.run_requested.emit(self._snapshot.folder / "runs" / f"{trial_name(number)}-s{seed}")


def state_text(snapshot: StudySnapshot) -> str:
    """The state as text, such as ``Running. 5 of 30 trials finished, best val/R@1 50.0 (trial-2).``"""
    parts, report = [status_text(snapshot)], snapshot.sweep
    if report is not None:
        parts.append(f"{report.done} of {report.wanted} trials finished{_best(report)}.")
    return " ".join(parts)


def _best(report: SweepReport) -> str:
    if len(report.objectives) > 1:
        return f", {len(report.best)} on the Pareto front" if report.best else ""
    if not report.best:
        return ""
    trial, metric = report.trials[report.best[0]], report.objectives[0].metric
    title = objective_heading(metric).partition(", ")[0]  # without the unit
    return f", best {title} {value_text(metric, trial.values[0])} ({trial_name(trial.number)})"
