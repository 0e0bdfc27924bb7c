"""Export of plots: pictures as PNG or SVG, and all points as CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from PySide6.QtCore import QBuffer, QByteArray, QRectF
from PySide6.QtGui import QImage, QImageWriter, QPainter
from PySide6.QtSvg import QSvgGenerator
from PySide6.QtWidgets import QWidget

from core.spec.cells import marked_row
from core.spec.files import write_whole
from sdgui.panels.runs.plots.canvas import PlotCanvas
from sdgui.panels.runs.plots.series import Series
from sdgui.shared.export.formats import ExportFormat
from sdgui.widgets.style.theme import theme


def save_png(widget: QWidget, path: str, ratio: float = 2.0) -> None:
    """What ``widget`` shows, at ``ratio`` pixels each; OSError when the file cannot be written."""
    image = QImage(widget.size() * ratio, QImage.Format.Format_ARGB32_Premultiplied)
    image.setDevicePixelRatio(ratio)
    image.fill(theme().color("surface"))
    widget.render(image)
    buffer = QBuffer()
    buffer.open(QBuffer.OpenModeFlag.WriteOnly)
    writer = QImageWriter(buffer, QByteArray(b"png"))
    if not writer.write(image):
        raise OSError(f"cannot write the picture {path}: {writer.errorString()}")
    write_whole(Path(path), bytes(buffer.data().data()))


def save_svg(canvas: PlotCanvas, path: str) -> None:
    """The plot as vectors; OSError when the file cannot be written."""
    scene = canvas.scene()
    area = QRectF(scene.views()[0].viewport().rect())
    buffer = QBuffer()
    buffer.open(QBuffer.OpenModeFlag.WriteOnly)
    generator = QSvgGenerator()
    generator.setOutputDevice(buffer)
    generator.setSize(area.size().toSize())
    generator.setViewBox(area)
    generator.setTitle("Plot")
    painter = QPainter()
    if not painter.begin(generator):
        raise OSError(f"cannot write the SVG {path}: check that its folder exists and is writable")
    painter.fillRect(area, theme().color("surface"))
    scene.render(painter, area, area)
    painter.end()
    write_whole(Path(path), bytes(buffer.data().data()))


def save_csv(series: Iterable[tuple[str, Series]], path: str) -> None:
    """One row for each point: curve, metric, step, time (seconds since the run started), value, smoothed value."""
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(["curve", "metric", "step", "time", "value", "smoothed"])
    for metric, one in series:
        columns = (one.steps.tolist(), one.times.tolist(), one.values.tolist(), one.smoothed.tolist())
        for step, when, value, smooth in zip(*columns, strict=True):
            numbers = (_number(step), "" if when != when else when, value, smooth)
            writer.writerow(marked_row([one.name, metric, *numbers]))
    write_whole(Path(path), text.getvalue().encode())


def _number(step: float) -> int | float:
    return int(step) if step == int(step) else step


@dataclass(frozen=True)
class ShownPlots:
    """The plots that are on screen."""

    curves: Sequence[tuple[str, Series]]  # metric and curve, the visible ones
    widget: QWidget  # of the maximised plot, or of all
    canvas: PlotCanvas | None  # of the maximised plot

    def save_drawing(self, path: str) -> None:
        """The maximised plot as SVG; OSError when there is none, or the file cannot be written."""
        if self.canvas is None:
            raise OSError("an SVG shows one plot; maximise one first")
        save_svg(self.canvas, path)


WritePlots = Callable[[ShownPlots, str], None]
PLOT_FORMATS: tuple[ExportFormat[WritePlots], ...] = (
    ExportFormat(
        "png",
        "Picture (PNG) …",
        "The maximised plot, or all of them, at two pixels for one",
        lambda shown, path: save_png(shown.widget, path),
        "PNG",
        ".png",
        "curves",
    ),
    ExportFormat("svg", "Drawing (SVG) …", "The maximised plot", ShownPlots.save_drawing, "SVG", ".svg", "curves"),
    ExportFormat(
        "csv",
        "All points (CSV) …",
        "A row for each point of the visible curves",
        lambda shown, path: save_csv(shown.curves, path),
        "CSV",
        ".csv",
        "curves",
    ),
)
