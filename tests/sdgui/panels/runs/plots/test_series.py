"""The numbers of a curve: smoothing against a plain loop, peaks against the full data, gaps, order."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from sdgui.panels.runs.plots.series import Ema, Series, column_peaks


def plain_ema(values: list[float], weight: float) -> list[float]:
    """As in TensorBoard's source: values that are not finite are passed by."""
    last, count, out = 0.0, 0, []
    for value in values:
        if not np.isfinite(value):
            out.append(np.nan)
            continue
        last = last * weight + (1 - weight) * value
        count += 1
        out.append(last / (1 - weight**count))
    return out


_values = st.lists(st.one_of(st.floats(-1e3, 1e3), st.sampled_from([np.nan, np.inf, -np.inf])), max_size=60)


@settings(deadline=None, max_examples=40)
@example(values=[1.0, np.nan, 5.0, -np.inf, 2.0], weight=0.9, cut=2)  # one that is not finite must not count
@example(values=[np.nan, 1.0, 5.0], weight=0.9, cut=1)  # nor a piece of nothing else
@given(values=_values, weight=st.sampled_from([0.1, 0.6, 0.9, 0.99, 0.999]), cut=st.integers(0, 60))
def test_smoothing_matches_a_plain_loop_in_any_chunks(values: list[float], weight: float, cut: int) -> None:
    ema = Ema(weight)
    array = np.array(values, dtype=np.float64)
    pieces = np.concatenate([ema.extend(array[:cut]), ema.extend(array[cut:])])
    np.testing.assert_allclose(pieces, plain_ema(values, weight), rtol=1e-9, atol=1e-9)


def test_smoothing_of_a_long_curve_does_not_overflow() -> None:
    values = np.random.default_rng(0).normal(size=5000)
    np.testing.assert_allclose(Ema(0.3).extend(values), plain_ema(values.tolist(), 0.3), rtol=1e-9, atol=1e-12)


@settings(deadline=None, max_examples=40)
@given(
    seed=st.integers(0, 1000), n=st.integers(1, 1500), columns=st.integers(16, 200),
    low=st.floats(-50, 900), width=st.floats(1, 3000),
)  # fmt: skip
def test_no_extreme_is_lost_in_any_view(seed: int, n: int, columns: int, low: float, width: float) -> None:
    rng = np.random.default_rng(seed)
    x = np.sort(rng.uniform(0, 1000, n))
    y = rng.normal(size=n)
    y[rng.uniform(size=n) < 0.1] = np.nan
    drawn_x, drawn_y = column_peaks(x, y, low, low + width, columns)
    assert len(drawn_x) <= 2 * columns + 8
    inside = (x >= low) & (x <= low + width)
    pixel = width / columns
    for i in np.flatnonzero(inside & ~np.isnan(y)):  # each point lies within what is drawn around its pixel
        near = drawn_y[np.abs(drawn_x - x[i]) <= 1.001 * pixel]
        assert np.nanmin(near) <= y[i] <= np.nanmax(near)


def test_replaced_points_are_smoothed_again() -> None:
    series = Series("a")
    series.set_weight(0.9)
    series.replace([1, 2, 3], [100.0, 100.0, 100.0])
    values = [1.0, 2.0, 4.0]
    series.replace([1, 2, 3], values)
    np.testing.assert_allclose(series.smoothed, plain_ema(values, 0.9))


def test_a_gap_stays_a_gap() -> None:
    series = Series("a")
    y = np.ones(10_000)
    y[4000:6000] = np.nan
    series.replace(np.arange(10_000), y)
    x, drawn = series.points_in_view("step", 0, 10_000, 100, smooth=False, log=False)
    assert np.isnan(drawn[(x > 4100) & (x < 5900)]).all()
    assert np.isfinite(drawn[(x < 3900) | (x > 6100)]).all()


def test_a_log_scale_omits_only_non_positive_values() -> None:
    series = Series("a")
    series.replace(np.arange(6), [1.0, 0.0, -3.0, np.inf, 100.0, np.nan])
    _, y = series.points_in_view("step", 0, 5, 100, smooth=False, log=True)
    np.testing.assert_array_equal(y, [0.0, np.nan, np.nan, np.nan, 2.0, np.nan])


def test_append_keeps_order_and_equals_replace() -> None:
    rng = np.random.default_rng(1)
    x, y = np.arange(300.0), rng.normal(size=300)
    grown, at_once = Series("a"), Series("b")
    for series in (grown, at_once):
        series.set_weight(0.9)
    at_once.replace(x, y)
    for i in range(0, 300, 7):
        grown.append(x[i : i + 7], y[i : i + 7])
    np.testing.assert_allclose(grown.smoothed, at_once.smoothed)
    shuffled = Series("c")
    shuffled.set_weight(0.9)
    order = rng.permutation(300)
    shuffled.append(x[order], y[order])
    np.testing.assert_array_equal(shuffled.values, y)
    np.testing.assert_allclose(shuffled.smoothed, at_once.smoothed)


def test_a_late_point_is_smoothed_in_its_place() -> None:
    series = Series("a")
    series.set_weight(0.9)
    series.append([1, 3, 4], [1.0, 5.0, 2.0])
    series.append([2], [8.0])
    np.testing.assert_allclose(series.smoothed, plain_ema([1.0, 8.0, 5.0, 2.0], 0.9))


def test_a_line_reaches_both_edges_of_a_view_between_its_points() -> None:
    x, y = column_peaks(np.array([0.0, 10.0, 20.0, 30.0]), np.arange(4.0), 12.0, 18.0, 100)
    assert x.tolist() == [10.0, 20.0]
    assert y.tolist() == [1.0, 2.0]


def test_scalars_and_wrong_lengths() -> None:
    series = Series("a")
    series.append(1, 2.5)
    series.append([], [])
    assert series.values.tolist() == [2.5]
    with pytest.raises(ValueError, match="2 steps, 1 values"):
        series.append([1, 2], [1])
    assert len(series) == 1


def test_time_counts_from_the_start_of_the_run_and_never_runs_backwards() -> None:
    series = Series("a")
    series.replace([1, 2, 3, 4], [1, 1, 1, 1], [100.0, 110.0, 105.0, 130.0])
    assert series.x("time").tolist() == [100.0, 110.0, 110.0, 130.0]
    without = Series("b")
    without.replace([5, 6], [1, 1])
    assert without.x("time").tolist() == [5.0, 6.0]


def test_nearest_point() -> None:
    series = Series("a")
    series.replace([10, 20, 30], [1, 2, 3])
    assert [series.nearest("step", x, 1) for x in (9.5, 14, 16, 30.5)] == [0, 0, 1, 2]
    assert series.nearest("step", 35, 1) is None


def test_lone_points_are_found() -> None:
    series = Series("a")
    y = np.ones(200)
    y[50:100] = np.nan
    y[70] = 5.0
    series.replace(np.arange(200), y)
    assert series.dots("step", 0, 199, max_dots=10).tolist() == [70]
    assert series.dots("step", 60, 80, max_dots=10).tolist() == [70]
    assert series.not_finite("step", 95, 120).tolist() == [95, 96, 97, 98, 99]
