"""Curves of several runs on one plot, with toolbar and legend: raw and smoothed, linear or log, step or time.

Flow: a panel hands over plain arrays (``set_curve``, ``append``); ``PlotCanvas`` draws them, coalesced.
"""

from __future__ import annotations

from pathlib import Path

from numpy.typing import ArrayLike
from PySide6.QtCore import QPoint, Qt, Signal
from PySide6.QtGui import QColor, QKeySequence, QShortcut
from PySide6.QtWidgets import QFileDialog, QSplitter, QVBoxLayout, QWidget

from sdgui.panels.watch.plots.canvas import PlotCanvas
from sdgui.panels.watch.plots.export import save_csv, save_png, save_svg
from sdgui.panels.watch.plots.legend import PlotLegend
from sdgui.panels.watch.plots.series import Floats, Series, XMode
from sdgui.panels.watch.plots.toolbar import PlotToolbar
from sdgui.widgets import formats
from sdgui.widgets.message import Message
from sdgui.widgets.message_bar import MessageBar
from sdgui.widgets.plain_text import PlainLabel
from sdgui.widgets.plot_axes import AxisKind
from sdgui.widgets.style.theme import SPACE, set_role

__all__ = ["LivePlot", "XMode"]


class LivePlot(QWidget):
    """Curves by key. ``color`` is a palette index (follows the theme) or a QColor.

    Keys: L log scale, R or double click shows everything; wheel zooms x, drag zooms into a rectangle.
    """

    curve_hovered = Signal(str)  # key under the mouse in the legend, "" when it left
    visibility_changed = Signal(str, bool)  # key, shown: the user toggled it in the legend

    def __init__(
        self,
        title: str = "",
        unit: str = "",
        empty_text: str = "No points yet.",
        kind: AxisKind = "value",
        parent: QWidget | None = None,
    ) -> None:
        """``kind`` "share" shows 0 to 1 in per cent."""
        super().__init__(parent)
        self._series: dict[str, Series] = {}
        self._unit = "%" if kind == "share" else unit
        self._weight = 0.0
        self.toolbar = PlotToolbar()
        self.canvas = PlotCanvas(kind)
        self.canvas.set_empty_text(empty_text)
        self.legend = PlotLegend()
        self._message = MessageBar()
        self._title = PlainLabel(f"{title} ({unit})" if unit and title else title)
        self._title.setVisible(bool(title))
        set_role(self._title, "title")
        self.setAccessibleName(f"Plot: {title}" if title else "Plot")
        self._arrange()
        self._connect()

    def _arrange(self) -> None:
        split = QSplitter(Qt.Orientation.Horizontal)
        split.addWidget(self.canvas)
        split.addWidget(self.legend)
        split.setStretchFactor(0, 1)
        split.setSizes([100 * SPACE, 28 * SPACE])
        split.setChildrenCollapsible(True)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(SPACE)
        for widget in (self._title, self.toolbar, self._message):
            layout.addWidget(widget)
        layout.addWidget(split, 1)

    def _connect(self) -> None:
        self.toolbar.smoothing_changed.connect(self._smooth)
        self.toolbar.log_changed.connect(self.canvas.set_log)
        self.toolbar.x_mode_changed.connect(self.canvas.set_x_mode)
        self.toolbar.reset_asked.connect(self.reset_view)
        self.toolbar.export_asked.connect(self._export)
        self.canvas.zoomed.connect(self.toolbar.reset.setEnabled)
        self.canvas.reset_asked.connect(self.reset_view)
        self.canvas.menu_asked.connect(self._menu)
        self.canvas.redrawn.connect(self._tell_latest)
        self.legend.hovered.connect(self.canvas.set_lifted)
        self.legend.hovered.connect(self.curve_hovered)
        self.legend.toggled.connect(self._toggled)
        self.legend.soloed.connect(self._solo)
        for key, slot in (("L", self.toolbar.log.toggle), ("R", self.reset_view)):
            shortcut = QShortcut(QKeySequence(key), self)
            shortcut.setContext(Qt.ShortcutContext.WidgetWithChildrenShortcut)
            shortcut.activated.connect(slot)

    def set_curve(
        self,
        key: str,
        x: ArrayLike,
        y: ArrayLike,
        name: str = "",
        color: int | QColor = 0,
        style: Qt.PenStyle = Qt.PenStyle.SolidLine,
        times: ArrayLike | None = None,
    ) -> None:
        """Replace a curve. ``x`` steps, ``y`` values (nan and inf leave a gap), ``times`` seconds since the start."""
        one = Series(key, name, color, style)
        one.set_weight(self._weight)
        one.replace(x, y, times)
        if key in self._series:
            one.visible = self._series[key].visible
        self._series[key] = one
        self.canvas.put(one)
        self.legend.set_entry(key, one.name, color, style)

    def append(self, key: str, x: ArrayLike, y: ArrayLike, times: ArrayLike | None = None) -> None:
        """Add points (scalars or arrays) to a curve that ``set_curve`` made; KeyError when there is none."""
        self._series[key].append(x, y, times)
        self.canvas.refresh()

    def remove_curve(self, key: str) -> None:
        """Take a curve away; nothing happens when it is not there."""
        if self._series.pop(key, None) is not None:
            self.canvas.remove(key)
            self.legend.remove(key)

    def clear(self) -> None:
        """Take all curves away."""
        for key in self.keys():
            self.remove_curve(key)

    def keys(self) -> list[str]:
        """Keys of the curves, in the order they came."""
        return list(self._series)

    def points(self, key: str) -> tuple[Floats, Floats]:
        """Steps and raw values held."""
        return self._series[key].steps, self._series[key].values

    def set_visible(self, key: str, visible: bool) -> None:
        """Show or hide a curve; the legend keeps it."""
        self._series[key].visible = visible
        self.legend.set_shown(key, visible)
        self.canvas.refresh()

    def set_log(self, log: bool) -> None:
        """Logarithmic y axis."""
        self.toolbar.log.setChecked(log)

    def set_smoothing(self, weight: float) -> None:
        """0 (none) to 0.999, TensorBoard's meaning; the raw curve stays, faint."""
        self.toolbar.set_smoothing(weight)

    def set_x_mode(self, mode: XMode) -> None:
        """x counts steps, or seconds since the run started."""
        self.toolbar.set_x_mode(mode)

    def reset_view(self) -> None:
        """Show everything and follow new points."""
        self.canvas.follow()

    def save_csv(self, path: str) -> None:
        """All points of the visible curves; OSError when the file cannot be written."""
        save_csv(((self._title.text(), one) for one in self._series.values() if one.visible), path)

    def save_image(self, path: str) -> None:
        """PNG or SVG, by the ending; OSError when the file cannot be written."""
        if Path(path).suffix.lower() == ".svg":
            save_svg(self.canvas, path)
        else:
            save_png(self.canvas, path)

    def _smooth(self, weight: float) -> None:
        self._weight = weight
        for one in self._series.values():
            one.set_weight(weight)
        self.canvas.set_smooth(weight > 0)

    def _toggled(self, key: str, shown: bool) -> None:
        self.set_visible(key, shown)
        self.visibility_changed.emit(key, shown)

    def _solo(self, key: str) -> None:
        alone = all(one.visible == (one.key == key) for one in self._series.values())
        for other in self.keys():
            self._toggled(other, alone or other == key)

    def _tell_latest(self) -> None:
        for one in self._series.values():
            if len(one):
                self.legend.set_value(one.key, formats.value(float(one.values[-1]), "%" if self._unit == "%" else ""))

    def _menu(self, point: QPoint) -> None:
        menu = self.toolbar.export_menu()
        menu.addSeparator()
        menu.addAction("Show all").triggered.connect(self.reset_view)
        menu.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        menu.popup(point)

    def _export(self, ending: str) -> None:
        title = self._title.text() or "plot"
        path, _ = QFileDialog.getSaveFileName(self, "Export", f"{title}.{ending}", f"{ending.upper()} (*.{ending})")
        if not path:
            return
        path = path if Path(path).suffix else f"{path}.{ending}"
        try:
            self.save_csv(path) if ending == "csv" else self.save_image(path)
        except OSError as error:
            self._message.show_message(Message("error", f"The plot was not exported: {error}"))
        else:
            self._message.show_message(Message("info", f"Exported to {path}"))
