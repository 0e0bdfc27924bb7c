"""The page of plots: what a fold hides comes back."""

from __future__ import annotations

from itertools import pairwise

from PySide6.QtCore import QPoint, QRect, QSize
from pytestqt.qtbot import QtBot

from sdgui.panels.runs.plots.card import PlotCard
from sdgui.panels.runs.plots.groups import Chart
from sdgui.panels.runs.plots.page import Cards, PlotPage
from sdgui.panels.runs.plots.series import Series
from sdgui.widgets.style.theme import SPACE


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
    assert [series.key for series in card.make_canvas().series()] == ["run 1", "run 2"]


def test_plots_stand_below_their_heads_in_as_many_columns_as_fit(qtbot: QtBot) -> None:
    page, folded = PlotPage(), list[str]()
    qtbot.addWidget(page)
    page.folded.connect(folded.append)
    page.show()
    cards = [PlotCard(Chart(str(number), str(number), "Losses")) for number in range(5)]
    page.set_sections([
        Cards("First", cards[:1], large=True, number=1),
        Cards("Folded", (), folded=True, number=7),
        Cards("Losses", cards[1:4], number=3),
        Cards("Other", cards[4:], number=1),
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
    assert [page._heads[title].text() for title in ("First", "Folded")] == ["First", "Folded (7)"]
    page._heads["Folded"].click()
    assert folded == ["Folded"]


def test_plots_are_made_as_they_are_scrolled_into_view(qtbot: QtBot) -> None:
    page, seen = PlotPage(), list[PlotCard]()
    qtbot.addWidget(page)
    page.card_seen.connect(seen.append)
    cards = [PlotCard(Chart(str(number), str(number), "Losses")) for number in range(6)]
    page.set_sections([Cards("Losses", cards, number=6)])
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
