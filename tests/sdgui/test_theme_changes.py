"""Whoever draws with the theme's colours follows a change of it: a plot looks as one that is made in the new theme."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from PySide6.QtWidgets import QWidget
from pytestqt.qtbot import QtBot

import sdgui
from sdgui.panels.classify.tabs.point_plot import PointLine, PointPlot
from sdgui.panels.clean.histogram import ScoreHistogram
from sdgui.panels.clean.model import BINS
from sdgui.panels.data.figures import Bar, Bars
from sdgui.panels.home.cards import Sparkline
from sdgui.panels.runs.plots.canvas import PlotCanvas
from sdgui.panels.runs.plots.series import Series
from sdgui.panels.runs.relations.axes import axis_of
from sdgui.panels.runs.relations.scatter import Scatter
from sdgui.panels.search.tabs.evaluation import RecallCurve, RecallLine
from sdgui.panels.search.tabs.map_canvas import MapCanvas
from sdgui.panels.study.cost_curves import CostCurve, CostCurves, CostPoint
from sdgui.store.run_table.fields import metric, setting
from sdgui.widgets.empty_state import EmptyState
from sdgui.widgets.icon_button import IconButton
from sdgui.widgets.popovers.chip_button import ChipButton
from sdgui.widgets.relations.parallel import ParallelCoordinates
from sdgui.widgets.style.theme import Theme
from tests.sdgui.widgets.conftest import look

__all__ = ["look"]


def _canvas() -> QWidget:
    canvas, line = PlotCanvas(), Series("a", color=1)
    for step in range(9):
        line.append(step, step / 9)
    canvas.put(line)
    return canvas


def _scatter() -> QWidget:
    x, y = axis_of(setting("optim.learning_rate"), [0.1, 0.2]), axis_of(metric("val/top1"), [0.5, 0.6])
    assert x is not None
    assert y is not None
    scatter = Scatter()
    scatter.show_axes(x, y, ["a", "b"], [0, None])
    return scatter


def _parallel() -> QWidget:
    lines = ParallelCoordinates()
    axes = (axis_of(setting("optim.learning_rate"), [0.1, 0.2]), axis_of(metric("val/top1"), [0.5, 0.6]))
    lines.show_axes([one for one in axes if one is not None], ["a", "b"])
    return lines


def _points() -> QWidget:
    plot = PointPlot("name", "x")
    plot.set_lines([PointLine("probe", (0.1, 1.0), (0.2, 0.5))])
    return plot


def _recall() -> QWidget:
    curve = RecallCurve()
    curve.set_lines([RecallLine("A", [1, 5], [0.25, 0.75], 0)])
    return curve


def _histogram() -> QWidget:
    histogram = ScoreHistogram()
    histogram.set_bins(np.arange(BINS), None)
    return histogram


def _costs() -> QWidget:
    curves = CostCurves()
    points = tuple(CostPoint(seconds, 40.0, 35.0, 45.0, "40") for seconds in (200.0, 600.0))
    curves.set_curves("quality", [CostCurve("clip", points, 0)])
    return curves


def _map() -> QWidget:
    canvas = MapCanvas()
    canvas.set_points(np.array([[0.0, 0.0], [1.0, 1.0]]), [0, 1], 1)
    canvas.mark([1])
    return canvas


def _spark() -> QWidget:
    line = Sparkline()
    line.show_curve([0.0, 1.0, 0.5], 1, "loss")
    return line


def _bars() -> QWidget:
    bars = Bars("words")
    bars.set_bars([Bar("a", 3, "a"), Bar("b", 5, "b")])
    return bars


def _empty() -> QWidget:
    return EmptyState("ph.cube", "Nothing", "There is nothing.", "Get some")


MADE: list[Callable[[], QWidget]] = [
    _canvas, _scatter, _parallel, _points, _recall, _histogram, _costs, _map, _spark, _bars, _empty,
    lambda: IconButton("ph.x", "Close"), lambda: ChipButton("ph.cube", "Model"),
]  # fmt: skip


@pytest.mark.parametrize("make", MADE, ids=lambda make: make.__name__.strip("_<>"))
def test_a_theme_change_leaves_no_old_colours(qtbot: QtBot, look: Theme, make: Callable[[], QWidget]) -> None:
    def shown() -> QWidget:
        made = make()
        qtbot.addWidget(made)
        made.resize(240, 180)
        made.show()
        return made

    one = shown()
    light = one.grab().toImage()
    look.set_scheme("dark")
    dark = one.grab().toImage()
    assert dark != light
    assert dark == shown().grab().toImage()


# What is painted anew from the theme whenever it is shown, or by a part around it that follows the theme.
_PAINTED = {
    "_Column", "Readout", "FilterBox", "HeatImage", "CostCurves", "ErrorBars", "StudyView", "_Veil", "ImagePreview",
    "_Mark",
}  # fmt: skip
# Views whose delegates and painters ask the theme; they follow it for them.
_FOR_OTHERS = {"CaptionsList", "ConfusionMatrix", "Sparkline", "MachineList", "PlotLegend", "Gallery", "ExperimentTree"}
_FOLLOWS = "theme().changed.connect("


def _classes() -> Iterator[tuple[str, set[str], str]]:
    """Each class of the window: its name, the names of its bases, its text."""
    for file in Path(sdgui.__file__).parent.rglob("*.py"):
        if "theme()" not in (text := file.read_text(encoding="utf-8")):
            continue
        lines = text.splitlines()
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.ClassDef) and node.bases:
                bases = {ast.unparse(base) for base in node.bases}
                yield node.name, bases, "\n".join(lines[node.lineno - 1 : node.end_lineno])


def test_every_widget_that_reads_the_theme_follows_it() -> None:
    asking, following = set(), set()
    for name, bases, text in _classes():
        drawn_by_others = any(base.endswith(("Delegate", "Model")) for base in bases)
        if "theme()" in text.replace(_FOLLOWS, "") and not drawn_by_others:
            asking.add(name)
        if _FOLLOWS in text:
            following.add(name)
    assert asking - following == _PAINTED, "connect to theme().changed, or say here why it need not"
    assert following >= _FOR_OTHERS
