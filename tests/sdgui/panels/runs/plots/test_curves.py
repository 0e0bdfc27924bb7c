"""The curves of a plot: which are shown, how far they reach, in which colours, and the dots and marks on them."""

from __future__ import annotations

import numpy as np
import pyqtgraph as pg
import pytest
from PySide6.QtCore import Qt
from PySide6.QtGui import QColor
from pytestqt.qtbot import QtBot

from sdgui.panels.runs.plots.curves import PlotCurves
from sdgui.panels.runs.plots.series import Series
from sdgui.widgets.style.theme import theme


@pytest.fixture
def plot(qtbot: QtBot) -> pg.PlotWidget:
    plot = pg.PlotWidget()
    qtbot.addWidget(plot)
    plot.resize(400, 300)
    return plot


@pytest.fixture
def curves(plot: pg.PlotWidget) -> PlotCurves:
    return PlotCurves(plot.getPlotItem().getViewBox())


def series(key: str, values: list[float], first: float = 1.0, **options: object) -> Series:
    series = Series(key, **options)  # type: ignore[arg-type]
    series.append(first + np.arange(len(values)), np.array(values, dtype=np.float64))
    return series


def parts(color: QColor) -> tuple[float, float, float]:
    return color.redF(), color.greenF(), color.blueF()


def mixed(color: QColor, share: float) -> list[object]:
    """What ``share`` of a colour leaves over the ground."""
    ground = parts(theme().color("surface"))
    return [pytest.approx(share * a + (1 - share) * b, abs=0.005) for a, b in zip(parts(color), ground, strict=True)]


def test_series_are_added_replaced_and_removed(curves: PlotCurves) -> None:
    a, b, empty = series("a", [1.0, 2.0]), series("b", [3.0], first=9.0), series("c", [])
    assert curves.extent() is None
    for curve in (a, b, empty):
        curves.put(curve)
    assert (curves.shown(), curves.extent()) == ([a, b], (1.0, 9.0))
    b.visible = False
    assert (curves.shown(), curves.extent()) == ([a], (1.0, 2.0))
    curves.put(again := series("a", [5.0]))
    assert list(curves.series.values()) == [b, empty, again], "the newest is drawn over the others"
    assert (curves.remove("a"), curves.remove("a"), curves.shown()) == (True, False, [])
    curves.replace([a])
    assert list(curves.series) == ["a"]


def test_the_value_range_of_the_visible_points(curves: PlotCurves) -> None:
    assert curves.draw(0.0, 10.0, 100) is None
    curves.put(series("a", [1.0, 2.0, -3.0, 4.0]))
    curves.put(series("b", [9.0], first=50.0))
    assert curves.draw(1.0, 4.0, 100) == (-3.0, 4.0)
    curves.log = True
    low, high = curves.draw(1.0, 4.0, 100) or (np.nan, np.nan)
    assert (low, high) == (0.0, pytest.approx(np.log10(4.0)))
    assert curves.not_positive() == 1
    curves.series["a"].visible = False
    assert curves.not_positive() == 0
    curves.log = False
    mean = series("m", [2.0, 2.0], first=1.0)
    mean.band = (np.array([1.0, 1.5]), np.array([3.0, 7.0]))
    curves.put(mean)
    assert curves.draw(1.0, 2.0, 100) == (1.0, 7.0), "with its interval"


def test_the_highlighted_curve_keeps_its_colour_and_the_others_fade(curves: PlotCurves) -> None:
    custom = QColor(200, 100, 30)
    a, b = series("a", [1.0, 2.0], color=3, group="one"), series("b", [1.0, 2.0], color=custom, group="two")
    curves.put(a)
    curves.put(b)
    assert curves.color(a) == theme().run_color(3)
    assert parts(curves.color(b)) == parts(custom)
    curves.lifted = "one"
    assert curves.color(a) == theme().run_color(3)
    assert list(parts(curves.color(b))) == mixed(custom, 0.22)
    curves.draw(1.0, 2.0, 10)
    behind, lifted = curves._layers[1], curves._layers[3]
    assert [reach.color for reach in lifted] == [theme().run_color(3)], "it is painted over the others"
    assert [list(parts(reach.color)) for reach in behind] == [mixed(custom, 0.22)]


