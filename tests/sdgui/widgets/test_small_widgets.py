"""Progress strip, message bar, empty state: what they say and what they ask for."""

from __future__ import annotations

import pytest
from PySide6.QtCore import QPoint, Qt
from PySide6.QtGui import QGuiApplication
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QApplication, QFrame, QStyleOptionComboBox, QVBoxLayout, QWidget

from sdgui.app.start import make_application
from sdgui.widgets.elided_label import ElidedLabel
from sdgui.widgets.empty_state import EmptyState
from sdgui.widgets.layouts.over import lay_over
from sdgui.widgets.message import Message, Remedy
from sdgui.widgets.message_bar import MessageBar
from sdgui.widgets.popovers.placing import move_within
from sdgui.widgets.progress_strip import ProgressStrip, TimeLeft
from sdgui.widgets.still_boxes import NoWheelComboBox


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


def test_strip_tells_what_how_far_and_how_long(qtbot) -> None:
    clock = Clock()
    strip = ProgressStrip(clock=clock)
    qtbot.addWidget(strip)
    assert not strip.isVisible()
    strip.start("Indexing images", 3900, "images")
    for done in (390, 780):
        clock.now += 10
        strip.advance(done)
    assert strip.text == "Indexing images · 20 % · 780 of 3\u2009900 images · 1 min 20 s left"
    assert strip.accessibleName() == f"Progress: {strip.text}"
    strip.advance(1000, seconds_left=9)
    assert strip.text.endswith("9 s left")
    strip.advance(3900)
    assert "left" not in strip.text
    strip.finish()
    assert not strip.isVisible()


def test_cancel_is_asked_once_and_seen(qtbot) -> None:
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
    assert not bar._details.isVisible()
    assert not bar._action.isVisible()
    with qtbot.waitSignal(bar.dismissed):
        bar._close.click()
    assert not bar.isVisible()


def test_notices_lie_over_the_content_and_move_nothing(qtbot) -> None:
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
    assert area.children().index(bar) > area.children().index(content), "on top"


def test_message_is_never_taken_for_markup(qtbot) -> None:
    bar = MessageBar()
    qtbot.addWidget(bar)
    bar.show_message(Message("error", "<b>no tags</b>"))
    assert bar._text.textFormat() == Qt.TextFormat.PlainText


def test_empty_state_offers_one_step(qtbot) -> None:
    place = EmptyState("ph.flask", "No runs", "Start one.", "Try the demo", "Ctrl+D")
    qtbot.addWidget(place)
    place.show()
    with qtbot.waitSignal(place.activated):
        QTest.mouseClick(place._button, Qt.MouseButton.LeftButton)
    place.set_content("No matches", "Try other words.")
    assert not place._button.isVisible()
    assert place.accessibleName() == "No matches"


def test_elided_label_keeps_the_whole_text(qtbot) -> None:
    label = ElidedLabel("a very long text " * 20)
    qtbot.addWidget(label)
    label.resize(100, 20)
    label.show()
    assert label.text() == label.toolTip() == "a very long text " * 20
    assert label.minimumSizeHint().width() < 100
    label.grab()


@pytest.mark.parametrize(("at", "where"), [((20, 30), (20, 30)), ((380, 290), (192, 192)), ((-50, -9), (8, 8))])
def test_a_popup_stays_over_its_window(qtbot, at: tuple[int, int], where: tuple[int, int]) -> None:
    window = QWidget()
    qtbot.addWidget(window)
    window.setGeometry(100, 50, 400, 300)
    window.show()
    popup = QFrame(window, Qt.WindowType.Popup)
    popup.resize(200, 100)
    move_within(popup, window.mapToGlobal(QPoint(*at)))
    assert popup.pos() - window.mapToGlobal(QPoint(0, 0)) == QPoint(*where)


def test_a_hint_is_not_drawn_as_a_choice(qtbot) -> None:
    box = NoWheelComboBox()
    qtbot.addWidget(box)
    box.resize(200, 28)
    box.setPlaceholderText("MMMMMMMM")
    assert box.currentIndex() == -1
    hint = box.grab().toImage()
    box.addItem("MMMMMMMM")
    box.setCurrentIndex(0)
    choice = box.grab().toImage()
    middle = [(x, hint.height() // 2) for x in range(8, 100)]
    contrast = [min(image.pixelColor(*at).lightness() for at in middle) for image in (hint, choice)]
    assert contrast[0] > contrast[1] + 40, "the hint is paler, on a light ground"


def test_a_long_choice_ends_in_an_ellipsis(qtbot, monkeypatch) -> None:
    name = "self-distilling CLIP on the demo · run 12 · teacher"
    box = NoWheelComboBox()
    qtbot.addWidget(box)
    box.addItem(name)
    drawn = []
    shown_text = box.shown_text
    monkeypatch.setattr(box, "shown_text", lambda option: drawn.append(shown_text(option)) or drawn[-1])
    for width in (160, 800):
        box.resize(width, 28)
        box.grab()
    assert drawn[0] != name
    assert "…" in drawn[0]
    assert box.fontMetrics().horizontalAdvance(drawn[0]) < 160
    assert drawn[-1] == name


@pytest.mark.parametrize("name", ["no labels", "best · step 234", "student", "final network (teacher if there is one)"])
def test_a_box_that_fits_its_contents_shortens_none(qtbot, name: str) -> None:
    make_application()
    box = NoWheelComboBox()
    qtbot.addWidget(box)
    box.setSizeAdjustPolicy(box.SizeAdjustPolicy.AdjustToContents)
    box.addItem(name)
    box.adjustSize()
    option = QStyleOptionComboBox()
    box.initStyleOption(option)
    assert box.shown_text(option) == name
