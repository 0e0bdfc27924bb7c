"""Runs the cyclic garbage collector only in the main thread.

A cycle may hold widgets, and Python collects in whichever thread allocates. A widget that a worker thread frees leaves
Qt with a pointer to nothing: the process ends, often much later and elsewhere.
"""

from __future__ import annotations

import gc
import time

from PySide6.QtCore import QCoreApplication, QObject, QTimer

from sdgui.app.main_window import MainWindow

_EVERY = 100  # ms; the objects allocated in this time are traversed in a few ms
_FULL_EVERY = 60.0  # s between full rounds, which walk everything that is not frozen
_LOADED = 30_000  # objects made within a round: data that were loaded, which hold no cycles and would take 40 ms


class Collector(QObject):
    """Collects where its timer runs, by Python's own limits."""

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        gc.disable()
        self._full = time.monotonic()
        self._loaded = False  # whether objects were frozen since the last full round
        timer = QTimer(self, interval=_EVERY)
        timer.timeout.connect(self.collect_due)
        timer.start()

    def collect_due(self) -> None:
        """Collect the oldest generation that is due; bulk data is skipped until the next full collection."""
        if gc.get_count()[0] > _LOADED:
            gc.collect(1)  # existing garbage must not be frozen with it
            gc.freeze()
            self._loaded = True
            return
        now = time.monotonic()
        due_generations = [
            generation
            for generation, (count, limit) in enumerate(zip(gc.get_count(), gc.get_threshold(), strict=True))
            if limit and count > limit and (generation < 2 or now - self._full >= _FULL_EVERY)
        ]
        if 2 in due_generations and self._loaded:
            gc.unfreeze()
        if due_generations:
            gc.collect(due_generations[-1])
        if 2 in due_generations:
            self._full = now
            if self._loaded:
                gc.freeze()
                self._loaded = False


def collect_here(app: QCoreApplication) -> None:
    """Collect garbage only in the thread of ``app``, with one collector however often this is called."""
    if app.findChild(Collector) is None:
        Collector(app)


def spare_collections(window: MainWindow) -> None:
    """Exclude permanent objects from garbage collection, of which a full round takes 80 ms.

    For windows that live as long as their process: frozen objects are never collected.
    """
    gc.freeze()
    window.stack.built.connect(lambda _name: gc.freeze())