def test_raw_curves_and_bands_are_faint(curves: PlotCurves) -> None:
    custom = QColor(200, 100, 30)
    dashed = series("a", [1.0, 2.0, 4.0], color=custom, style=Qt.PenStyle.DashLine)
    dashed.band = (np.zeros(3), np.full(3, 9.0))
    curves.put(dashed)
    curves.smooth = True
    curves.draw(1.0, 3.0, 10)
    bands, raw, smooth, *_ = curves._layers
    assert [list(parts(reach.color)) for reach in bands] == [mixed(custom, 0.18)]
    assert [(list(parts(reach.color)), reach.style) for reach in raw] == [(mixed(custom, 0.35), Qt.PenStyle.DashLine)]
    assert [(parts(reach.color), reach.style) for reach in smooth] == [(parts(custom), Qt.PenStyle.DashLine)]
    paths = curves._paths()
    assert [list(parts(path.color)) for path in paths] == [
        mixed(custom, 0.18),
        mixed(custom, 0.35),
        list(parts(custom)),
    ]
    dash = Qt.PenStyle.DashLine
    assert [(path.filled, path.style == dash) for path in paths] == [(True, False), (False, True), (False, True)]
    curves.smooth = False
    assert [parts(path.color) for path in curves._paths()[1:]] == [parts(custom)]


def test_a_gap_splits_a_line_and_a_lone_point_is_a_dot(curves: PlotCurves) -> None:
    curves._box.setRange(xRange=(0.0, 10.0), yRange=(0.0, 10.0), padding=0)
    curves.put(series("a", [np.nan, 2.0, 4.0, np.nan, np.nan, 6.0, np.inf], first=0.0))
    curves.draw(0.0, 10.0, 100)
    assert [len(path.points) for path in curves._paths()] == [2, 1]
    curves.draw_dots(0.0, 10.0, top=9.5)
    spots = {(spot.symbol(), spot.pos().x(), spot.pos().y()) for spot in curves._dots.points()}
    assert ("o", 5.0, 6.0) in spots
    assert {spot for spot in spots if spot[0] == "t"} == {("t", float(x), 9.5) for x in (0, 3, 4, 6)}
    curves.log = True
    curves.put(series("b", [-1.0], first=8.0))
    curves.put(series("c", [100.0], first=8.0))
    curves.draw_dots(0.0, 10.0, top=9.5)
    lone = {(spot.pos().x(), spot.pos().y()) for spot in curves._dots.points() if spot.symbol() == "o"}
    assert (8.0, 2.0) in lone
    assert len([point for point in lone if point[0] == 8.0]) == 1, "a log scale cannot show the other"


def test_the_first_200_non_finite_values_are_marked(curves: PlotCurves) -> None:
    curves._box.setRange(xRange=(0.0, 300.0), yRange=(0.0, 10.0), padding=0)
    curves.put(series("a", [np.inf] * 300, first=0.0))
    curves.draw_dots(0.0, 300.0, top=9.5)
    assert sorted(spot.pos().x() for spot in curves._dots.points()) == list(range(200))


def test_an_exported_drawing_matches_the_plot(curves: PlotCurves) -> None:
    box = curves._box
    box.setRange(xRange=(10.0, 20.0), yRange=(5.0, 9.0), padding=0)
    timed = series("a", [5.0, 7.0, 9.0])
    timed.replace([10.0, 15.0, 20.0], [5.0, 7.0, 9.0])
    curves.put(timed)
    curves.draw(10.0, 20.0, 100)
    (path,) = curves._paths()
    corners = ((0.0, box.height()), (box.width() / 2, box.height() / 2), (box.width(), 0.0))
    for point, corner in zip(path.points, corners, strict=True):
        assert point == pytest.approx(corner, abs=1e-6)


def test_readings_are_the_nearest_points_greatest_first(curves: PlotCurves) -> None:
    curves.put(series("a", [1.0, 2.0, 3.0], name="first", group="one"))
    curves.put(series("b", [7.0, 8.0], group="two"))
    curves.put(series("c", [np.nan, np.nan, np.nan]))
    curves.put(series("far", [1.0], first=50.0))
    curves.lifted = "two"
    readings = curves.readings(2.2, 0.5)
    finite = [reading for reading in readings if reading.value == reading.value]
    assert [(reading.name, reading.at, reading.value, reading.lifted) for reading in finite] == [
        ("b", 2.0, 8.0, True), ("first", 2.0, 2.0, False),
    ]  # fmt: skip
    assert all(reading.value != reading.value for reading in readings[2:]), "values that are none come last"
    assert [reading.smooth for reading in readings] == [None] * len(readings)
    curves.smooth = True
    assert curves.readings(2.2, 0.5)[0].smooth is not None
