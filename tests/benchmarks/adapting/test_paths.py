"""Paths of interpolated weights as numbers: crossings of polylines and pairing, against plain loops."""

from __future__ import annotations

from itertools import pairwise
from statistics import fmean, stdev

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.benchmarks.adapting.cell import calibration_error
from tests.benchmarks.adapting.config import AdaptStudy, read_adapt_study
from tests.benchmarks.adapting.little_study import CONFIG, curve
from tests.benchmarks.adapting.paths import Curves, best_with_at_least, difference, nested_test
from tests.benchmarks.adapting.results import best_control, criterion, select_arms, summary

PER_CENT = st.floats(0, 100)
WISE = [(10.0, 100.0, 8.0), (30.0, 90.0, 15.0), (50.0, 60.0, 20.0), (60.0, 20.0, 18.0)]
KEEPS = [(10.0, 100.0, 8.0), (40.0, 95.0, 16.0), (58.0, 80.0, 21.0)]


@given(st.lists(st.tuples(PER_CENT, PER_CENT), min_size=1, max_size=6), PER_CENT)
def test_the_best_point_of_a_polyline_matches_many_small_steps(path: list[tuple[float, float]], least: float) -> None:
    found = best_with_at_least(path, least, constrained=1, maximise=0)
    dense = list(path)
    for (a, b), (c, d) in pairwise(path):
        dense += [(a + t / 2000 * (c - a), b + t / 2000 * (d - b)) for t in range(2001)]
    there = [a for a, b in dense if b >= least]
    if found is None:
        assert not [a for a, b in dense if b >= least + 1e-6]
    else:
        assert max(there, default=found) - 1e-6 <= found <= max([a for a, b in dense if b >= least - 0.1]) + 0.1


def test_gain_and_retention_are_read_off_the_path() -> None:
    path = Curves(WISE)
    assert path.gained_at(0.9) == 30.0
    assert path.gained_at(0.75) == pytest.approx(40.0)
    assert path.value_at(0.75) == pytest.approx(17.5, abs=0.3)
    assert path.retained_at(40.0) == pytest.approx(75.0)
    assert path.retained_at(61.0) is None
    gain = path.gained_at(0.85)  # 30 + 20 / 6
    assert difference(Curves(KEEPS), path, "retained at equal gain") == pytest.approx(
        95 - 85 + (40 - gain) / 6, abs=0.1
    )
    assert difference(Curves(KEEPS), path, "retained at equal gain (70 %)") == pytest.approx(
        95 - 15 * (43 + 1 / 3 - 40) / 18 - 70
    )
    assert difference(Curves(KEEPS), path, "gained at 95 %") == pytest.approx(40 - 20)
    new, old = [50.0, 60.0, 70.0, 80.0], [90.0, 80.0, 70.0, 60.0]
    probed = {**curve(WISE), "gain/probe": new, "retain/probe": old}
    assert Curves.of(probed).value_at(0.75, 4) == pytest.approx(75.0, abs=0.5), "halfway between two points"
    lower = {**probed, "gain/probe": [value - 3 for value in new]}
    assert difference(Curves.of(probed), Curves.of(lower), "probe of new images at 85 %") == pytest.approx(3)
    assert difference(Curves.of(probed), Curves.of(lower), "probe of old images at 85 %") == 0
    short = Curves([(10.0, 100.0, 8.0), (20.0, 99.0, 9.0)])
    assert difference(short, path, "retained at equal gain") == pytest.approx(99 - (gain - 20) - 85)


def test_draws_are_averaged_per_seed() -> None:
    by_seed = {0: [1.0, 3.0, 2.0], 1: [5.0, 4.0, 6.0], 2: [3.0, 3.0, 3.0]}
    found = nested_test(by_seed)
    means = [2.0, 5.0, 3.0]
    half = 4.302652729911275 * stdev(means) / 3**0.5  # Student's t of two degrees of freedom
    assert found.difference.mean == pytest.approx(fmean(means))
    assert found.difference.low == pytest.approx(fmean(means) - half)
    assert found.difference.high == pytest.approx(fmean(means) + half)


@given(st.lists(st.tuples(st.floats(0.01, 1.0), st.booleans()), min_size=1, max_size=40))
def test_the_calibration_error_matches_a_plain_loop(rows: list[tuple[float, bool]]) -> None:
    confidence = torch.tensor([one for one, _ in rows], dtype=torch.float64)
    hits = torch.tensor([hit for _, hit in rows])
    wanted = 0.0
    for i in range(10):
        inside = [(c, h) for c, h in zip(confidence.tolist(), hits.tolist(), strict=True) if i < c * 10 <= i + 1]
        if inside:
            gap = fmean(c for c, _ in inside) - fmean(h for _, h in inside)
            wanted += abs(gap) * len(inside) / len(rows)
    assert calibration_error(confidence, hits, 10) == pytest.approx(wanted, abs=1e-9)


def test_tuning_selects_and_the_report_compares() -> None:
    study = read_adapt_study(CONFIG)
    keeps, wise, poor = curve(KEEPS), curve(WISE), curve([(10.0, 100.0, 8.0), (20.0, 90.0, 9.0)])
    cells = {"adapt-a": keeps, "adapt-b": poor, "plain-a": poor, "plain-b": wise}
    tuning = {name: {(0, 0): {"curve": one}} for name, one in cells.items()}
    assert criterion(wise) == pytest.approx((30 + 20 / 6 + 20) / 2)
    chosen = select_arms(study, tuning)
    assert chosen == {"adapt": "adapt-a", "plain": "plain-b"}
    assert select_arms(study, {name: one for name, one in tuning.items() if name != "plain-a"}) == {"adapt": "adapt-a"}
    assert best_control(study, chosen, tuning) == "plain"
    report = {
        arm: {(seed, draw): {"curve": cells[arm], "cpu_seconds": 1.0} for seed in (20, 21) for draw in (0, 1)}
        for arm in ("adapt-a", "plain-b")
    }
    del report["plain-b"][21, 1]  # not done yet
    report["adapt-a"][21, 1] = {"curve": poor, "cpu_seconds": 1.0}  # counts only with the other arms' cell
    top1 = {"family": "adapt", "control": "plain", "measure": "top-1 gained at 85 %", "condition": "24-50"}
    study = AdaptStudy.model_validate(study.model_dump() | {"exploratory": [top1]})
    found = summary(study, tuning, {"24-50": report})
    (primary,) = found["primary"]
    assert (primary["control"], primary["seeds"]) == ("plain", 2)
    assert primary["mean"] == pytest.approx(difference(Curves(KEEPS), Curves(WISE), "retained at equal gain"))
    assert found["conditions"]["24-50"]["adapt-a"]["gained at 95 %"]["mean"] == pytest.approx(40.0)
    (unplanned,) = found["exploratory"]
    assert unplanned["mean"] == pytest.approx(difference(Curves(KEEPS), Curves(WISE), "gained at 85 %") / 2)
    assert "p" not in unplanned
    assert summary(study, tuning, {"24-50": {"adapt-a": report["adapt-a"]}})["conditions"] == {}
