"""A study by budget in its panel: quality against seconds, where arms overtake, and the form's field."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyqtgraph as pg
import pytest
from pytestqt.qtbot import QtBot

from sdgui.panels.study.cost_curves import cost_curves
from sdgui.panels.study.view import StudyView
from sdgui.runs.study_status import StudySnapshot
from sdgui.widgets.style.theme import theme
from tests.sdgui.panels.study.studying import a_study


def mean(value: float) -> dict[str, Any]:
    return {"mean": value, "low": value - 0.05, "high": value + 0.05, "values": [value, value]}


def results(*budgets: float) -> dict[str, Any]:
    """clip stands at 40 %; sd-clip gains 10 points with each budget, from 30 %."""
    arms = {}
    for place, seconds in enumerate(budgets):
        for name, value in (("clip", 0.4), ("sd-clip", 0.3 + 0.1 * place)):
            networks = {"final": {"test/R@1": mean(value)}, "student": {"test/R@1": mean(value)}}
            cost = {"step_seconds": mean(0.1), "train_seconds": mean(1.0), "ratio": None, "budget": seconds}
            arms[f"{name}-{seconds:g}s"] = {"of": name, "seeds": [0, 1], "cost": cost, "networks": networks}
    crossings = [{"arm": "sd-clip", "baseline": "clip", "metric": "test/R@1", "kind": "overtakes", "seconds": 410.2}]
    head = {"seeds": [0, 1], "metrics": ["test/R@1"], "arms": arms, "compare": []}
    return head | {"budgets": list(budgets), "crossings": crossings}


def test_several_budgets_are_curves_and_one_is_points(qtbot: QtBot) -> None:
    view = StudyView()
    qtbot.addWidget(view)
    view.show()
    study = a_study(steps=0, budgets=[230, 600])
    snapshot = StudySnapshot(Path("/s"), "done", study, results=results(230, 600), results_stamp=1.0)
    view.show_snapshot(snapshot, {})
    assert view.about.text() == "2 arms, 230, 600 s, seeds 0, 1"
    assert view.costs.isVisibleTo(view)
    assert not view.bars.isVisibleTo(view)
    clip, ours = view.costs.curves
    assert (clip.name, [(p.seconds, p.mean) for p in clip.points]) == ("clip", [(230, 40.0), (600, 40.0)])
    assert (ours.name, [(p.seconds, p.mean) for p in ours.points]) == ("sd-clip", [(230, 30.0), (600, 40.0)])
    assert (ours.points[0].low, ours.points[0].high) == pytest.approx((25.0, 35.0))
    assert view.costs.title.text() == "Test R@1, % by seconds of training. sd-clip overtakes clip at about 410 s."
    drawn = view.costs._plot.plotItem.listDataItems()
    assert [item.name() for item in drawn] == ["clip", "sd-clip"]
    assert drawn[1].yData.tolist() == pytest.approx([30.0, 40.0])
    plot = view.costs._plot
    (left, right), (low, high) = plot.getViewBox().viewRange()
    assert (left, right) == pytest.approx((math.log(230) - 0.2, math.log(600) + 0.2))
    assert low < 25.0
    assert high > 45.0
    assert plot.getAxis("bottom")._tickLevels == [[(math.log(230), "230 s"), (math.log(600), "600 s")]]
    whiskers = [item.opts for item in plot.plotItem.items if isinstance(item, pg.ErrorBarItem)]
    assert [float(whisker["x"][0]) for whisker in whiskers] == [math.log(230), math.log(600)] * 2
    ends = [float(whisker[name][0]) for whisker in whiskers for name in ("y", "top", "bottom")]
    assert ends == pytest.approx([40, 5, 5, 40, 5, 5, 30, 5, 5, 40, 5, 5])
    assert drawn[1].toolTip() == "sd-clip, 230 s: 30.0 [25.0, 35.0]\nsd-clip, 600 s: 40.0 [35.0, 45.0]"
    assert drawn[0].opts["symbolBrush"] == theme().run_color(0)
    view.show_snapshot(replace(snapshot, results=results(80), results_stamp=1.5), {})
    assert view.bars.isVisibleTo(view)
    assert not view.costs.isVisibleTo(view)
    assert [bar.name for bar in view.bars.bars] == ["clip-80s", "sd-clip-80s"]


def test_arms_without_a_budget_or_the_metric_have_no_curve() -> None:
    study_results = results(230, 600)
    arms = study_results["arms"]
    arms["coca"] = {"of": "coca", "cost": None, "networks": {"final": {"test/R@1": mean(0.4)}}}
    arms["sd-clip-600s"]["networks"] = {"final": {}}
    curves = cost_curves(study_results, "test/R@1", "final")
    assert [(curve.name, curve.color, [point.seconds for point in curve.points]) for curve in curves] == [
        ("clip", 0, [230, 600]), ("sd-clip", 1, [230])
    ]  # fmt: skip
    assert curves[0].points[0].text == "40.0 [35.0, 45.0]"
    study_results["arms"] = dict(reversed(list(arms.items())))
    (backwards,) = [
        cost_curve for cost_curve in cost_curves(study_results, "test/R@1", "final") if cost_curve.name == "clip"
    ]
    assert [point.seconds for point in backwards.points] == [230, 600], "in the order of the budgets"
    study_results["arms"] = arms
    arms["clip-230s"]["networks"]["student"] = {"caption/CIDEr": mean(0.8)}
    (only,) = cost_curves(study_results, "caption/CIDEr", "student")
    assert [(point.mean, point.high) for point in only.points] == [(0.8, pytest.approx(0.85))]
