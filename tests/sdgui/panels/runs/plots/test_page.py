"""The page of plots: what a fold hides comes back."""

from __future__ import annotations

from pytestqt.qtbot import QtBot

from sdgui.panels.runs.plots.card import PlotCard
from sdgui.panels.runs.plots.groups import Chart
from sdgui.panels.runs.plots.page import Cards, PlotPage


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
