"""Many curves as one image: no point is lost in any view, and coverage is as by a plain loop."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PySide6.QtCore import Qt

from sdgui.panels.runs.plots.drawing.extents import Extents
from sdgui.panels.runs.plots.drawing.lines import clip_lines, dashed
from sdgui.panels.runs.plots.drawing.raster import raster

DASH = Qt.PenStyle.DashLine


@given(
    st.integers(0, 2**32 - 1),
    st.sampled_from([1, 2, 30, 5_000, 70_000]),
    st.integers(3, 400),
    st.floats(-0.2, 0.9),
    st.floats(0.001, 1.5),
)
@settings(max_examples=40, deadline=None)
def test_every_point_is_within_the_extent_of_its_column(
    seed: int, n: int, columns: int, begin: float, width: float
) -> None:
    generator = np.random.default_rng(seed)
    x = np.sort(generator.uniform(0, 1, n))
    y = generator.normal(0, 1, n)
    y[generator.integers(0, n)] = 50.0
    low, high = Extents(x, y).columns(begin, begin + width, columns)
    inside = (x >= begin) & (x < begin + width)
    columns_of_points = np.clip(((x[inside] - begin) / width * columns).astype(int), 0, columns - 1)
    near = [np.fmax.reduce(high[max(0, column - 1) : column + 2]) for column in range(columns)]
    assert (np.array(near)[columns_of_points] >= y[inside] - 1e-12).all(), "a block may begin in the next column"
    near = [np.fmin.reduce(low[max(0, column - 1) : column + 2]) for column in range(columns)]
    assert (np.array(near)[columns_of_points] <= y[inside] + 1e-12).all()
    if inside.any():
        first, last = int(columns_of_points.min()), int(columns_of_points.max())
        assert not np.isnan(high[first:last]).any(), "the line has no hole"


def test_a_gap_of_values_is_a_gap_of_the_line() -> None:
    y = np.ones(50_000)
    y[20_000:30_000] = np.nan
    low, _ = Extents(np.arange(50_000.0), y).columns(0, 50_000, 100)
    assert np.isnan(low[42:58]).all()
    assert not np.isnan(low[:38]).any()


def test_a_line_crosses_columns_without_points() -> None:
    low, high = Extents(np.array([0.0, 1.0]), np.array([0.0, 10.0])).columns(0.25, 0.75, 5)
    assert low == pytest.approx([2.5, 3.5, 4.5, 5.5, 6.5])
    assert high == pytest.approx([3.5, 4.5, 5.5, 6.5, 7.5])


def _by_a_loop(low: np.ndarray, high: np.ndarray, colors: np.ndarray, height: int) -> np.ndarray:
    """Coverage of boxes, a pixel at a time; a box is as thick as 1.5 at least."""
    expected = np.zeros((height, low.shape[1], 4))
    for column in range(low.shape[1]):
        for pixel in range(height):
            cover, mixed = 0.0, np.zeros(3)
            for curve in range(len(low)):
                rise = high[curve, column] - low[curve, column]
                length = 1.5 * np.sqrt(1 + rise**2) if rise < 3 else rise + 1.5
                middle = (low[curve, column] + high[curve, column]) / 2
                part = min(pixel + 1, middle + length / 2) - max(pixel, middle - length / 2)
                if part > 0:
                    cover += part
                    mixed += part * colors[curve]
            if cover:
                expected[pixel, column] = [*(mixed / cover * min(1, cover)), 255 * min(1, cover)]
    return expected


def test_coverage_matches_a_plain_loop() -> None:
    generator = np.random.default_rng(3)
    low = generator.uniform(-5, 25, (6, 9))
    high = low + generator.uniform(0, 8, (6, 9))
    colors = generator.integers(0, 256, (6, 3))
    pixels = raster(low, high, colors, 20, 1.5)
    channels = np.stack([(pixels >> shift) & 255 for shift in (16, 8, 0, 24)], -1)
    assert np.abs(channels - _by_a_loop(low, high, colors, 20)).max() < 255 * 6 / 64 + 2  # parts of a pixel are counted
    nothing = raster(np.full((1, 9), np.nan), np.full((1, 9), np.nan), colors[:1], 20, 1.5)
    assert not nothing.any()


def test_a_white_curve_stays_white_at_any_coverage() -> None:
    low = np.linspace(2, 3, 65)[None]
    pixels = raster(low, low, np.full((1, 3), 255), 8, 1.0)
    alpha = pixels >> 24
    assert alpha[alpha > 0].min() < 8
    for shift in (16, 8, 0):
        assert ((pixels >> shift) & 255).tolist() == alpha.tolist()


def test_a_curve_without_points_has_no_extent() -> None:
    low, high = Extents(np.empty(0), np.empty(0)).columns(0.0, 1.0, 4)
    assert np.isnan(low).all()
    assert np.isnan(high).all()
    assert (len(low), len(high)) == (4, 4)


def test_a_drawn_line_ends_at_the_plot_border() -> None:
    assert clip_lines([(-10.0, -10.0), (50.0, 50.0), (50.0, 90.0), (150.0, 90.0)], 100, 80) == [
        [(0.0, 0.0), (50.0, 50.0), (50.0, 80.0)]
    ]  # fmt: skip
    assert clip_lines([(-10.0, 10.0), (110.0, 10.0), (110.0, 20.0), (50.0, 20.0)], 100, 80) == [
        [(0.0, 10.0), (100.0, 10.0)], [(100.0, 20.0), (50.0, 20.0)]
    ]  # fmt: skip
    assert clip_lines([(10.0, 10.0), (20.0, 20.0), (30.0, 5.0)], 100, 80) == [[(10.0, 10.0), (20.0, 20.0), (30.0, 5.0)]]
    assert clip_lines([(-10.0, 40.0), (40.0, -10.0)], 20, 20) == [[(10.0, 20.0), (20.0, 10.0)]]
    assert clip_lines([(-5.0, 5.0), (5.0, -5.0)], 100, 80) == []
    for outside in ([(-5.0, -5.0), (-1.0, 90.0)], [(-9.0, 5.0), (5.0, -9.0)], [(5.0, -1.0), (9.0, -1.0)], [(5.0, 5.0)]):
        assert clip_lines(outside, 100, 80) == []


def test_a_spike_is_never_in_the_gap_of_a_dash() -> None:
    low = np.full(200, 10.0)
    for column in range(20, 180):
        high = low.copy()
        high[column] = 90.0
        assert dashed(low, high, DASH, 1.0)[1][column] == 90.0
    for rise, is_solid in ((10.0, False), (14.0, True)):  # of two of the screen's pixels to one of ours
        assert bool(np.isfinite(dashed(low, low + rise, DASH, 2.0)[0]).all()) == is_solid
    gaps = np.isnan(dashed(low, low, DASH, 1.0)[0])
    assert 60 < gaps.sum() < 120
