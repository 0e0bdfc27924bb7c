"""The curves of a plot: which are shown, how far they reach, in which colours, and the dots and marks on them."""

from __future__ import annotations

import numpy as np
import pyqtgraph as pg
import pytest
from pytestqt.qtbot import QtBot

from sdgui.panels.runs.plots.curves import PlotCurves
from sdgui.panels.runs.plots.series import Series


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


def test_the_value_range_of_the_visible_points(curves: PlotCurves) -> None:
    assert curves.measure(0.0, 10.0, 100) is None
    curves.put(series("a", [1.0, 2.0, -3.0, 4.0]))
    curves.put(series("b", [9.0], first=50.0))
    assert curves.measure(1.0, 4.0, 100) == (-3.0, 4.0)
    curves.log = True
    low, high = curves.measure(1.0, 4.0, 100) or (np.nan, np.nan)
    assert (low, high) == (0.0, pytest.approx(np.log10(4.0)))
    assert curves.count_not_positive() == 1
    curves.series["a"].visible = False
    assert curves.count_not_positive() == 0
    curves.log = False
    mean = series("m", [2.0, 2.0], first=1.0)
    mean.band = (np.array([1.0, 1.5]), np.array([3.0, 7.0]))
    curves.put(mean)
    assert curves.measure(1.0, 2.0, 100) == (1.0, 7.0), "with its interval"


def test_a_gap_splits_a_line_and_a_lone_point_is_a_dot(curves: PlotCurves) -> None:
    curves._box.setRange(xRange=(0.0, 10.0), yRange=(0.0, 10.0), padding=0)
    curves.put(series("a", [np.nan, 2.0, 4.0, np.nan, np.nan, 6.0, np.inf], first=0.0))
    curves.measure(0.0, 10.0, 100)
    assert [len(path.points) for path in curves._polylines()] == [2, 1]
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


def test_readings_are_the_nearest_points_greatest_first(curves: PlotCurves) -> None:
    curves.put(series("a", [1.0, 2.0, 3.0], name="first", group="one"))
    curves.put(series("b", [7.0, 8.0], group="two"))
    curves.put(series("c", [np.nan, np.nan, np.nan]))
    curves.put(series("far", [1.0], first=50.0))
    curves.highlighted = "two"
    readings = curves.readings(2.2, 0.5)
    finite = [reading for reading in readings if reading.value == reading.value]
    assert [(reading.name, reading.x, reading.value, reading.highlighted) for reading in finite] == [
        ("b", 2.0, 8.0, True), ("first", 2.0, 2.0, False),
    ]  # fmt: skip
    assert all(reading.value != reading.value for reading in readings[2:]), "values that are none come last"
    assert [reading.smooth for reading in readings] == [None] * len(readings)
    curves.smooth = True
    assert curves.readings(2.2, 0.5)[0].smooth is not None
