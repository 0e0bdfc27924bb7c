"""Progress strip, message bar, empty state: what they say and what they ask for."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
from PySide6.QtCore import QPoint, QRect, Qt
from PySide6.QtGui import QGuiApplication, QKeySequence
from PySide6.QtTest import QTest
from PySide6.QtWidgets import (
    QApplication,
    QFrame,
    QVBoxLayout,
    QWidget,
)
from pytestqt.qtbot import QtBot

from sdgui.widgets import formats
from sdgui.widgets.elided_label import ElidedLabel
from sdgui.widgets.empty_state import EmptyState
from sdgui.widgets.icon_button import IconButton
from sdgui.widgets.layouts.flow_layout import EvenFlowLayout, FlowLayout
from sdgui.widgets.layouts.over import FOOT_HEIGHT, lay_over
from sdgui.widgets.message import Message, Remedy
from sdgui.widgets.message_bar import MessageBar
from sdgui.widgets.popovers.placing import move_within
from sdgui.widgets.progress_strip import ProgressStrip, TimeLeft


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_time_left_of_steady_work() -> None:
    clock = Clock()
    time_left = TimeLeft(clock)
    time_left.update(0)
    assert time_left.seconds(100) is None
    for done in range(1, 31):
        clock.now = done * 2.0
        time_left.update(done)
    assert time_left.seconds(100) == pytest.approx(140, rel=0.01)
    clock.now += 5
    assert time_left.seconds(100) == pytest.approx(135, rel=0.01)  # it counts down between reports


def test_time_left_follows_a_change_of_speed_and_a_restart() -> None:
    clock = Clock()
    time_left = TimeLeft(clock)
    done = 0.0
    for rate in (10.0, 1.0):
        for _ in range(100):
            clock.now += 1
            done += rate
            time_left.update(done)
    assert time_left.seconds(done + 60) == pytest.approx(60, rel=0.1)
    time_left.update(0)
    assert time_left.seconds(100) is None


def test_the_strip_shows_task_progress_and_time_left(qtbot) -> None:
    clock = Clock()
    strip = ProgressStrip(clock=clock)
    qtbot.addWidget(strip)
    assert not strip.isVisible()
    strip.start("Indexing images", 3900, "images")
    for done in (390, 780):
        clock.now += 10
        strip.advance(done)
    assert strip.text == "Indexing images · 20 % · 780 of 3,900 images · 1 min 20 s left"
    assert strip.accessibleName() == f"Progress: {strip.text}"
    strip.advance(1000, seconds_left=9)
    assert strip.text.endswith("9 s left")
    strip.advance(3900)
    assert "left" not in strip.text
    strip.finish()
    assert not strip.isVisible()


def test_cancel_is_sent_once_and_shown(qtbot) -> None:
    strip = ProgressStrip()
    qtbot.addWidget(strip)
    strip.start("Reading")
    with qtbot.waitSignal(strip.cancelled):
        strip._cancel.click()
    with qtbot.assertNotEmitted(strip.cancelled):
        strip._cancel.click()
    strip.advance(3, title="Reading on")
    assert strip.text.startswith("Cancelling")
    strip.finish("Cancelled after 3 images.")
    assert strip.isVisible()
    assert strip.text == "Cancelled after 3 images."
    strip.start("Again", cancellable=False)
    assert not strip._cancel.isVisible()


def test_message_with_details_and_remedy(qtbot) -> None:
    bar = MessageBar()
    qtbot.addWidget(bar)
    assert not bar.isVisible()
    pressed: list[str] = []
    resume = Remedy("Resume", lambda: pressed.append(f"resumed, and the bar says {bar.text!r}"))
    bar.show_message(Message("error", "Out of memory.", "line 1\nline 2", resume))
    assert bar.isVisible()
    assert bar.accessibleName() == "error: Out of memory."
    assert not bar._details.isVisible()
    bar._fold.click()
    assert bar._details.isVisible()
    bar._copy.click()
    assert QGuiApplication.clipboard().text() == "Out of memory.\n\nline 1\nline 2"
    bar._action.click()
    assert pressed == ["resumed, and the bar says ''"]
    bar.press_remedy()
    assert len(pressed) == 1, "once"
    bar.show_message(Message("error", "Out of memory.", remedy=resume))
    bar.show_message(Message("info", "Saved."))
    bar.press_remedy()
    assert len(pressed) == 1, "a remedy goes with its message"
    assert not bar._fold.isVisible()
    bar.show_message(Message("error", f"a\nfolder {'x' * 5000} is gone."))
    assert bar.text.startswith("a\\u000afolder xxx")
    assert bar.text.endswith("xxx is gone.")
    assert len(bar.text) < 1100
    assert not bar._details.isVisible()
    assert not bar._action.isVisible()
    bar._close.click()
    assert not bar.isVisible()


def test_notices_float_over_the_content_and_move_nothing(qtbot) -> None:
    area = QWidget()
    qtbot.addWidget(area)
    content, column = QWidget(area), QVBoxLayout()
    column.addWidget(content)
    strip, bar = ProgressStrip(area), MessageBar(area)
    lay_over(area, column, strip, bar)
    area.resize(640, 400)
    area.show()
    before = content.geometry()
    strip.start("Encoding", total=10)
    bar.show_message(Message("error", "A sentence that needs more than one line of the bar. " * 4, "details"))
    bar._fold.click()
    QApplication.processEvents()
    assert content.geometry() == before
    assert area.rect().contains(bar.geometry())
    assert bar.height() > 60, "all of its lines"
    assert strip.geometry().bottom() < bar.geometry().top(), "each has its place"
    assert bar.geometry().bottom() < 400 - FOOT_HEIGHT, "a row of buttons at the lower edge stays in view"
    assert area.children().index(bar) > area.children().index(content), "on top"


def test_a_button_that_hides_passes_its_focus_to_no_other(qtbot: QtBot) -> None:
    window = QWidget()
    rail = IconButton("ph.house", "Home", parent=window)
    place = EmptyState("ph.flask", "No runs", "Start one.", "Try the demo", parent=window)
    rail.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
    place.activated.connect(lambda: place.set_content("Starting", "Wait."))
    qtbot.addWidget(window)
    window.show()
    window.activateWindow()
    place._button.setFocus()
    qtbot.waitUntil(place._button.hasFocus)
    place._button.click()
    assert place._button.isHidden()
    assert QApplication.focusWidget() is None


def test_the_empty_state_offers_one_step(qtbot) -> None:
    place = EmptyState("ph.flask", "No runs", "Start one.", "Try the demo", "Ctrl+D")
    qtbot.addWidget(place)
    place.show()
    with qtbot.waitSignal(place.activated):
        QTest.mouseClick(place._button, Qt.MouseButton.LeftButton)
    place.set_content("No matches", "Try other words.")
    assert not place._button.isVisible()
    assert place.accessibleName() == "No matches"


@pytest.mark.parametrize(("at", "where"), [((20, 30), (20, 30)), ((380, 290), (192, 192)), ((-50, -9), (8, 8))])
def test_a_popup_stays_above_its_window(qtbot, at: tuple[int, int], where: tuple[int, int]) -> None:
    window = QWidget()
    qtbot.addWidget(window)
    window.setGeometry(100, 50, 400, 300)
    window.show()
    popup = QFrame(window, Qt.WindowType.Popup)
    popup.resize(200, 100)
    move_within(popup, window.mapToGlobal(QPoint(*at)))
    assert popup.pos() - window.mapToGlobal(QPoint(0, 0)) == QPoint(*where)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.2, "0 s"), (9, "9 s"), (60, "1 min"), (70, "1 min 10 s"), (3600, "1 h"), (7500, "2 h 5 min"),
     (100_000, "1 d 3 h"), (59.7, "1 min"), (math.nan, "–"), (math.inf, "–"), (-1, "–")],
)  # fmt: skip
def test_duration(seconds: float, text: str) -> None:
    assert formats.duration(seconds) == text


@pytest.mark.parametrize(
    ("number", "unit", "text"),
    [(0.03125, "", "0.03125"), (1.5e-5, "", "1.500e-5"), (12345, "", "12345"), (1.25e6, "", "1.25 M"), (0, "", "0"),
     (0.4567, "%", "45.7 %"), (math.nan, "", "nan"), (math.inf, "", "∞"), (-math.inf, "", "-∞"), (2.5, "s", "2.5 s"),
     (-0.0002, "", "-2.000e-4"), (1e30, "", "1.000e30")],
)  # fmt: skip
def test_value(number: float, unit: str, text: str) -> None:
    assert formats.value(number, unit) == text


def test_clock_and_count() -> None:
    assert [formats.clock(s) for s in (9, 70, 7500)] == ["0:09", "1:10", "2:05:00"]
    assert formats.count(12345) == "12,345"
    assert formats.count(2.5e7) == "25 M"
    assert (formats.count(999_400_000), formats.count(999_900_000)) == ("999 M", "1 G")


def test_ticks_distinguish_neighbours() -> None:
    for start, spacing in ((0.0, 0.002), (1000.0, 0.5), (0.0, 250.0), (1e6, 2e4), (0.0, 2e-6)):
        texts = [formats.tick(start + i * spacing, spacing) for i in range(8)]
        assert len(set(texts)) == 8, texts


def filled(qtbot: QtBot, layout: FlowLayout, number: int) -> tuple[QWidget, list[QFrame]]:
    host = QWidget()
    qtbot.addWidget(host)
    layout.setSpacing(10)
    cards = [QFrame(host) for _ in range(number)]
    for height, card in enumerate(cards):
        card.setMinimumSize(100, 40 + height)
        layout.addWidget(card)
    host.setLayout(layout)
    host.show()
    return host, cards


def test_the_height_of_a_flow_follows_its_items(qtbot: QtBot) -> None:
    layout = FlowLayout()
    host, cards = filled(qtbot, layout, 2)
    assert layout.heightForWidth(100) == 40 + 10 + 41
    cards[0].setMinimumHeight(90)
    qtbot.waitUntil(lambda: layout.heightForWidth(100) == 90 + 10 + 41)
    cards[1].hide()
    qtbot.waitUntil(lambda: layout.heightForWidth(100) == 90)
    added = QFrame(host)
    added.setMinimumSize(100, 30)
    layout.addWidget(added)
    added.show()
    assert layout.heightForWidth(100) == 90 + 10 + 30
    layout.takeAt(0)
    assert layout.heightForWidth(100) == 30


@pytest.mark.parametrize(("width", "columns"), [(100, 1), (209, 1), (210, 2), (325, 3), (1000, 9)])
def test_cards_fill_the_width_in_as_many_columns_as_fit(qtbot: QtBot, width: int, columns: int) -> None:
    layout = EvenFlowLayout(100)
    _, cards = filled(qtbot, layout, 5)
    layout.setGeometry(QRect(3, 7, width, 500))
    places = [card.geometry() for card in cards]
    lines = [places[first : first + columns] for first in range(0, len(places), columns)]
    for line in lines:
        assert (line[0].left(), len({place.top() for place in line})) == (3, 1)
        gaps = [after.left() - before.right() - 1 for before, after in pairwise(line)]
        assert gaps == [10] * (len(line) - 1)
        assert [place.left() for place in line] == [place.left() for place in lines[0]][: len(line)], "in columns"
    if columns <= 5:
        assert lines[0][-1].right() + 1 == 3 + width, "nothing is left over at the right"
        assert max(place.width() for place in places) - min(place.width() for place in places) <= 1
    assert layout.heightForWidth(width) == places[-1].bottom() + 1 - 7


def test_an_elided_label_shows_the_border_of_its_style_sheet(qtbot: QtBot) -> None:
    label = ElidedLabel("sd-clip")
    qtbot.addWidget(label)
    label.resize(100, 20)
    label.setStyleSheet("border: none; border-left: 4px solid #ff0000;")
    assert label.grab().toImage().pixelColor(1, 10).name() == "#ff0000", "a run's colour beside its name"


def test_the_text_of_a_button_may_change_without_losing_the_shortcut(qtbot: QtBot) -> None:
    button = IconButton("ph.funnel", "Filter", "Ctrl+Shift+F", "Filters")
    qtbot.addWidget(button)
    assert button.shortcut() == QKeySequence("Ctrl+Shift+F")
    button.setText("Filters (2)")
    assert button.shortcut() == QKeySequence("Ctrl+Shift+F")


def test_only_a_message_that_needs_no_reaction_goes_by_itself(qtbot: QtBot, monkeypatch: pytest.MonkeyPatch) -> None:
    bar = MessageBar(info_seconds=0.01)
    qtbot.addWidget(bar)
    bar.show_message(Message("warning", "The disk is nearly full."))
    bar._info_timer.timeout.emit()
    assert bar.message is not None
    bar.show_message(Message("info", "Finished.", remedy=Remedy("Search", lambda: None)))
    bar._info_timer.timeout.emit()
    assert bar.message is not None
    bar.show_message(Message("info", "Imported."))
    monkeypatch.setattr(bar, "underMouse", lambda: True)
    bar._info_timer.timeout.emit()
    assert bar.message is not None, "it is being read"
    monkeypatch.setattr(bar, "underMouse", lambda: False)
    qtbot.waitUntil(lambda: bar.message is None)
