"""The readout next to the mouse on a plot: the step and the value of every curve at this step."""

from __future__ import annotations

import html
from dataclasses import dataclass

from PySide6.QtCore import QPoint, QRect, QSize, Qt
from PySide6.QtGui import QColor
from PySide6.QtWidgets import QLabel, QWidget

from sdgui.panels.runs.plots.series import XMode
from sdgui.widgets import formats
from sdgui.widgets.plot_axes import AxisKind
from sdgui.widgets.style.theme import SPACE, theme

_MAX_ROWS = 14  # further curves are only counted


@dataclass(frozen=True)
class Reading:
    """A point of a curve. ``x``: its position; ``value``: raw; ``smooth``: smoothed value, None if not smoothed."""

    name: str
    color: QColor
    x: float
    value: float
    smooth: float | None
    highlighted: bool = False


class Readout(QLabel):
    """The box of values, next to its plot if the window has room, otherwise in a corner away from the mouse."""

    def __init__(self, parent: QWidget) -> None:
        super().__init__(parent)
        self._plot = parent
        self.setTextFormat(Qt.TextFormat.RichText)
        self.setAttribute(Qt.WidgetAttribute.WA_TransparentForMouseEvents)
        self.hide()

    def restyle(self) -> None:
        colors = theme().colors
        self.setFont(theme().font("small"))
        self.setStyleSheet(
            f"background: {colors.raised}; color: {colors.text}; border: 1px solid {colors.border};"
            f"border-radius: 6px; padding: {SPACE // 2}px {SPACE}px;"
        )

    def show_readings(self, mode: XMode, x: float, readings: list[Reading], kind: AxisKind, mouse: QPoint) -> None:
        """Show ``readings`` at ``x`` next to ``mouse``; hide the box if there are none."""
        if not readings:
            self.hide()
            return
        nearest = min(readings, key=lambda reading: abs(reading.x - x)).x
        rows = "".join(_row(reading, mode, nearest, kind) for reading in readings[:_MAX_ROWS])
        remainder = (
            f"<tr><td></td><td colspan=3>and {len(readings) - _MAX_ROWS} more</td></tr>"
            if len(readings) > _MAX_ROWS
            else ""
        )
        self.setText(
            f"<b>{position_text(mode, nearest)}</b><table cellspacing=0 cellpadding=1>{rows}{remainder}</table>"
        )
        self.adjustSize()
        self._move_next_to(mouse)
        self.show()
        self.raise_()

    def _move_next_to(self, mouse: QPoint) -> None:
        window = self._plot.window()
        if self.parent() is not window:
            self.setParent(window)
        plot = QRect(self._plot.mapTo(window, QPoint(0, 0)), self._plot.size())
        self.move(position_next_to(plot, self.size(), window.rect(), plot.topLeft() + mouse))


def position_next_to(plot: QRect, size: QSize, room: QRect, mouse: QPoint) -> QPoint:
    """The position of a box: right, left, above or below ``plot`` within ``room``, otherwise a far corner."""
    y = max(room.top(), min(mouse.y() - size.height() // 2, room.bottom() - size.height()))
    x = max(room.left(), min(mouse.x() - size.width() // 2, room.right() - size.width()))
    places = (
        QPoint(plot.right() + SPACE, y),
        QPoint(plot.left() - SPACE - size.width(), y),
        QPoint(x, plot.top() - SPACE - size.height()),
        QPoint(x, plot.bottom() + SPACE),
    )
    for place in places:
        if room.contains(QRect(place, size)):
            return place
    is_mouse_left = mouse.x() < plot.center().x()
    x = plot.right() - size.width() - SPACE if is_mouse_left else plot.left() + 8 * SPACE
    return QPoint(x, plot.top() + SPACE)


def position_text(mode: XMode, x: float) -> str:
    """An x value as text, such as ``step 1 200`` or ``after 1:10``."""
    return f"after {formats.clock(x)}" if mode == "time" else f"step {formats.count(x)}"


def _row(reading: Reading, mode: XMode, nearest: float, kind: AxisKind) -> str:
    """A row of the readout as HTML; it names its position if that is not ``nearest``, the position in the heading."""
    unit = "%" if kind == "share" else ""
    raw = formats.value(reading.value, unit)
    main = raw if reading.smooth is None else formats.value(reading.smooth, unit)
    raw_text = "" if reading.smooth is None else f"&nbsp;({raw})"
    if reading.x != nearest:
        raw_text += f"&nbsp;<i>{position_text(mode, reading.x)}</i>"
    name = html.escape(reading.name if len(reading.name) <= 40 else reading.name[:39] + "…")
    name = f"<b>{name}</b>" if reading.highlighted else name
    muted = theme().colors.muted
    return (
        f"<tr><td><span style='color:{reading.color.name()}'>■</span></td><td>{name}&nbsp;&nbsp;</td>"
        f"<td align=right>{main}</td><td style='color:{muted}'>{raw_text}</td></tr>"
    )
