"""No two things that may be seen at once take the same key: Qt would do neither, and say nothing."""

from __future__ import annotations

from collections import Counter

import pytest
from PySide6.QtGui import QKeySequence, QShortcut
from PySide6.QtWidgets import QCheckBox, QMainWindow, QMenu, QPushButton, QStackedWidget, QTabWidget, QWidget
from pytestqt.qtbot import QtBot

from core.spec.presets import preset_config
from sdgui.app.main_window import MainWindow
from sdgui.panels.classify.panel import ClassifyPanel
from sdgui.panels.classify.view import TAB_NAMES
from sdgui.panels.registry import PANELS
from sdgui.panels.study.panel import StudyPanel
from tests.sdgui.conftest import OpenWindow
from tests.sdgui.keys import collisions


@pytest.fixture
def whole(open_window: OpenWindow) -> MainWindow:
    """Every place with all its parts, as they are when something is shown in them."""
    window = open_window()
    window.experiment_commands.add(preset_config("sd-clip", "tiny"), "one")
    for spec in PANELS:
        place = window.show_panel(spec.name)
        if isinstance(place, ClassifyPanel):
            assert all(getattr(place.view, part) is not None for part in TAB_NAMES)
    return window


def test_no_two_shortcuts_or_mnemonics_collide_in_any_panel_or_menu(whole: MainWindow) -> None:
    study = whole.panels["study"]
    assert isinstance(study, StudyPanel)
    for begin, stop in (("&Start", "Sto&p"), ("Re&sume", "&Kill")):
        study.toolbar.start.setText(begin)
        study.toolbar.stop.setText(stop)
        assert collisions(whole) == []
    menus = [menu for action in whole.menuBar().actions() if isinstance(menu := action.menu(), QMenu)]
    assert len(menus) == 4
    for menu in menus:
        letters = Counter(QKeySequence.mnemonic(action.text()).toString() for action in menu.actions())
        assert [key for key, count in letters.items() if key and count > 1] == [], menu.title()


def test_collisions_are_found(qtbot: QtBot) -> None:
    window = QMainWindow()
    qtbot.addWidget(window)
    stack, tabs = QStackedWidget(window), QTabWidget(window)
    window.setCentralWidget(stack)
    for text in ("&One", "&Over"):  # never seen at once
        page = QWidget(stack)
        QPushButton(text, page)
        stack.addWidget(page)
    assert collisions(window) == []
    window.menuBar().addMenu("&Run")
    tabs.addTab(QCheckBox("&Right", tabs), "Re&sult")
    assert collisions(window) == ["Alt+R: the button '&Right' and QMenuBar '&Run'"]
    QShortcut(QKeySequence("Alt+S"), window)
    assert collisions(window)[1:] == ["Alt+S: a shortcut of QMainWindow and QTabBar 'Re&sult'"]
