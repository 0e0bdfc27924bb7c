"""The widgets of the Runs panel: the table, and below it the tabs about what is ticked and about the current run."""

from __future__ import annotations

from functools import cached_property

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import QSplitter, QTabWidget, QVBoxLayout, QWidget

from sdgui.panels.runs.compare.board import SamplesBoard
from sdgui.panels.runs.compare.settings import ComparePart
from sdgui.panels.runs.elsewhere import ElsewhereStrip
from sdgui.panels.runs.event_log import EventLog
from sdgui.panels.runs.header import RunHeader
from sdgui.panels.runs.plots.grid import PlotGrid
from sdgui.panels.runs.relations.part import ParallelPart, ScatterPart
from sdgui.panels.runs.samples import SamplesView
from sdgui.panels.runs.table.part import RunTable
from sdgui.shared.experiment_head import ExperimentHead
from sdgui.shared.services import Services
from sdgui.shared.time_travel import StepSlider
from sdgui.widgets.late_parts import home_of, replace_page
from sdgui.widgets.layouts.over import lay_over
from sdgui.widgets.message_bar import MessageBar
from sdgui.widgets.plain_text import plain_tip
from sdgui.widgets.style.theme import SPACE


class RunsView(QWidget):
    """Built from the outside in: a widget that is given another parent is styled again, with all its children."""

    stepped = Signal(int)  # the user moved the samples to this step

    def __init__(self, services: Services, parent: QWidget) -> None:
        super().__init__(parent)
        self.head = ExperimentHead(services, self)
        self.bar = MessageBar(self)
        self.split = QSplitter(Qt.Orientation.Vertical, self)
        self.table = RunTable(services.store, services.settings, self.split)
        self._lower = QWidget(self.split)
        self.header = RunHeader(self._lower)
        self.elsewhere = ElsewhereStrip(services.hosts, self._lower)
        self.tabs = QTabWidget(self._lower)
        self.tabs.setDocumentMode(True)
        self.grid = PlotGrid(home_of(self.tabs))
        self._no_samples = QWidget(home_of(self.tabs))  # until there are some, or the tab is opened
        self.log = EventLog(home_of(self.tabs))
        home = home_of(self.tabs)
        self.scatter = ScatterPart(services.store, self.table, home)
        self.parallel = ParallelPart(services.store, self.table, home)
        self.compare = ComparePart(services.store, self.table, home)
        self.board = SamplesBoard(services, home)
        self._add_tab(self.grid, "&Curves", "Curves of the ticked runs and the current one")
        self._add_tab(self.scatter, "Scatter", "Any two columns of the listed runs")
        self._add_tab(self.parallel, "Parallel", "All columns of the listed runs as parallel coordinates, to brush")
        self._add_tab(self.compare, "Compare", "Settings and metrics of the ticked or selected runs, side by side")
        self._add_tab(self.board, "Side by side", "What the overlaid runs find for the same captions at one step")
        self._add_tab(self._no_samples, "&Samples", "What student and teacher find and write at each validation")
        self._add_tab(self.log, "E&vents", "Starts, checkpoints, validations and warnings of the current run")
        self.tabs.currentChanged.connect(self._tab_opened)
        self.time = StepSlider(self.tabs)
        self.time.export.hide()  # of the results of a search
        self.time.setFixedWidth(64 * SPACE)
        self.tabs.setCornerWidget(self.time)
        self._arrange()

    @cached_property
    def samples(self) -> SamplesView:
        """The samples of the current run; made when first used."""
        made = SamplesView(home_of(self.tabs))
        made.stepped.connect(self.stepped)
        replace_page(self.tabs, self.tabs.indexOf(self._no_samples), made)
        return made

    def _tab_opened(self, at: int) -> None:
        if self.tabs.widget(at) is self._no_samples:
            _ = self.samples

    def _add_tab(self, widget: QWidget, title: str, tip: str) -> None:
        self.tabs.setTabToolTip(self.tabs.addTab(widget, title), plain_tip(tip))

    def _arrange(self) -> None:
        lower = QVBoxLayout(self._lower)
        lower.setContentsMargins(0, SPACE // 2, 0, 0)
        lower.setSpacing(SPACE // 2)
        lower.addWidget(self.header)
        lower.addWidget(self.elsewhere)
        lower.addWidget(self.tabs, 1)
        self.split.setChildrenCollapsible(True)
        self.split.setStretchFactor(0, 2)
        self.split.setStretchFactor(1, 3)
        self.split.setSizes([280, 440])
        layout = QVBoxLayout()
        layout.setContentsMargins(2 * SPACE, SPACE, 2 * SPACE, SPACE)
        layout.setSpacing(SPACE)
        layout.addWidget(self.head)
        layout.addWidget(self.split, 1)
        lay_over(self, layout, self.bar)

    def show_tab(self, widget: QWidget) -> None:
        """Bring a tab to the front."""
        self.tabs.setCurrentWidget(widget)
