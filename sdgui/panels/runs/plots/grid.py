"""A grid of plots, one per metric, with the curves of several runs: one toolbar, one legend, linked x axes.

Flow: the Runs panel adds runs (``set_run``) and their points; cards are laid out by section in as many columns as fit.
A canvas is created when its card becomes visible, one at a time, so that opening never blocks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import ArrayLike
from PySide6.QtCore import QPoint, Qt, QTimer, Signal
from PySide6.QtGui import QKeySequence, QShortcut
from PySide6.QtWidgets import QSplitter, QStackedWidget, QWidget

from sdgui.panels.runs.plots.arrangement import Arrangement
from sdgui.panels.runs.plots.canvas import PlotCanvas
from sdgui.panels.runs.plots.card import PlotCard
from sdgui.panels.runs.plots.card_menu import add_arrangement_entries
from sdgui.panels.runs.plots.charts import (
    ancestors_key,
    chart_of,
    curve_key,
    curve_name,
    is_ancestors_key,
    role_of,
    sort_charts,
)
from sdgui.panels.runs.plots.export import ShownPlots, ask_and_export, legend_of
from sdgui.panels.runs.plots.grouping import Grouping
from sdgui.panels.runs.plots.legend import PlotLegend
from sdgui.panels.runs.plots.page import CardSection, PlotPage
from sdgui.panels.runs.plots.series import Series
from sdgui.panels.runs.plots.toolbar import PlotToolbar
from sdgui.widgets.empty_state import EmptyState
from sdgui.widgets.layouts.boxes import vbox
from sdgui.widgets.message_bar import MessageBar
from sdgui.widgets.style.theme import SPACE

_ABOUT = "Select runs to compare their curves."


class PlotGrid(QWidget):
    """The grid. Metrics have the names used in events (``train/loss``, ``val/student/image_to_text_R@1``).

    Student and teacher of a metric share a plot (teacher dashed). Ctrl+wheel zooms the x axes, L toggles the log scale,
    R or double click shows everything, Esc restores a maximised plot.
    """

    arranged = Signal(object)  # Arrangement

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._runs: dict[str, tuple[str, int, bool]] = {}  # key -> name, palette index, shown
        self._cards: dict[str, PlotCard] = {}  # chart id -> card
        self._maximized: str | None = None
        self._chosen_x_range: tuple[float, float] | None = None  # x range that the user chose; None: all data
        self._arrangement = Arrangement()
        self.toolbar = PlotToolbar(self)
        self.message = MessageBar(self)
        self._split = QSplitter(Qt.Orientation.Horizontal, self)
        self._stack = QStackedWidget(self._split)
        self.legend = PlotLegend(self._split)
        self.grouping = Grouping(self.toolbar, self.legend, self._cards, self._runs, self)
        self.page = PlotPage(self._stack)
        self.empty = EmptyState("ph.chart-line", "Nothing to plot yet", _ABOUT, parent=self._stack)
        self._maximized_page = QWidget(self._stack)
        self._maximized_layout = vbox(into=self._maximized_page)
        self._place_widgets()
        self._connect()

    def _place_widgets(self) -> None:
        for widget in (self.empty, self.page, self._maximized_page):
            self._stack.addWidget(widget)
        self._split.setStretchFactor(0, 1)
        self._split.setSizes([120 * SPACE, 26 * SPACE])
        vbox(self.toolbar, self.message, (self._split, 1), into=self)

    def _connect(self) -> None:
        self.toolbar.smoothing_changed.connect(self._set_smoothing)
        self.toolbar.log_changed.connect(self._set_log)
        self.toolbar.x_mode_changed.connect(self._set_x_mode)
        self.toolbar.reset_requested.connect(self.reset_view)
        self.toolbar.is_available = lambda export: (
            any(card.visible_series() for card in self._cards.values())
            if export.name == "csv"
            else bool(self.drawn_cards())
        )
        self.toolbar.export_requested.connect(
            lambda export: ask_and_export(export, self.plots_to_export(), self, self.message)
        )
        self.legend.hovered.connect(self._highlight)
        self.legend.toggled.connect(self._on_toggled)
        self.legend.soloed.connect(self._show_only)
        self.page.card_seen.connect(self._prepare_canvas)
        self.page.folded.connect(lambda title: self.arrange(self._arrangement.fold(title)))
        self.toolbar.searched.connect(lambda text: self.arrange(replace(self._arrangement, search=text)))
        for key, slot in (("L", self.toolbar.log.toggle), ("R", self.reset_view), ("Esc", lambda: self.maximize(None))):
            shortcut = QShortcut(QKeySequence(key), self)
            shortcut.setContext(Qt.ShortcutContext.WidgetWithChildrenShortcut)
            shortcut.activated.connect(slot)
        self._pinned: float | None = None  # step of the crosshair
        self._x_range_timer = QTimer(self, singleShot=True, interval=0)
        self._x_range_timer.timeout.connect(self._share_x_range)

    # --- data

    def set_metrics(self, names: Sequence[str]) -> None:
        """Set which metrics have a plot; points of a new metric add a plot."""
        charts = {chart_of(name) for name in names}
        for chart_id in set(self._cards) - {chart.id for chart in charts}:
            self._remove_card(chart_id)
        for name in names:
            self._card(name)
        self._show_page()

    def set_run(self, key: str, name: str, color: int = 0) -> None:
        """Add a run or rename it; ``color`` is its palette index. Curves of an `ancestors_key` are drawn paler."""
        visible = self._runs[key][2] if key in self._runs else True
        self._runs[key] = (name, color, visible)
        if self.grouping.is_active:
            self.grouping.schedule_update()
        else:
            self.legend.set_entry(key, name, color)
        for card in self._cards.values():
            for series in card.series.values():
                if series.group == key:
                    series.color, series.name = color, curve_name(name, series.key)
            if card.canvas is not None:
                card.canvas.refresh()
        self._show_page()

    def set_points(self, key: str, metric: str, x: ArrayLike, y: ArrayLike, times: ArrayLike | None = None) -> None:
        """Replace the points of a run's metric. Raises KeyError if ``set_run`` did not add the run."""
        self._series_of(key, metric).replace(x, y, times)
        self._on_points_changed(metric)

    def append(self, key: str, metric: str, x: ArrayLike, y: ArrayLike, times: ArrayLike | None = None) -> None:
        """Append points (scalars or arrays) to a run's metric. Raises KeyError if ``set_run`` did not add the run."""
        self._series_of(key, metric).append(x, y, times)
        self._on_points_changed(metric)

    def remove_run(self, key: str) -> None:
        """Remove a run and its points, if present."""
        if self._runs.pop(key, None) is not None:
            self.legend.remove(key)
            for card in self._cards.values():
                card.remove_group(key)
            self._x_range_timer.start()
            self._show_page()

    def runs(self) -> list[str]:
        """Keys of the runs in the order of adding."""
        return list(self._runs)

    def metrics(self) -> list[str]:
        """Ids of the plots in order."""
        return [chart.id for chart in sort_charts(card.chart for card in self._cards.values())]

    def points(self, key: str, metric: str) -> tuple[np.ndarray, np.ndarray]:
        """Steps and raw values of a run's metric; empty if there are no points."""
        card = self._cards.get(chart_of(metric).id)
        series = card.series.get(curve_key(key, metric)) if card is not None else None
        return (series.steps, series.values) if series is not None else (np.empty(0), np.empty(0))

    def set_run_visible(self, key: str, visible: bool) -> None:
        """Show or hide a run in all plots; the run stays in the legend."""
        name, color, _ = self._runs[key]
        self._runs[key] = (name, color, visible)
        self.legend.set_shown(key, visible)
        for card in self._cards.values():
            for series in card.series.values():
                series.visible = series.visible if series.group != key else visible
            card.refresh()
        self.grouping.schedule_update()
        self._x_range_timer.start()

    # --- view

    def reset_view(self) -> None:
        """Show everything and follow new points."""
        self._chosen_x_range = None
        for canvas in self._canvases():
            canvas.follow()
        self.toolbar.reset.setEnabled(False)

    def maximize(self, metric: str | None) -> None:
        """Show only one metric's plot; None restores the grid."""
        if self._maximized is not None:
            card = self._cards[self._maximized]
            card.set_maximized(False)
            self._maximized = None
            self._lay_out()
        if metric is not None and (card_id := chart_of(metric).id) in self._cards:
            self._maximized = card_id
            card = self._cards[card_id]
            self._prepare_canvas(card)
            card.set_maximized(True)
            self._maximized_layout.addWidget(card)
            card.show()
        self._show_page()

    # --- internals

    def _canvases(self) -> list[PlotCanvas]:
        return [card.canvas for card in self._cards.values() if card.canvas is not None]

    def _series_of(self, key: str, metric: str) -> Series:
        name, color, visible = self._runs[key]
        card = self._card(metric)
        curve = curve_key(key, metric)
        if curve not in card.series:
            dash = Qt.PenStyle.DashLine if role_of(metric) == "teacher" else Qt.PenStyle.SolidLine
            series = Series(curve, curve_name(name, curve), color, dash, key, card.chart.title)
            series.set_weight(self.toolbar.weight if card.chart.smoothable else 0.0)
            series.visible, series.is_ancestral = visible, is_ancestors_key(key)
            card.put(series)
        return card.series[curve]

    def _card(self, metric: str) -> PlotCard:
        chart = chart_of(metric)
        if chart.id not in self._cards:
            card = PlotCard(chart)
            card.maximize_requested.connect(
                lambda chart_id: self.maximize(None if self._maximized == chart_id else chart_id)
            )
            card.menu_requested.connect(self._open_menu)
            card.pin_requested.connect(lambda chart_id: self.arrange(self._arrangement.pin(chart_id)))
            self._cards[chart.id] = card
            self._lay_out()
            self._show_page()
        return self._cards[chart.id]

    def _remove_card(self, card_id: str) -> None:
        if self._maximized == card_id:
            self.maximize(None)
        card = self._cards.pop(card_id)
        card.set_guests([])
        self._lay_out()
        card.setParent(None)
        card.deleteLater()

    def _lay_out(self) -> None:
        for card_id, card in self._cards.items():
            guests = [self._cards[guest] for guest in self._arrangement.guests(card_id) if guest in self._cards]
            card.set_guests(guests)
            card.set_y_range(self._arrangement.ranges.get(card_id))
        cards = [card for card in self._cards.values() if card.host is None and card.chart.id != self._maximized]
        charts = [replace(card.chart, title=card.title) for card in cards]
        sections = []
        for section in self._arrangement.sections(charts):
            cards = [self._cards[chart.id] for chart in section.charts]
            sections.append(CardSection(section.title, cards, section.folded, section.large))
            for card in cards:
                card.set_pinned(card.chart.id in self._arrangement.pinned)
        self.page.set_sections(sections)

    def arrange(self, arrangement: Arrangement) -> None:
        """Apply a new arrangement: pinned, folded and combined plots, search, ranges."""
        self._arrangement = arrangement
        self._lay_out()
        self.arranged.emit(arrangement)

    def _show_page(self) -> None:
        page = (
            self._maximized_page
            if self._maximized is not None
            else self.page
            if self._cards and self._runs
            else self.empty
        )
        self._stack.setCurrentWidget(page)

    def _prepare_canvas(self, card: PlotCard) -> None:
        if card.canvas is not None:
            card.canvas.wake()
            return
        canvas = card.make_canvas()
        canvas.set_log(self.toolbar.log.isChecked())
        canvas.set_smooth(self.toolbar.weight > 0 and card.chart.smoothable)
        canvas.set_x_mode(self.toolbar.mode)
        canvas.view_changed.connect(lambda low, high: self._on_view_changed(canvas, low, high))
        canvas.hovered.connect(lambda x: self._on_hovered(canvas, x))
        canvas.reset_requested.connect(self.reset_view)
        canvas.zoomed.connect(self._on_zoomed)
        if self._chosen_x_range is not None:
            canvas.show_x(*self._chosen_x_range)
        canvas.show_cross(self._pinned)
        self._x_range_timer.start()

    def _on_zoomed(self, zoomed: bool) -> None:
        self.toolbar.reset.setEnabled(zoomed or self.toolbar.reset.isEnabled())

    def _on_view_changed(self, source: object, low: float, high: float) -> None:
        self._chosen_x_range = (low, high)
        for canvas in self._canvases():
            if canvas is not source:
                canvas.show_x(low, high)

    def _on_hovered(self, source: object, x: float | None) -> None:
        for canvas in self._canvases():
            if x is None or canvas is not source:
                canvas.show_cross(self._pinned if x is None else x)

    def pin_step(self, step: int | None) -> None:
        """Show the crosshair at ``step`` unless the mouse is over a plot; hidden for None and on a time axis."""
        self._pinned = None if step is None or self.toolbar.mode == "time" else float(step)
        self._on_hovered(None, None)

    def _on_points_changed(self, metric: str) -> None:
        self.grouping.schedule_update()
        self._cards[chart_of(metric).id].refresh()
        if not self._x_range_timer.isActive():
            self._x_range_timer.start()

    def _share_x_range(self) -> None:
        ends = [
            (x[0], x[-1])
            for card in self._cards.values()
            for series in card.series.values()
            if series.visible and len(x := series.x(self.toolbar.mode))
        ]
        x_range = (float(np.min([e[0] for e in ends])), float(np.max([e[1] for e in ends]))) if ends else None
        for canvas in self._canvases():
            canvas.set_shared_x_range(x_range)

    def _set_smoothing(self, weight: float) -> None:
        for card in self._cards.values():
            if not card.chart.smoothable:
                continue
            for series in card.series.values():
                series.set_weight(weight)
            if card.canvas is not None:
                card.canvas.set_smooth(weight > 0)

    def _set_log(self, log: bool) -> None:
        for canvas in self._canvases():
            canvas.set_log(log)

    def _set_x_mode(self) -> None:
        self._chosen_x_range = None
        for canvas in self._canvases():
            canvas.set_x_mode(self.toolbar.mode)
        self._share_x_range()

    def _highlight(self, key: str) -> None:
        for canvas in self._canvases():
            canvas.highlight(key)

    def _on_toggled(self, key: str, visible: bool) -> None:
        for run in self.grouping.members(key):
            self.set_run_visible(run, visible)

    def _show_only(self, key: str) -> None:
        """Show only the runs of a legend entry with their ancestors; if that is already so, show all runs."""
        soloed = set(self.grouping.members(key))
        soloed |= {ancestors_key(run) for run in soloed}
        is_solo = all(visible == (run in soloed) for run, (_, _, visible) in self._runs.items())
        for run in self.runs():
            self.set_run_visible(run, is_solo or run in soloed)

    def _open_menu(self, card_id: str, point: QPoint) -> None:
        menu, chart = self.toolbar.export_menu(), self._cards[card_id].chart
        menu.addSeparator()
        others = [other.chart for other in self.page.cards()]
        add_arrangement_entries(menu, chart, others, self._arrangement, self.arrange, self.message)
        menu.addAction("Maximise").triggered.connect(lambda: self.maximize(card_id))
        menu.addAction("Show all").triggered.connect(self.reset_view)
        menu.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        menu.popup(point)

    def drawn_cards(self) -> list[PlotCard]:
        """The maximised plot, or all plots in unfolded sections, if they have points."""
        cards = [self._cards[self._maximized]] if self._maximized is not None else self.page.cards()
        return [card for card in cards if card.visible_series()]

    def plots_to_export(self) -> ShownPlots:
        """The plots and curves to export."""
        rows = [(card_id, series) for card_id in self.metrics() for series in self._cards[card_id].series.values()]
        cards = self.drawn_cards()
        for card in cards:
            self._prepare_canvas(card)
        self._share_x_range()
        frames = [(card.title, card.make_canvas()) for card in cards]
        legend = legend_of(self.legend.shown_entries(), [series for card in cards for series in card.visible_series()])
        return ShownPlots([(card_id, series) for card_id, series in rows if series.visible], frames, legend)
