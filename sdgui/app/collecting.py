"""Runs the cyclic garbage collector only in the main thread.

A reference cycle may contain widgets, and Python collects in whichever thread allocates. If another thread frees a
widget, Qt keeps a dangling pointer, and the process crashes, often much later and elsewhere.
"""

from __future__ import annotations

import gc
import time

from PySide6.QtCore import QCoreApplication, QObject, QTimer

from sdgui.app.main_window import MainWindow

_INTERVAL_MS = 100  # interval of rounds; traversing the objects allocated in between takes a few ms
_FULL_SECONDS = 60.0  # minimum time between full collections, which traverse everything that is not frozen
_BULK_OBJECTS = 30_000  # more new objects in one round are assumed to be loaded data without reference cycles


class Collector(QObject):
    """Collects garbage in the thread of its timer, with Python's thresholds."""

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        gc.disable()
        self._last_full = time.monotonic()
        self._has_frozen_bulk = False  # whether bulk data was frozen since the last full collection
        self._timer = QTimer(self, interval=_INTERVAL_MS)
        self._timer.timeout.connect(self.collect_due)
        self._timer.start()

    def pause(self) -> None:
        """Do not collect until ``resume``."""
        self._timer.stop()

    def resume(self) -> None:
        """Collect again, except what was created during the pause."""
        gc.freeze()
        self._timer.start()

    def collect_due(self) -> None:
        """Collect the oldest generation that is due; bulk data is skipped until the next full collection."""
        if gc.get_count()[0] > _BULK_OBJECTS:
            gc.collect(1)  # removes young garbage, which would otherwise be frozen too
            gc.freeze()
            self._has_frozen_bulk = True
            return
        now = time.monotonic()
        due_generations = [
            generation
            for generation, (count, limit) in enumerate(zip(gc.get_count(), gc.get_threshold(), strict=True))
            if limit and count > limit and (generation < 2 or now - self._last_full >= _FULL_SECONDS)
        ]
        if 2 in due_generations and self._has_frozen_bulk:
            gc.unfreeze()
        if due_generations:
            gc.collect(due_generations[-1])
        if 2 in due_generations:
            self._last_full = now
            if self._has_frozen_bulk:
                gc.freeze()
                self._has_frozen_bulk = False


def collect_in_main_thread(app: QCoreApplication) -> None:
    """Collect garbage only in the thread of ``app``; repeated calls share one collector."""
    if app.findChild(Collector) is None:
        Collector(app)


def freeze_permanent_objects(window: MainWindow) -> None:
    """Exclude permanent objects from garbage collection, because a full collection of them takes 80 ms.

    Nothing is collected while panels are being imported. Only for windows that live as long as the process: frozen
    objects are never collected.
    """
    gc.freeze()
    window.stack.built.connect(lambda _name: gc.freeze())
    app = QCoreApplication.instance()
    for collector in app.findChildren(Collector) if app else ():
        window.panels_imported.connect(collector.resume)
        window.destroyed.connect(collector.resume)
        if not window.has_imported_panels:
            collector.pause()
