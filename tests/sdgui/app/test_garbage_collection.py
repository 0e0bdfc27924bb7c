"""Garbage that holds widgets is freed by the window's own thread."""

from __future__ import annotations

import gc
import threading
import weakref
from collections.abc import Callable, Iterator

import pytest
from PySide6.QtCore import SignalInstance
from PySide6.QtWidgets import QWidget
from pytestqt.qtbot import QtBot

from sdgui.app import main_window
from sdgui.app.collecting import Collector, freeze_permanent_objects
from sdgui.app.main_window import MainWindow
from sdgui.app.start import make_application
from sdgui.shared.panel import PanelSpec
from sdgui.store.store import Store


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


def lost_widget() -> weakref.ref[QWidget]:
    """A widget that only the collector can free."""
    cycle: list[object] = []
    widget = QWidget()
    cycle += [cycle, widget]
    return weakref.ref(widget)


def test_nothing_is_collected_while_the_collector_pauses(qtbot: QtBot, often: None) -> None:
    (collector,) = make_application().findChildren(Collector)
    try:
        collector.pause()
        lost = lost_widget()
        kept = allocate()
        qtbot.wait(300)  # three rounds
        assert lost() is not None

        collector.resume()  # what was created during the pause is permanent
        lost_later = lost_widget()
        kept += allocate()
        qtbot.waitUntil(lambda: lost_later() is None)
        assert lost() is not None
    finally:
        collector.resume()
        gc.unfreeze()


def test_the_window_pauses_the_collector_until_its_panels_are_imported(
    qtbot: QtBot, open_window: Callable[[], MainWindow], monkeypatch: pytest.MonkeyPatch
) -> None:
    make_application()
    calls: list[str] = []
    monkeypatch.setattr(Collector, "pause", lambda _self: calls.append("pause"))
    monkeypatch.setattr(Collector, "resume", lambda _self: calls.append("resume"))
    monkeypatch.setattr(gc, "freeze", lambda: None)
    may_import = threading.Event()

    def load(_first: PanelSpec, _store: Store, first_imported: SignalInstance) -> None:
        first_imported.emit()
        may_import.wait(60)

    monkeypatch.setattr(main_window, "load_panels", load)
    window = open_window()
    freeze_permanent_objects(window)
    assert calls == ["pause"]
    may_import.set()
    qtbot.waitUntil(lambda: calls == ["pause", "resume"])
    freeze_permanent_objects(window)
    assert calls == ["pause", "resume"], "they have been imported"
