"""Exported figures, read back: curves against ticks, which plots are there, the legend, what is offered."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PySide6.QtCore import QRect
from PySide6.QtGui import QColor, QImage
from pytestqt.qtbot import QtBot

from sdgui.panels.runs.plots.canvas import PlotCanvas
from sdgui.panels.runs.plots.export import Figure, LegendEntry, ShownPlots, save_figure
from sdgui.panels.runs.plots.grid import PlotGrid
from sdgui.panels.runs.plots.series import Series

Point = tuple[float, float]
RED = QColor("#ff0000")
STEPS, VALUES = [10.0, 20.0, 30.0, 40.0], [0.1, 0.4, 0.2, 0.3]  # each at a tick of its axis


@pytest.fixture
def plot(qtbot: QtBot) -> PlotCanvas:
    plot = PlotCanvas("share")
    qtbot.addWidget(plot)
    plot.resize(680, 420)
    plot.show()
    qtbot.waitExposed(plot)
    series = Series("a", "run", RED)
    series.replace(STEPS, VALUES)
    plot.put(series)
    return plot


def shown(plot: PlotCanvas) -> ShownPlots:
    return ShownPlots([("R@1", series) for series in plot.series()], [("R@1", plot)], [LegendEntry("my run", RED)])


def svg_lines(path: Path) -> list[tuple[str, list[Point]]]:
    """The stroke and the points of every line, in the coordinates of the drawing."""
    paths = []
    for group in ElementTree.parse(path).getroot().iter("{http://www.w3.org/2000/svg}g"):
        numbers = re.findall(r"-?[\d.]+(?:e-?\d+)?", group.get("transform", ""))
        a, b, c, d, dx, dy = map(float, numbers) if numbers else (1.0, 0.0, 0.0, 1.0, 0.0, 0.0)
        for line in group.iter("{http://www.w3.org/2000/svg}polyline"):
            pairs = [tuple(map(float, pair.split(","))) for pair in line.get("points", "").split()]
            paths.append((group.get("stroke", ""), [(a * x + c * y + dx, b * x + d * y + dy) for x, y in pairs]))
    return paths


def pdf_paths(path: Path) -> list[tuple[str, list[Point]]]:
    """The colour and the points of every path of the page that is stroked or filled."""
    data = path.read_bytes()
    streams = [data[match.end() :] for match in re.finditer(rb"stream\r?\n", data)]
    pages = [text for stream in streams if b" cm" in (text := _inflated(stream))]
    matrix, stack, points, paths = np.eye(3), list[Any](), list[Point](), list[tuple[str, list[Point]]]()
    color = ""
    for line in pages[0].decode("latin1").splitlines():
        for words in re.findall(r"(?<!\S)((?:[-\d.]+ +)*)(q|Q|cm|m|l|S|f|SCN|scn)\b", line):
            values, operator = [float(word) for word in words[0].split()], words[1]
            if operator == "q":
                stack.append(matrix)
            elif operator == "Q":
                matrix = stack.pop()
            elif operator == "cm":
                a, b, c, d, e, f = values
                matrix = np.array([[a, b, 0], [c, d, 0], [e, f, 1]]) @ matrix
            elif operator in ("SCN", "scn"):
                color = QColor.fromRgbF(*values).name()
            elif operator in ("m", "l"):
                x, y, _ = np.array([*values, 1.0]) @ matrix
                points.append((float(x), float(y)))
            else:
                paths.append((color, points))
                points = []
    return paths


def _inflated(stream: bytes) -> bytes:
    try:
        return zlib.decompressobj().decompress(stream)
    except zlib.error:
        return b""


def straight(paths: list[tuple[str, list[Point]]], axis: int, length: float) -> list[float]:
    """Where lines along the other axis stand; a filled one is a thin rectangle."""
    curves = []
    for _, points in paths:
        ends = np.array(points)
        spread = np.ptp(ends, axis=0) if len(ends) > 1 else np.zeros(2)
        if spread[axis] < 2 and spread[1 - axis] > length:
            curves.append(float((ends[:, axis].min() + ends[:, axis].max()) / 2))
    return curves


@pytest.mark.parametrize("kind", ["svg", "pdf"])
def test_points_are_at_the_ticks_of_their_values(plot: PlotCanvas, tmp_path: Path, kind: Any) -> None:
    file = tmp_path / f"plot.{kind}"
    save_figure(shown(plot), str(file), kind)
    paths = svg_lines(file) if kind == "svg" else pdf_paths(file)
    pixel = 1.0 if kind == "svg" else 72 / plot.logicalDpiX()
    curve = next(points for color, points in paths if color == RED.name() and len(points) == len(STEPS))
    columns, rows = straight(paths, 0, 200 * pixel), straight(paths, 1, 300 * pixel)
    assert len(set(columns)) >= len(STEPS), "there are lines at the ticks"
    assert len(set(rows)) >= len(VALUES)
    for x, y in curve:
        assert min(abs(x - column) for column in columns) < 0.5 * pixel
        assert min(abs(y - row) for row in rows) < 0.5 * pixel
    steps = np.diff([point[0] for point in curve])
    assert steps == pytest.approx([steps[0]] * 3, abs=0.1 * pixel), "equal steps are equally wide"


def test_markers_are_shapes_and_bands_are_exported(plot: PlotCanvas, tmp_path: Path) -> None:
    series = plot.series()[0]
    series.band = (np.array(VALUES) - 0.05, np.array([*VALUES[:3], np.nan]) + 0.05)
    plot.refresh()
    save_figure(shown(plot), str(tmp_path / "a.svg"), "svg")
    text = (tmp_path / "a.svg").read_text()
    assert "<image" not in text
    assert len(re.findall(r'fill="#ff0000"', text)) >= 1, "dots are drawn in the run's colour"
    areas = re.findall(r'<polygon[^>]* points="([^"]+)"', text)
    assert [len(set(area.split())) for area in areas] == [6], "the band over the three points that have an interval"


@pytest.fixture
def grid(qtbot: QtBot) -> PlotGrid:
    grid = PlotGrid()
    qtbot.addWidget(grid)
    grid.resize(700, 300)
    grid.set_run("a", "first run", 0)
    grid.set_run("b", "second run", 1)
    for number in range(7):
        grid.set_points("a", f"train/part{number}", np.arange(9), np.arange(9))
        grid.set_points("b", f"train/part{number}", np.arange(9), np.arange(9)[::-1])
    grid.set_points("a", "val/teacher/R@1", [1, 2], [0.1, 0.2])
    grid.set_metrics([f"train/part{number}" for number in range(7)] + ["val/teacher/R@1", "diag/none"])
    grid.show()
    qtbot.waitExposed(grid)
    return grid


def test_all_plots_with_points_are_exported_once_and_none_is_blank(grid: PlotGrid, tmp_path: Path) -> None:
    assert any(card.canvas is None for card in grid._cards.values()), "some were never scrolled to"
    plots = grid.plots_to_export()
    titles = [title for title, _ in plots.frames]
    assert len(titles) == len(set(titles)) == 8
    assert [entry.name for entry in plots.legend] == ["first run", "second run", "student", "teacher"]
    save_figure(plots, str(tmp_path / "a.svg"), "svg")
    text = (tmp_path / "a.svg").read_text()
    for word in (*titles, "first run", "second run"):
        assert f">{word}</text>" in text
    save_figure(plots, str(tmp_path / "a.png"), "png")
    image, figure = QImage(str(tmp_path / "a.png")), Figure(plots)
    assert image.width() == pytest.approx(2 * figure.size.width(), abs=2)
    assert max(image.width(), image.height()) < 4 * min(image.width(), image.height()), "no endless strip"
    colors = {QColor(entry.color).rgb() for entry in plots.legend[:2]}
    cell = figure._cell.toSize() * 2
    for number in range(len(titles)):
        row, column = divmod(number, figure._columns)
        part = image.copy(QRect(16 + column * cell.width(), 16 + row * cell.height(), cell.width(), cell.height()))
        pixels = np.frombuffer(part.convertToFormat(QImage.Format.Format_RGB32).constBits(), np.uint32)
        assert np.isin(pixels, list(colors)).any(), f"{titles[number]} has a curve"


def test_unavailable_formats_are_not_offered(grid: PlotGrid) -> None:
    def offered() -> list[str]:
        return [
            action.text().rpartition("(")[2].partition(")")[0]
            for action in grid.toolbar.export_menu().actions()
            if action.isEnabled()
        ]

    assert offered() == ["PNG", "SVG", "PDF", "CSV", "Figure for a paper…"]
    for key in grid.runs():
        grid.set_run_visible(key, False)
    assert offered() == []
    assert [action.text() for action in grid.toolbar.export_menu().actions()] == ["No points to export yet"]
    grid.set_run_visible("a", True)
    grid.maximize("diag/none")
    assert offered() == ["CSV"], "the maximised plot is empty"
