"""The tour beside the rail: offered once, by keys alone, without blocking the window."""

from __future__ import annotations

from PySide6.QtCore import QPoint, Qt
from PySide6.QtWidgets import QApplication, QToolButton
from pytestqt.qtbot import QtBot

from sdgui.actions.tour import STEPS, Tour
from sdgui.app.main_window import MainWindow
from tests.sdgui.conftest import settle
from tests.sdgui.driving import OpenWindow, press

NONE = Qt.KeyboardModifier.NoModifier


def shown(window: MainWindow) -> list[Tour]:
    return [tour for tour in window.findChildren(Tour) if tour.isVisible()]


def button(window: MainWindow, action: str) -> QToolButton:
    buttons = window.rail.findChildren(QToolButton)
    return next(each for each in buttons if each.defaultAction().objectName() == action)


def test_the_demo_offers_a_tour_once_and_enter_walks_through_it(qtbot: QtBot, open_window: OpenWindow) -> None:
    window = open_window()
    window.resize(1280, 720)
    window.experiment_commands.add_demo("search")
    qtbot.waitUntil(lambda: bool(shown(window)))
    focused = QApplication.focusWidget()
    assert focused is not None
    assert not shown(window)[0].isAncestorOf(focused), "what is typed is a query"
    window.window_actions["tour"].trigger()
    for step, (action, title, _) in enumerate(STEPS):
        (tour,) = shown(window)
        about = button(window, action)
        right = about.mapTo(window, QPoint(about.width(), 0))
        assert (tour.step, title in tour.accessibleName()) == (step, True)
        assert tour.x() >= right.x(), "it does not cover the button"
        assert window.rect().contains(tour.geometry())
        press(qtbot, window, Qt.Key.Key_Return, NONE)
    assert shown(window) == []
    window.experiment_commands.add_demo("search")
    settle(window)
    assert shown(window) == []


def test_the_help_menu_starts_it_and_the_window_goes_on(qtbot: QtBot, open_window: OpenWindow) -> None:
    window = open_window()
    settle(window)
    assert shown(window) == [], "only the demo offers it"
    window.window_actions["tour"].trigger()
    qtbot.mouseClick(button(window, "machines"), Qt.MouseButton.LeftButton)
    assert (window.panel_name, len(shown(window))) == ("machines", 1)
    window.window_actions["tour"].trigger()
    assert len(shown(window)) == 1
    before = QApplication.focusWidget()
    assert before is not None
    assert shown(window)[0].isAncestorOf(before)
    press(qtbot, window, Qt.Key.Key_Escape, NONE)
    assert shown(window) == []
    assert QApplication.focusWidget() is window, "not the first button of the rail"
