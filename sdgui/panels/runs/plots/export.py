"""Exports plots as PNG, SVG or PDF, and all points as CSV.

Flow: the grid's ``ShownPlots`` -> ``Figure``, which lays out frames and legend -> the same painting for each format.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from PySide6.QtCore import QBuffer, QByteArray, QLineF, QMarginsF, QPointF, QRectF, QSizeF, Qt
from PySide6.QtGui import QColor, QFontMetricsF, QImage, QImageWriter, QPageSize, QPainter, QPdfWriter, QPen
from PySide6.QtSvg import QSvgGenerator
from PySide6.QtWidgets import QWidget

from core.spec.cells import escape_row
from core.spec.files import write_whole
from sdgui.panels.runs.plots.canvas import PlotCanvas
from sdgui.panels.runs.plots.charts import is_ancestors_key
from sdgui.panels.runs.plots.series import Series, pale
from sdgui.shared.export.formats import ExportFormat
from sdgui.widgets.file_dialogs import ask_save
from sdgui.widgets.message import error, info
from sdgui.widgets.message_bar import MessageBar
from sdgui.widgets.style.theme import SPACE, theme

_PNG_SCALE = 2.0  # PNG pixels per screen pixel
_LEGEND_LINE = 3 * SPACE  # length of a line in the legend, in px


@dataclass(frozen=True)
class LegendEntry:
    name: str
    color: QColor
    dashed: bool = False


@dataclass(frozen=True)
class ShownPlots:
    """The shown plots: the maximised plot, or all plots that have points."""

    curves: Sequence[tuple[str, Series]]  # metric, visible curve
    frames: Sequence[tuple[str, PlotCanvas]]  # title, plot
    legend: Sequence[LegendEntry]


def legend_of(runs: Mapping[str, tuple[str, int]], series: Sequence[Series]) -> list[LegendEntry]:
    """One entry per run or group (name, palette index); with dashed ``series``, also the meaning of the line styles."""
    colors = {key: theme().run_color(color) for key, (_, color) in runs.items()}
    entries = [
        LegendEntry(runs[key][0], pale(color) if is_ancestors_key(key) else color) for key, color in colors.items()
    ]
    if any(curve.style == Qt.PenStyle.DashLine for curve in series):
        ink = theme().color("muted")
        entries += [LegendEntry("student", ink), LegendEntry("teacher", ink, dashed=True)]
    return entries


class Figure:
    """The layout: titled plots in rows above one legend. Sizes in screen pixels."""

    def __init__(self, plots: ShownPlots) -> None:
        self._legend, self._frames = plots.legend, plots.frames
        self._font, self._title_font = theme().font(), theme().font("title")
        self._line_height = QFontMetricsF(self._font).height() + SPACE / 2
        self._title_height = QFontMetricsF(self._title_font).height() + SPACE
        areas = self._areas = [canvas.area().size() for _, canvas in plots.frames]
        self._columns = math.ceil(math.sqrt(len(areas)))
        max_height = max(area.height() for area in areas)
        self._cell = QSizeF(max(area.width() for area in areas), self._title_height + max_height)
        self._width = 2 * SPACE + self._columns * self._cell.width()
        rows = math.ceil(len(areas) / self._columns)
        self._legend_top = SPACE + rows * self._cell.height()
        self._legend_rects = self._place_legend()
        bottom = max((rect.bottom() for rect in self._legend_rects), default=self._legend_top)
        self.size = QSizeF(math.ceil(self._width), math.ceil(bottom + SPACE))

    def _place_legend(self) -> list[QRectF]:
        """The rectangle of each legend entry, in as many lines as needed."""
        metrics, x, y = QFontMetricsF(self._font), float(SPACE), self._legend_top + SPACE
        rects = []
        for entry in self._legend:
            width = min(_LEGEND_LINE + SPACE + metrics.horizontalAdvance(entry.name), self._width - 2 * SPACE)
            if x > SPACE and x + width > self._width - SPACE:
                x, y = float(SPACE), y + self._line_height
            rects.append(QRectF(x, y, width, self._line_height))
            x += width + 3 * SPACE
        return rects

    def paint(self, painter: QPainter) -> None:
        """Draw the figure from (0, 0) to ``size``."""
        style = theme()
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.fillRect(QRectF(0, 0, self.size.width(), self.size.height()), style.color("surface"))
        for number, (title, canvas) in enumerate(self._frames):
            row, column = divmod(number, self._columns)
            cell = QRectF(SPACE + column * self._cell.width(), SPACE + row * self._cell.height(), 0, 0)
            cell.setSize(self._cell)
            title_rect = QRectF(cell.x() + SPACE, cell.y(), cell.width() - SPACE, self._title_height)
            self._draw_title(painter, title, canvas.note(), title_rect)
            painter.save()
            canvas.draw_onto(painter, QRectF(QPointF(cell.x(), cell.y() + self._title_height), self._areas[number]))
            painter.restore()
        for entry, rect in zip(self._legend, self._legend_rects, strict=True):
            pen = QPen(entry.color, 2, Qt.PenStyle.DashLine if entry.dashed else Qt.PenStyle.SolidLine)
            painter.setPen(pen)
            painter.drawLine(QLineF(rect.x(), rect.center().y(), rect.x() + _LEGEND_LINE, rect.center().y()))
            painter.setFont(self._font)
            painter.setPen(style.color("text"))
            metrics, room = QFontMetricsF(self._font), rect.adjusted(_LEGEND_LINE + SPACE, 0, SPACE, 0)
            name = metrics.elidedText(entry.name, Qt.TextElideMode.ElideMiddle, room.width())
            painter.drawText(room, int(Qt.AlignmentFlag.AlignVCenter | Qt.AlignmentFlag.AlignLeft), name)

    def _draw_title(self, painter: QPainter, title: str, note: str, rect: QRectF) -> None:
        painter.setFont(self._title_font)
        painter.setPen(theme().color("text"))
        painter.drawText(rect, int(Qt.AlignmentFlag.AlignVCenter | Qt.AlignmentFlag.AlignLeft), title)
        painter.setFont(theme().font("small"))
        painter.setPen(theme().color("muted"))
        painter.drawText(rect, int(Qt.AlignmentFlag.AlignVCenter | Qt.AlignmentFlag.AlignRight), note)


def save_figure(plots: ShownPlots, path: str, kind: Literal["png", "svg", "pdf"]) -> None:
    """Write the plots with titles and a legend. Raises OSError if the file cannot be written."""
    figure, buffer = Figure(plots), QBuffer()
    buffer.open(QBuffer.OpenModeFlag.WriteOnly)
    resolution = plots.frames[0][1].logicalDpiX()  # the screen's, so that fonts in points match lengths in pixels
    {"png": _paint_png, "svg": _paint_svg, "pdf": _paint_pdf}[kind](figure, buffer, resolution)
    write_whole(Path(path), bytes(buffer.data().data()))


def _paint_png(figure: Figure, buffer: QBuffer, resolution: int) -> None:
    image = QImage((figure.size * _PNG_SCALE).toSize(), QImage.Format.Format_ARGB32_Premultiplied)
    if image.isNull():
        raise OSError("the image would be too large; fold some sections, or export as SVG or PDF")
    image.setDotsPerMeterX(round(resolution / 0.0254))
    image.setDotsPerMeterY(round(resolution / 0.0254))
    image.setDevicePixelRatio(_PNG_SCALE)
    _paint(figure, image)
    writer = QImageWriter(buffer, QByteArray(b"png"))
    if not writer.write(image):
        raise OSError(f"the image cannot be encoded: {writer.errorString()}")


def _paint_svg(figure: Figure, buffer: QBuffer, resolution: int) -> None:
    generator = QSvgGenerator()
    generator.setOutputDevice(buffer)
    generator.setResolution(resolution)
    generator.setSize(figure.size.toSize())
    generator.setViewBox(QRectF(0, 0, figure.size.width(), figure.size.height()))
    generator.setTitle("Plots")
    _paint(figure, generator)


def _paint_pdf(figure: Figure, buffer: QBuffer, resolution: int) -> None:
    writer = QPdfWriter(buffer)
    writer.setResolution(resolution)
    points = figure.size * (72 / resolution)
    writer.setPageSize(QPageSize(points, QPageSize.Unit.Point, "", QPageSize.SizeMatchPolicy.ExactMatch))
    writer.setPageMargins(QMarginsF())
    writer.setTitle("Plots")
    _paint(figure, writer)


def _paint(figure: Figure, device: QImage | QSvgGenerator | QPdfWriter) -> None:
    painter = QPainter(device)
    try:
        figure.paint(painter)
    finally:
        painter.end()


def save_csv(series: Iterable[tuple[str, Series]], path: str) -> None:
    """Write one row per point: curve, metric, step, time (s since the start), value, smoothed value."""
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(["curve", "metric", "step", "time", "value", "smoothed"])
    for metric, curve in series:
        size = curve.size_without_joint
        columns = [column[:size].tolist() for column in (curve.steps, curve.times, curve.values, curve.smoothed)]
        for step, seconds, value, smooth in zip(*columns, strict=True):
            numbers = (_number(step), "" if math.isnan(seconds) else seconds, value, smooth)
            writer.writerow(escape_row([curve.name, metric, *numbers]))
    write_whole(Path(path), text.getvalue().encode())


def _number(step: float) -> int | float:
    return int(step) if step == int(step) else step


WritePlots = Callable[[ShownPlots, str], None]
_TIP = "The maximised plot, or all plots, with a legend"


def _figure_format(kind: Literal["png", "svg", "pdf"], title: str) -> ExportFormat[WritePlots]:
    return ExportFormat(
        kind, title, _TIP, lambda plots, path: save_figure(plots, path, kind), kind.upper(), f".{kind}", "curves"
    )


PLOT_FORMATS: tuple[ExportFormat[WritePlots], ...] = (
    _figure_format("png", "Image (PNG)…"),
    _figure_format("svg", "Drawing (SVG)…"),
    _figure_format("pdf", "Document (PDF)…"),
    ExportFormat(
        "csv",
        "All points (CSV)…",
        "One row per point of the visible curves",
        lambda plots, path: save_csv(plots.curves, path),
        "CSV",
        ".csv",
        "curves",
    ),
)


def ask_and_export(export: ExportFormat[WritePlots], plots: ShownPlots, parent: QWidget, message: MessageBar) -> None:
    """Ask for a file and export the plots; ``message`` shows the outcome."""
    target = ask_save(parent, "Export", export.file_name, export.filter, export.suffix)
    if target is None:
        return
    try:
        if target.problem:
            raise OSError(target.problem)
        export.write(plots, str(target.path))
    except OSError as problem:
        message.show_message(error(f"Export failed: {problem}"))
    else:
        message.show_message(info(f"Exported to {target.path}"))
