"""Means of groups of curves, and how plots are arranged."""

from __future__ import annotations

import numpy as np
import pytest
from PySide6.QtCore import Qt
from scipy import stats

from sdgui.panels.runs.plots.arrangement import PINNED, SELECTION, Arrangement
from sdgui.panels.runs.plots.grouping import MOST_POINTS, group_curves, mean_curve
from sdgui.panels.runs.plots.groups import chart_of
from sdgui.panels.runs.plots.series import Series


def test_the_mean_and_its_interval_are_students() -> None:
    x = np.array([0.0, 1.0, 2.0])
    curves = [(x, np.array([1.0, 2.0, 3.0])), (x, np.array([2.0, 4.0, 3.5])), (x[:2], np.array([3.0, 3.0]))]
    steps, mean, half = mean_curve(curves)
    assert steps.tolist() == [0, 1, 2]
    assert mean == pytest.approx([2.0, 3.0, 3.25])
    values = [2.0, 4.0, 3.0]
    low, high = stats.t.interval(0.95, 2, loc=3.0, scale=stats.sem(values))
    assert (mean[1] - half[1], mean[1] + half[1]) == (pytest.approx(low), pytest.approx(high))
    _, alone, none = mean_curve(curves[:1])
    assert (alone.tolist(), np.isnan(none).all()) == ([1.0, 2.0, 3.0], True), "one run has no interval"
    assert len(mean_curve([])[0]) == 0
    steps, mean, half = mean_curve([(x, np.array([1e300, 1.0, np.inf])), (x, np.array([-1e300, 1.0, 1.0]))])
    assert (mean.tolist(), half[1]) == ([0.0, 1.0, 1.0], 0.0)
    assert np.isnan(half[[0, 2]]).all(), "no band reaches to infinity"
    many = np.arange(3000.0)
    steps, mean, _ = mean_curve([(many, many), (many, many)])
    assert (len(steps), steps[0], steps[-1]) == (MOST_POINTS, 0.0, 2999.0)
    assert mean == pytest.approx(steps), "of more points than can be seen, as many"


def test_runs_that_report_at_other_steps_are_interpolated() -> None:
    steps, mean, _ = mean_curve([(np.array([0.0, 4.0]), np.array([0.0, 4.0])), (np.array([0.0, 2.0, 4.0]), np.ones(3))])
    assert steps.tolist() == [0, 2, 4]
    assert mean == pytest.approx([0.5, 1.5, 2.5])


def test_each_role_of_a_group_has_its_curve() -> None:
    series = []
    for run in ("1", "2", "3"):
        for role in ("student", "teacher"):
            low = Series(f"{run}\n{role}", group=run)
            low.replace([0, 1], [0.1, 0.2])
            series.append(low)
    alone = Series("4\n", group="4")
    alone.replace([0, 1], [9.0, 9.0])
    series += [alone, Series("1\nstudent", group="2")]  # in no group, and without a point yet
    means = group_curves(series, {"1": "a", "2": "a", "3": "b"}, {"a": 0, "b": 1}, "step")
    assert [(curve.group, curve.key.partition("\n")[2], curve.name) for curve in means] == [
        ("a", "student", "a, student (mean of 2)"),
        ("a", "teacher", "a, teacher (mean of 2)"),
        ("b", "student", "b, student (mean of 1)"),
        ("b", "teacher", "b, teacher (mean of 1)"),
    ]
    assert [(curve.color, curve.style is Qt.PenStyle.DashLine) for curve in means] == [
        (0, False), (0, True), (1, False), (1, True)
    ]  # fmt: skip
    low, high = means[0].band or ()
    assert (low.tolist(), high.tolist()) == ([0.1, 0.2], [0.1, 0.2]), "they agree"
    (only,) = group_curves([alone], {"4": "c"}, {"c": 5}, "step")
    assert (only.name, only.color, np.isnan(only.band or ()).all()) == ("c (mean of 1)", 5, True)


def test_the_selection_metric_is_first_then_what_is_pinned() -> None:
    charts = [chart_of(name) for name in ("train/loss", "train/lr", "val/student/mean_recall", "val/student/top1")]
    arranged = Arrangement().pin("train/lr").pin("train/loss").pin("val/top1").pin("val/top1")
    parts = arranged.parts(charts)
    assert [(part.title, [chart.id for chart in part.charts]) for part in parts] == [
        (SELECTION, ["val/mean_recall"]),
        (PINNED, ["train/lr", "train/loss"]),
        ("Validation", ["val/top1"]),
    ]
    assert [part.large for part in parts] == [True, False, False]


def test_a_folded_section_opens_for_a_search() -> None:
    charts = [chart_of(name) for name in ("train/loss", "train/lr")]
    folded = Arrangement().fold("Losses")
    assert [part.folded for part in folded.parts(charts)] == [True, False]
    parts = Arrangement(folded=folded.folded, words="total LOSS").parts(charts)
    assert [(part.folded, len(part.charts)) for part in parts] == [(False, 1)]
    restored = Arrangement.from_json(folded.pin("a").to_json())
    assert (restored.folded, restored.pinned) == ({"Losses"}, ("a",))
    assert Arrangement.from_json("[1]") == Arrangement.from_json("{") == Arrangement()


@pytest.mark.parametrize("metric", ["val/student/mean_recall", "val/teacher/image_to_text_R@1", "val/student/top1"])
def test_recall_is_in_per_cent_in_every_plot(metric: str) -> None:
    assert chart_of(metric).kind == "share"
