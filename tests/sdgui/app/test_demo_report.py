"""The demo data as they are drawn: the strip, and what is offered after a failure or a cancel."""

from __future__ import annotations

from typing import Any, cast

import pytest
from PySide6.QtCore import QObject, Signal
from pytestqt.qtbot import QtBot

from sdgui.app.demo_report import DemoReport
from sdgui.widgets.message import Message
from sdgui.widgets.progress_strip import ProgressStrip


class Demo(QObject):
    progress = Signal(int, int, str)
    ready = Signal()
    failed = Signal(str, str)

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[str] = []

    def make(self) -> None:
        self.asked.append("make")

    def cancel(self) -> None:
        self.asked.append("cancel")


@pytest.fixture
def strip(qtbot: QtBot) -> ProgressStrip:
    strip = ProgressStrip()
    qtbot.addWidget(strip)
    return strip


def test_the_strip_is_there_while_data_are_drawn(strip: ProgressStrip) -> None:
    demo, told = Demo(), list[Message]()
    report = DemoReport(cast(Any, demo), strip)
    report.message_requested.connect(told.append)
    assert strip.isHidden()
    demo.progress.emit(5, 50, "Drawing")
    assert (strip.isVisible(), strip.text) == (True, "Drawing · 10 % · 5 of 50 images")
    demo.progress.emit(25, 50, "Writing")
    assert strip.text.startswith("Writing · 50 %")
    demo.ready.emit()
    assert (strip.isHidden(), told) == (True, [])
    demo.progress.emit(5, 50, "Drawing")
    demo.failed.emit("No room.", "details")
    assert strip.isHidden()
    demo.progress.emit(5, 50, "Drawing")
    strip.cancelled.emit()
    assert strip.isHidden()
    assert [(one.level, one.details, one.remedy.label if one.remedy else "") for one in told] == [
        ("error", "details", "Try again"), ("info", "", "Create it")
    ]  # fmt: skip
    for one in told:
        assert one.remedy is not None
        one.remedy.do()
    assert demo.asked == ["cancel", "make", "make"]
