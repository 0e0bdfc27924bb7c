"""The page of plots: what a fold hides comes back."""

from __future__ import annotations

from pytestqt.qtbot import QtBot

from sdgui.panels.runs.plots.card import PlotCard
from sdgui.panels.runs.plots.groups import Chart
from sdgui.panels.runs.plots.page import Cards, PlotPage
from sdgui.panels.runs.plots.series import Series


def test_a_section_that_is_unfolded_shows_its_plots_again(qtbot: QtBot) -> None:
    page = PlotPage()
    assert page.widget() is page.content, "what does not fit is scrolled"
    qtbot.addWidget(page)
    page.resize(700, 500)
    page.show()
    loss, recall = (PlotCard(Chart(name, name, name)) for name in ("Losses", "Validation"))
    sections = [Cards("Losses", [loss], number=1), Cards("Validation", [recall], number=1)]
    page.set_sections(sections)
    assert loss.isVisible()
    assert recall.isVisible()
    page.set_sections([Cards("Losses", [loss], folded=True, number=1), sections[1]])
    assert (loss.isVisible(), recall.isVisible()) == (False, True)
    page.set_sections(sections)
    assert loss.isVisible()


def test_means_stay_in_a_plot_that_is_drawn_later(qtbot: QtBot) -> None:
    card = PlotCard(Chart("Losses", "Losses", "Losses"))
    qtbot.addWidget(card)
    run, mean = Series("run 1"), Series("mean")
    card.put(run)
    card.show_means([mean])
    assert card.make_canvas().series() == [mean]
    card.put(Series("run 2"))
    assert card.make_canvas().series() == [mean], "runs are not drawn beside their mean"
    card.show_means(None)
    assert [one.key for one in card.make_canvas().series()] == ["run 1", "run 2"]
