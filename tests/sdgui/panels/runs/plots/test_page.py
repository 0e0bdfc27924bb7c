"""The page of plots: what a fold hides comes back."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from PySide6.QtCore import QPoint, QRect, QSize, Qt
from pytestqt.qtbot import QtBot
from scipy import stats

from sdgui.panels.runs.plots.arrangement import Arrangement
from sdgui.panels.runs.plots.card import PlotCard
from sdgui.panels.runs.plots.charts import Chart, chart_of
from sdgui.panels.runs.plots.grouping import MAX_POINTS, group_curves, mean_curve
from sdgui.panels.runs.plots.page import CardSection, PlotPage
from sdgui.panels.runs.plots.series import Series
from sdgui.widgets.style.theme import SPACE


def test_means_stay_in_a_lazily_drawn_plot(qtbot: QtBot) -> None:
    card = PlotCard(Chart("Losses", "Losses", "Losses"))
    qtbot.addWidget(card)
    run, mean = Series("run 1"), Series("mean")
    card.put(run)
    card.show_means([mean])
    assert card.make_canvas().series() == [mean]
    card.put(Series("run 2"))
    assert card.make_canvas().series() == [mean], "runs are not drawn beside their mean"
    card.show_means(None)
    assert [series.key for series in card.make_canvas().series()] == ["run 1", "run 2"]


def test_plots_are_laid_out_below_headings_in_as_many_columns_as_fit(qtbot: QtBot) -> None:
    page, folded = PlotPage(), list[str]()
    qtbot.addWidget(page)
    page.folded.connect(folded.append)
    page.show()
    cards = [PlotCard(Chart(str(number), str(number), "Losses")) for number in range(5)]
    page.set_sections([
        CardSection("First", cards[:1], large=True),
        CardSection("Folded", cards[:3], folded=True),
        CardSection("Losses", cards[1:4]),
        CardSection("Other", cards[4:]),
    ])  # fmt: skip
    gap, low = SPACE + SPACE // 2, 28 * SPACE

    def laid(width: int, height: int) -> list[QRect]:
        page.resize(width, height)
        page.lay_out()
        return [card.geometry() for card in cards]

    for width, columns in ((350, 1), (750, 2), (1100, 3)):
        first, *boxes, last = laid(width, 500)
        room = page.viewport().width()
        assert (first.x(), first.width(), first.height()) == (0, room, 40 * SPACE), "the first is large"
        assert {(box.width(), box.height()) for box in boxes} == {((room - gap * (columns - 1)) // columns, low)}
        places = [(number // columns, number % columns) for number in range(3)]
        corners = [(column * (boxes[0].width() + gap), boxes[0].y() + row * (low + gap)) for row, column in places]
        assert [(box.x(), box.y()) for box in boxes] == corners
        heads = [page._heads[title].geometry() for title in ("First", "Folded", "Losses", "Other")]
        assert heads[0].topLeft() == QPoint(0, 0)
        ends = [heads[0], first, heads[1], heads[2], boxes[-1], heads[3], last]
        assert all(below.top() > above.bottom() for above, below in pairwise(ends)), "one below the other"
        assert page.content.size() == QSize(room, last.bottom() + 1 + gap + SPACE)
    assert laid(750, 200)[0].height() == low, "of a low page the first is as high as the others"
    assert laid(750, 320)[0].height() == page.viewport().height() - 5 * SPACE
    assert [page._heads[title].text() for title in ("First", "Folded")] == ["First", "Folded (3)"]
    page._heads["Folded"].click()
    assert folded == ["Folded"]


def test_plots_are_created_when_scrolled_into_view(qtbot: QtBot) -> None:
    page, seen = PlotPage(), list[PlotCard]()
    qtbot.addWidget(page)
    page.card_seen.connect(seen.append)
    cards = [PlotCard(Chart(str(number), str(number), "Losses")) for number in range(6)]
    page.set_sections([CardSection("Losses", cards)])
    page.resize(750, 28 * SPACE + 4 * SPACE)
    page.lay_out()
    page._report_seen_card()
    assert seen == [], "nobody looks"
    page.show()
    qtbot.waitUntil(lambda: len(seen) > 1 and not page._report_timer.isActive() and not page._layout_timer.isActive())
    assert list(dict.fromkeys(seen)) == cards[:2]
    seen.clear()
    page.verticalScrollBar().setValue(page.verticalScrollBar().maximum())
    qtbot.waitUntil(lambda: len(seen) > 1 and not page._report_timer.isActive())
    assert seen == cards[4:], "each once"


def test_the_mean_and_its_interval_match_students_t() -> None:
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
    assert (len(steps), steps[0], steps[-1]) == (MAX_POINTS, 0.0, 2999.0)
    assert mean == pytest.approx(steps), "of more points than can be seen, as many"


def test_runs_with_different_steps_are_interpolated() -> None:
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


def test_a_folded_section_opens_for_a_search() -> None:
    charts = [chart_of(name) for name in ("train/loss", "train/lr")]
    folded = Arrangement().fold("Losses")
    assert [section.folded for section in folded.sections(charts)] == [True, False]
    sections = Arrangement(folded=folded.folded, search="total LOSS").sections(charts)
    assert [(section.folded, len(section.charts)) for section in sections] == [(False, 1)]
    restored = Arrangement.from_json(folded.pin("a").to_json())
    assert (restored.folded, restored.pinned) == ({"Losses"}, ("a",))
    combined = folded.combine("a", "b").combine("b", "c").with_range("c", (0.1, 0.5))
    restored = Arrangement.from_json(combined.to_json())
    assert (restored.combined, restored.ranges) == ({"a": "c", "b": "c"}, {"c": (0.1, 0.5)}), "no guest has guests"
    assert (restored.separate("c").combined, restored.with_range("c", None).ranges) == ({}, {})
    assert Arrangement.from_json('{"pinned": ["a"], "ranges": {"c": "01"}}') == Arrangement()
    assert Arrangement.from_json("[1]") == Arrangement.from_json("{") == Arrangement()
