"""The box beside the mouse on a plot: the step, and the value of every curve there."""

from __future__ import annotations

import html
from dataclasses import dataclass

from PySide6.QtCore import QPoint, Qt
from PySide6.QtGui import QColor
from PySide6.QtWidgets import QLabel, QWidget

from sdgui.panels.runs.plots.series import XMode
from sdgui.widgets import formats
from sdgui.widgets.plot_axes import AxisKind
from sdgui.widgets.style.theme import SPACE, theme

_MOST = 14  # rows; the rest is counted


@dataclass(frozen=True)
class Reading:
    """One curve's point: ``at`` its own x, ``value`` raw, ``smooth`` where an average is drawn."""

    name: str
    color: QColor
    at: float
    value: float
    smooth: float | None
    lifted: bool = False


class Readout(QLabel):
    """Moves with the mouse and stays inside its plot."""

    def __init__(self, parent: QWidget) -> None:
        super().__init__(parent)
        self._plot = parent
        self.setTextFormat(Qt.TextFormat.RichText)
        self.setAttribute(Qt.WidgetAttribute.WA_TransparentForMouseEvents)
        self.hide()

    def restyle(self) -> None:
        """Take the theme's colours."""
        colors = theme().colors
        self.setFont(theme().font("small"))
        self.setStyleSheet(
            f"background: {colors.raised}; color: {colors.text}; border: 1px solid {colors.border};"
            f"border-radius: 6px; padding: {SPACE // 2}px {SPACE}px;"
        )

    def show_readings(self, mode: XMode, x: float, readings: list[Reading], kind: AxisKind, mouse: QPoint) -> None:
        """Show ``readings`` at ``x`` beside ``mouse``; nothing when there are none."""
        if not readings:
            self.hide()
            return
        nearest = min(readings, key=lambda reading: abs(reading.at - x)).at
        rows = "".join(_row(reading, mode, nearest, kind) for reading in readings[:_MOST])
        more = f"<tr><td></td><td colspan=3>and {len(readings) - _MOST} more</td></tr>" if len(readings) > _MOST else ""
        self.setText(f"<b>{where(mode, nearest)}</b><table cellspacing=0 cellpadding=1>{rows}{more}</table>")
        self.adjustSize()
        self._place(mouse)
        self.show()
        self.raise_()

    def _place(self, mouse: QPoint) -> None:
        room = self._plot.rect()
        x = mouse.x() + 2 * SPACE
        if x + self.width() > room.width():
            x = mouse.x() - 2 * SPACE - self.width()
        y = min(mouse.y() + SPACE, room.height() - self.height())
        self.move(max(0, x), max(0, y))


def where(mode: XMode, x: float) -> str:
    """``step 1 200`` or ``after 1:10``."""
    return f"after {formats.clock(x)}" if mode == "time" else f"step {formats.count(x)}"


def _row(reading: Reading, mode: XMode, nearest: float, kind: AxisKind) -> str:
    unit = "%" if kind == "share" else ""
    raw = formats.value(reading.value, unit)
    main = raw if reading.smooth is None else formats.value(reading.smooth, unit)
    beside = "" if reading.smooth is None else f"&nbsp;({raw})"
    if reading.at != nearest:
        beside += f"&nbsp;<i>{where(mode, reading.at)}</i>"
    name = html.escape(reading.name if len(reading.name) <= 40 else reading.name[:39] + "…")
    name = f"<b>{name}</b>" if reading.lifted else name
    muted = theme().colors.muted
    return (
        f"<tr><td><span style='color:{reading.color.name()}'>■</span></td><td>{name}&nbsp;&nbsp;</td>"
        f"<td align=right>{main}</td><td style='color:{muted}'>{beside}</td></tr>"
    )
