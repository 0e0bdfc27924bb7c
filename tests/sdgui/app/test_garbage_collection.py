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


def allocate(count: int = 10_000) -> list[list[int]]:
    return [[number] for number in range(count)]


def test_a_widget_in_a_cycle_is_freed_in_its_own_thread(qtbot: QtBot, often: None) -> None:
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


def test_bulk_data_is_not_traversed_by_the_collector(qtbot: QtBot) -> None:
    make_application()
    try:
        loaded = allocate(100_000)
        qtbot.waitUntil(lambda: gc.get_count()[0] < 30_000)
        assert not any(one is loaded[0] for one in gc.get_objects())  # frozen
    finally:
        gc.unfreeze()


def test_a_cycle_is_freed_while_data_are_loaded(qtbot: QtBot, monkeypatch: pytest.MonkeyPatch) -> None:
    make_application()
    collector = Collector()
    try:
        for garbage_comes in ("before the load", "after it"):
            cycle: list[object] = []
            cycle.append(cycle)
            holder = QWidget()
            cycle.append(holder)
            freed = weakref.ref(holder)
            if garbage_comes == "before the load":
                del cycle, holder
            loaded = allocate(100_000)
            collector.collect_due()
            if garbage_comes == "after it":
                del cycle, holder
                monkeypatch.setattr(gc, "get_count", lambda: (0, 0, 10_000))
                monkeypatch.setattr(collector, "_last_full", -100.0)
                collector.collect_due()
                monkeypatch.undo()
            assert freed() is None, garbage_comes
            assert loaded
    finally:
        gc.unfreeze()
