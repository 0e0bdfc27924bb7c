"""The widgets of the Runs panel: the table, and the tabs below it."""

from __future__ import annotations

from PySide6.QtCore import Qt, QTimer
from PySide6.QtGui import QResizeEvent
from PySide6.QtWidgets import QSplitter, QTabWidget, QWidget

from sdgui.panels.runs.compare.board import SamplesBoard
from sdgui.panels.runs.compare.settings import CompareTab
from sdgui.panels.runs.event_log import EventLog
from sdgui.panels.runs.header import RunHeader
from sdgui.panels.runs.plots.grid import PlotGrid
from sdgui.panels.runs.relations.tabs import ParallelTab, ScatterTab
from sdgui.panels.runs.remote_strip import RemoteStrip
from sdgui.panels.runs.retention.tab import RetentionTab
from sdgui.panels.runs.samples import SamplesView
from sdgui.panels.runs.table.run_table import RunTable
from sdgui.shared.experiment_header import ExperimentHeader
from sdgui.shared.services import Services
from sdgui.shared.time_travel import StepSlider
from sdgui.widgets.layouts.boxes import vbox
from sdgui.widgets.layouts.over import lay_over
from sdgui.widgets.message_bar import MessageBar
from sdgui.widgets.plain_text import plain_tip
from sdgui.widgets.style.theme import SPACE


class RunsView(QWidget):
    """The table with its bar and header. Parents are created before children: reparenting restyles all children."""

    def __init__(self, services: Services, parent: QWidget) -> None:
        super().__init__(parent)
        self.head = ExperimentHeader(services, self)
        self.split = QSplitter(Qt.Orientation.Vertical, self)
        self.table = RunTable(services.store, services.settings, self.split)
        self.tabs = TabsView(services, self.table, self.split)
        self.split.setChildrenCollapsible(True)
        self.split.setStretchFactor(0, 2)
        self.split.setStretchFactor(1, 3)
        self.split.setSizes([280, 440])
        self.fits_table = True  # until the user moves the handle
        self.split.splitterMoved.connect(self._on_handle_moved)
        vbox(self.head, (self.split, 1), into=self, margins=(2 * SPACE, SPACE, 2 * SPACE, SPACE))

    def _on_handle_moved(self, _position: int, _handle: int) -> None:
        self.fits_table = False

    def fit_table(self) -> None:
        """Make the table as high as its rows, but at most ``_TABLE_SHARE`` of the height, in whole rows."""
        room = self.split.height() - self.split.handleWidth()
        if not self.fits_table or not self.split.isVisible():
            return
        view = self.table.view
        scroll = view.horizontalScrollBar()
        other = self.table.height() - view.height() + view.horizontalHeader().height() + 2 * view.frameWidth()
        other += scroll.sizeHint().height() if scroll.maximum() > 0 else 0  # height of everything but the rows
        row_height = view.verticalHeader().defaultSectionSize()
        most_rows = max(int(_TABLE_SHARE * room - other) // row_height, _MIN_ROWS)
        height = other + min(max(view.model().rowCount(), _MIN_ROWS), most_rows) * row_height
        self.split.setSizes([height, room - height])

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        QTimer.singleShot(0, self, self.fit_table)  # delayed until the parts have their new sizes


_MIN_ROWS = 3  # rows of the table that are always visible
_TABLE_SHARE = 0.45  # largest share of the height
_TIME_WIDTH = 64 * SPACE  # maximum width of the slider, in px


class TabsView(QWidget):
    """The tabs. Parents are created before children, since reparenting restyles all children."""

    def __init__(self, services: Services, table: RunTable, parent: QWidget) -> None:
        super().__init__(parent)
        self.header = RunHeader(self)
        self.bar = MessageBar(self)  # why the run ended
        self.remote_strip = RemoteStrip(services.hosts, self)
        self.tabs = QTabWidget(self)
        self.grid = PlotGrid(self.tabs)
        self.samples = SamplesView(self.tabs)
        self.log = EventLog(self.tabs)
        self.scatter = ScatterTab(services.store, table, self.tabs)
        self.parallel = ParallelTab(services.store, table, self.tabs)
        self.retention = RetentionTab(services, self.tabs)
        self.compare = CompareTab(services.store, table, self.tabs)
        self.board = SamplesBoard(services, self.tabs)
        self._add_tab(self.grid, "&Curves", "Curves of the ticked runs and the current one")
        self._add_tab(self.scatter, "Scatter", "Scatter plot of two columns of the listed runs")
        self._add_tab(
            self.parallel, "Parallel", "Parallel coordinates of the listed runs; drag along an axis to choose a range"
        )
        self._add_tab(
            self.retention, "Retention", "What the runs gain on new data against what they retain of old data"
        )
        self._add_tab(self.compare, "Compare", "Settings and metrics of the ticked or selected runs, side by side")
        self._add_tab(
            self.board, "Side by side", "Compare what the overlaid runs return for the same captions at one step"
        )
        self._add_tab(
            self.samples,
            "&Samples",
            "Images retrieved and captions generated by student and teacher at each validation",
        )
        self._add_tab(self.log, "E&vents", "Starts, checkpoints, validations and warnings of the current run")
        self.time = StepSlider(self.tabs)
        self.time.export.hide()  # exports search results, which this panel does not have
        self.tabs.setCornerWidget(self.time)
        self.retention.availability_changed.connect(self._show_retention_tab)
        self._show_retention_tab(False)
        margins = (0, SPACE // 2, 0, 0)
        column = vbox(self.header, self.remote_strip, (self.tabs, 1), spacing=SPACE // 2, margins=margins)
        lay_over(self, column, self.bar, lift=0)

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        self._fit_slider()

    def _show_retention_tab(self, has_data: bool) -> None:
        """Show the tab if runs have retained data, or while it is the current one."""
        self.tabs.setTabVisible(
            self.tabs.indexOf(self.retention), has_data or self.tabs.currentWidget() is self.retention
        )
        self._fit_slider()

    def _fit_slider(self) -> None:
        """Fit the slider next to the tabs; a tab widget would cut off an overflowing corner widget."""
        free_width = self.width() - self.tabs.tabBar().sizeHint().width() - 2 * SPACE
        self.time.set_room(min(free_width, _TIME_WIDTH))

    def _add_tab(self, widget: QWidget, title: str, tip: str) -> None:
        self.tabs.setTabToolTip(self.tabs.addTab(widget, title), plain_tip(tip))
