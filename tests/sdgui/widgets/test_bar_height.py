"""A message lies over a panel and never takes its place, folded or not."""

from __future__ import annotations

import pytest
from PySide6.QtWidgets import QVBoxLayout, QWidget
from pytestqt.qtbot import QtBot

from sdgui.widgets.layouts.over import lay_over
from sdgui.widgets.message import Message
from sdgui.widgets.message_bar import MessageBar


@pytest.mark.parametrize("details", ["", "one line\nanother"])
def test_a_bar_is_as_high_as_what_it_says(qtbot: QtBot, details: str) -> None:
    panel = QWidget()
    qtbot.addWidget(panel)
    bar = MessageBar(panel)
    lay_over(panel, QVBoxLayout(), bar)
    panel.resize(800, 600)
    panel.show()
    bar.show_message(Message("error", "It could not be read.", details))
    if details:
        bar._fold.click()
    qtbot.waitUntil(lambda: bar.y() + bar.height() > 560)
    assert bar.height() == bar.heightForWidth(bar.width()) < 300
