"""The controls of the plots: smoothing, log scale, x axis, reset, export."""

from __future__ import annotations

from collections.abc import Callable

from PySide6.QtCore import QPoint, Qt, Signal
from PySide6.QtWidgets import QLineEdit, QMenu, QSlider, QToolButton, QWidget

from sdgui.panels.runs.plots.export import PLOT_FORMATS, WritePlots
from sdgui.panels.runs.plots.series import XMode
from sdgui.shared.export.formats import ExportFormat
from sdgui.widgets.icon_button import IconButton
from sdgui.widgets.input_boxes import NoWheelComboBox
from sdgui.widgets.layouts.boxes import hbox
from sdgui.widgets.plain_text import PlainLabel, plain_tip
from sdgui.widgets.style.theme import SPACE


class PlotToolbar(QWidget):
    """The toolbar. ``export_requested``: an entry of ``PLOT_FORMATS``."""

    smoothing_changed = Signal(float)  # weight
    log_changed = Signal(bool)  # whether the y axis is logarithmic
    x_mode_changed = Signal()
    reset_requested = Signal()
    export_requested = Signal(object)  # ExportFormat
    searched = Signal(str)  # words in the names of plots
    means_changed = Signal(bool)  # whether means of groups are shown
    figure_requested = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.is_available: Callable[[ExportFormat[WritePlots]], bool] = lambda _export: True  # for a format
        self.smoothing = QSlider(Qt.Orientation.Horizontal, self)
        self.smoothing.setRange(0, 999)
        self.smoothing.setSingleStep(10)
        self.smoothing.setPageStep(100)
        self.smoothing.setFixedWidth(14 * SPACE)
        self.smoothing.setAccessibleName("Smoothing")
        self.smoothing.setToolTip("Weight of the moving average; the raw curve stays visible")
        self._weight = PlainLabel("0.00", self, role="muted")
        self._weight.setMinimumWidth(self._weight.fontMetrics().horizontalAdvance("0.000"))
        self.log = QToolButton(self)
        self.log.setText("Log")
        self.log.setCheckable(True)
        self.log.setToolTip("Logarithmic y axis (L)")
        self.log.setAccessibleName("Logarithmic y axis")
        self.log.setProperty("hasText", "true")
        self.x_mode = NoWheelComboBox(self)
        self.x_mode.addItem("Step", "step")
        self.x_mode.addItem("Relative time", "time")
        self.x_mode.setToolTip("x axis unit")
        self.x_mode.setAccessibleName("X axis")
        tip = "Show all data and follow new points (double-click)"
        self.reset = IconButton("ph.arrow-counter-clockwise", tip, text="Reset", parent=self)
        self.reset.setEnabled(False)
        self.export = IconButton("ph.download-simple", "Export", parent=self)
        self.search = QLineEdit(self)
        self.search.setPlaceholderText("Find a plot")
        self.search.setAccessibleName("Find a plot")
        self.search.setToolTip("Show only plots whose name contains these words")
        self.search.setClearButtonEnabled(True)
        self.search.setMaximumWidth(24 * SPACE)
        about = "Show the mean of each group with its 95 % interval; group the table first"
        self.means = IconButton("ph.chart-line-up", about, text="Means", checkable=True, parent=self)
        self.means.setEnabled(False)
        self._arrange()
        self._connect()

    def _arrange(self) -> None:
        caption = PlainLabel("Smoothing", self, role="muted")
        left = (caption, self.smoothing, self._weight, self.log, self.x_mode, self.means, (self.search, 1))
        hbox(*left, None, self.reset, self.export, into=self)

    def _connect(self) -> None:
        self.smoothing.valueChanged.connect(self._on_slider_moved)
        self.log.toggled.connect(self.log_changed)
        self.x_mode.currentIndexChanged.connect(lambda _: self.x_mode_changed.emit())
        self.reset.clicked.connect(self.reset_requested)
        self.export.clicked.connect(self._ask_export)
        self.search.textChanged.connect(self.searched)
        self.means.toggled.connect(self.means_changed)

    @property
    def mode(self) -> XMode:
        """The unit of the x axis."""
        return "time" if self.x_mode.currentData() == "time" else "step"

    @property
    def weight(self) -> float:
        """The smoothing, 0 (none) to 0.999, as in TensorBoard; validations are not smoothed."""
        return self.smoothing.value() / 1000

    def export_menu(self) -> QMenu:
        """The menu of available formats; each entry emits ``export_requested``."""
        menu = QMenu(self)
        menu.setToolTipsVisible(True)
        for export in filter(self.is_available, PLOT_FORMATS):
            action = menu.addAction(export.title)
            action.setToolTip(plain_tip(export.tip))
            action.triggered.connect(lambda _=False, export=export: self.export_requested.emit(export))
        if any(self.is_available(export) for export in PLOT_FORMATS if export.name != "csv"):
            figure = menu.addAction("Figure for a paper…")
            figure.setToolTip("Set size, font and legend; also a LaTeX table of the last values")
            figure.triggered.connect(self.figure_requested)
        if menu.isEmpty():
            menu.addAction("No points to export yet").setEnabled(False)
        return menu

    def _ask_export(self) -> None:
        menu = self.export_menu()
        menu.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        menu.popup(self.export.mapToGlobal(QPoint(0, self.export.height())))

    def _on_slider_moved(self) -> None:
        self._weight.setText(f"{self.weight:.3f}" if self.weight > 0.99 else f"{self.weight:.2f}")
        self.smoothing_changed.emit(self.weight)
