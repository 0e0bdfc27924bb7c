"""Figures for a paper, read back: curves against labelled ticks, the legend, fonts, size and resolution."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree
import zlib
from dataclasses import replace

import numpy as np
import pytest
from PySide6.QtGui import QColor, QImage

from core.spec import installed
from sdgui.panels.runs.figures.curves import Curve, MetricPlot, PlotData
from sdgui.panels.runs.figures.figure import FigureStyle, Kind, render

SVG = "{http://www.w3.org/2000/svg}"
STEPS, VALUES = np.array([10.0, 20.0, 30.0, 40.0]), np.array([0.1, 0.4, 0.2, 0.3])  # each at a tick of its axis
RED, BLUE = "#c00000", "#0000c0"
HALF_PIXEL = 0.5 * 72 / 96  # pt
STYLE = FigureStyle(width=12.0, legend="below")


def curve(entry: str, color: str, values: np.ndarray = VALUES, dashed: bool = False, metric: str = "R@1") -> Curve:
    return Curve(entry, metric, color, dashed, STEPS, values)


def plot(*curves: Curve, name: str = "R@1") -> MetricPlot:
    return MetricPlot(name, name, True, curves, (), (8.0, 42.0), (0.05, 0.45), True)


@pytest.fixture
def data() -> PlotData:
    band = (VALUES - 0.05, np.append(VALUES[:3], np.nan) + 0.05)
    curves = curve("a", RED), replace(curve("b", BLUE, VALUES[::-1], dashed=True), band=band)
    return PlotData([plot(*curves)], {"a": "clip $x_1$ · 1", "b": "_sd-clip"}, "step", False)


def svg_points(path: str) -> list[tuple[float, float]]:
    return [(float(x), float(y)) for x, y in re.findall(r"[ML] (-?[\d.]+) (-?[\d.]+)", path)]


def strokes(root: ElementTree.Element, color: str) -> list[list[tuple[float, float]]]:
    paths = [path for path in root.iter(f"{SVG}path") if f"stroke: {color}" in path.get("style", "")]
    return [points for path in paths if len(points := svg_points(path.get("d", ""))) > 1]


def ticks(root: ElementTree.Element, axis: str) -> dict[str, float]:
    """The place of each labelled tick, by its label: where its line of the grid stands."""
    places = {}
    for group in root.iter(f"{SVG}g"):
        if group.get("id", "").startswith(f"{axis}tick"):
            (line,), label = strokes(group, "#e4e4e4"), "".join(group.itertext()).strip()
            places[label] = line[0]["xy".index(axis)]
    return places


def texts(root: ElementTree.Element) -> list[str]:
    return ["".join(text.itertext()).strip() for text in root.iter(f"{SVG}text")]


def test_svg_points_are_at_the_ticks_of_their_values(data: PlotData) -> None:
    root = ElementTree.fromstring(render(data, STYLE, "svg"))
    columns, rows = ticks(root, "x"), ticks(root, "y")
    for color, values in ((RED, VALUES), (BLUE, VALUES[::-1])):
        points = next(line for line in strokes(root, color) if len(line) == len(STEPS))
        for (x, y), step, value in zip(points, STEPS, values, strict=True):
            assert abs(x - columns[f"{step:g}"]) < HALF_PIXEL
            assert abs(y - rows[f"{100 * value:g}"]) < HALF_PIXEL
    assert {"clip $x_1$ · 1", "_sd-clip", "student", "teacher", "R@1 (%)", "Step"} <= set(texts(root)), (
        "no maths in names"
    )
    width = root.get("width", "")
    assert float(width.removesuffix("pt")) == pytest.approx(12.0 / 2.54 * 72, abs=0.01)


def test_pdf_points_are_on_the_grid_and_fonts_are_embedded(data: PlotData) -> None:
    file = render(data, STYLE, "pdf")
    streams = [file[match.end() :] for match in re.finditer(rb"stream\r?\n", file)]
    inflated = [zlib.decompressobj().decompress(stream) for stream in streams if stream[:1] == b"x"]
    page = next(text.decode("latin1") for text in inflated if b" RG" in text)
    paths = list[tuple[str, list[tuple[float, float]]]]()
    color, points, numbers = "", list[tuple[float, float]](), list[float]()
    for word in page.split():
        if re.fullmatch(r"-?[\d.]+", word):
            numbers.append(float(word))
            continue
        if word in ("G", "RG"):
            color = QColor.fromRgbF(*(numbers[-3:] if word == "RG" else numbers[-1:] * 3)).name()
        elif word in ("m", "l"):
            points.append((numbers[-2], numbers[-1]))
        elif word in ("S", "s", "f", "B", "n"):
            paths.append((color, points))
            points = []
        numbers = []
    grid = [line for stroke, line in paths if stroke == "#e4e4e4"]
    columns = [line[0][0] for line in grid if line[0][0] == line[-1][0]]
    rows = [line[0][1] for line in grid if line[0][1] == line[-1][1]]
    drawn = next(line for stroke, line in paths if stroke == RED and len(line) == len(STEPS))
    for x, y in drawn:
        assert min(abs(x - column) for column in columns) < HALF_PIXEL
        assert min(abs(y - row) for row in rows) < HALF_PIXEL
    assert np.diff([x for x, _ in drawn]) == pytest.approx([drawn[1][0] - drawn[0][0]] * 3, abs=HALF_PIXEL)
    assert b"/FontFile2" in file
    assert b"/Type3" not in file


def test_a_png_has_300_dpi_its_size_and_a_curve_in_every_panel(data: PlotData) -> None:
    plots = [replace(data.plots[0], id=str(number), y_range=None) for number in range(3)]
    style = replace(STYLE, width=17.5, aspect=3.5, legend="none")
    image = QImage.fromData(render(replace(data, plots=plots), style, "png"))
    assert image.dotsPerMeterX() == image.dotsPerMeterY() == pytest.approx(300 / 0.0254, abs=1)
    assert (image.width(), image.height()) == pytest.approx((17.5 / 2.54 * 300, 5 / 2.54 * 300), abs=1)
    third = image.width() // 3
    for number in range(3):
        part = image.copy(number * third, 0, third, image.height()).convertToFormat(QImage.Format.Format_RGB32)
        colors = set(np.frombuffer(part.constBits(), np.uint32).tolist())
        assert {QColor(RED).rgb(), QColor(BLUE).rgb()} <= colors, f"panel {number}"


def test_metrics_in_one_panel_have_line_styles_and_legend_entries(data: PlotData) -> None:
    loss = replace(plot(curve("a", RED, 10 * VALUES, metric="Loss $"), name="Loss"), is_share=False, y_range=None)
    both = replace(data, plots=[replace(data.plots[0], y_range=None), loss], entries={"a": "run"})
    root = ElementTree.fromstring(render(both, replace(STYLE, layout="panel"), "svg"))
    dashes = [path.get("style", "") for path in root.iter(f"{SVG}path") if f"stroke: {RED}" in path.get("style", "")]
    assert {"stroke-dasharray" in style for style in dashes} == {True, False}
    assert {"run", "R@1", "Loss $"} <= set(texts(root))
    assert not strokes(root, BLUE), "its run is not chosen"
    top = max(float(label) for label in ticks(root, "y") if label)
    assert 4 <= top < 10, "values, not per cent, and both in view"


@pytest.mark.parametrize(("legend", "kind"), [("inside", "svg"), ("below", "pdf"), ("none", "png")])
def test_gaps_log_axes_and_long_names_are_drawn(data: PlotData, legend: str, kind: Kind) -> None:
    odd = replace(curve("a", RED, np.array([np.nan, -1.0, 1e-3, np.nan])), raw=VALUES, x=60 * STEPS)
    lone = Curve("b", "R@1", BLUE, False, np.array([5.0]), np.array([2.0]))
    plots = [replace(plot(odd, lone), x_range=None, y_range=None), replace(plot(), x_range=None, y_range=None)]
    wide = replace(data, plots=plots, entries={"a": "long " * 60, "b": ""}, x_mode="time", log=True)
    content = render(wide, replace(STYLE, legend=legend, width=8.5), kind)
    assert len(content) > 2000
    if kind == "svg":
        assert "Time (min)" in texts(ElementTree.fromstring(content))


def test_without_matplotlib_the_install_command_is_named(data: PlotData, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(installed, "find_spec", lambda name: None if name == "matplotlib" else object())
    with pytest.raises(installed.NotInstalled, match=r"(?s)draws figures for papers.*pip install.*\[figures\]"):
        render(data, STYLE, "png")


def test_a_stored_style_is_read_if_it_is_valid() -> None:
    style = FigureStyle(17.5, 2.0, "STIXGeneral", 9.0, "below", "panel", "svg")
    assert FigureStyle.from_json(style.to_json()) == style
    assert FigureStyle.from_json('{"kind": "svg", "of a later version": 1}') == FigureStyle(kind="svg")
    assert FigureStyle.from_json('{"kind": "svg", "legend": "x"}') == FigureStyle()
    assert FigureStyle.from_json("[") == FigureStyle.from_json("[]") == FigureStyle()
