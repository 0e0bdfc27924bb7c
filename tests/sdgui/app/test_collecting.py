"""Garbage that holds widgets is freed by the window's own thread."""

from __future__ import annotations

import gc
import threading
import weakref
from collections.abc import Iterator

import pytest
from PySide6.QtWidgets import QWidget
from pytestqt.qtbot import QtBot

from sdgui.app.collecting import Collector
from sdgui.app.start import make_application


@pytest.fixture
def often() -> Iterator[None]:
    """Young garbage is due after a hundred objects."""
    before = gc.get_threshold()
    gc.set_threshold(100, 1000, 1000)
    yield
    gc.set_threshold(*before)


def allocate() -> list[list[int]]:
    return [[number] for number in range(100_000)]


def test_a_widget_in_a_cycle_dies_in_the_thread_that_made_it(qtbot: QtBot, often: None) -> None:
    gc.enable()  # as Python starts
    app = make_application()
    for existing in app.findChildren(Collector):
        existing.setParent(None)
    make_application()
    make_application()
    assert len(app.findChildren(Collector)) == 1

    freed_by: list[threading.Thread] = []
    widget = QWidget()
    widget.itself = widget  # type: ignore[attr-defined]
    weakref.finalize(widget, lambda: freed_by.append(threading.current_thread()))
    del widget
    other = threading.Thread(target=allocate)
    other.start()
    other.join()
    assert freed_by == []

    kept = allocate()  # what is freed meanwhile is not counted
    qtbot.waitUntil(lambda: bool(freed_by))
    assert freed_by == [threading.main_thread()]
    assert kept
