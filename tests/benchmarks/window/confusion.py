"""The confusion matrix's figures: 1,000 classes drawn, as a real classifier fills them and with every cell filled.

Flow: ``tests.benchmarks.window`` -> here -> a real `ConfusionMatrix` with counts drawn at random.
"""

from __future__ import annotations

import statistics
import time
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PySide6.QtCore import QPointF
from PySide6.QtWidgets import QApplication

from sdgui.panels.classify.tabs.matrix.matrix import ConfusionMatrix

CLASSES, IMAGES = 1000, 50_000
DRAWN_LIMIT, FRAME_LIMIT = 0.2, 0.033  # seconds
_ZOOMS = 30

Counts = tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]


@dataclass(frozen=True)
class ConfusionTimes:
    """Seconds."""

    drawn: float  # median, from the counts to the painted matrix
    filled: float  # the same with a million cells
    slowest_zoom: float  # of a million cells: the longest frame of zooming in


def measure(app: QApplication, rounds: int = 9) -> ConfusionTimes:
    """Show both matrices, in turn, and zoom into the full one."""
    matrix = ConfusionMatrix()
    matrix.resize(900, 900)
    matrix.show()
    app.processEvents()
    names = [f"class number {number}" for number in range(CLASSES)]
    times: tuple[list[float], list[float]] = ([], [])
    for _ in range(rounds):
        for counts, seconds in zip((_usual(), _filled()), times, strict=True):
            began = time.perf_counter()
            matrix.set_matrix(names, *counts)
            matrix.repaint()
            seconds.append(time.perf_counter() - began)
    zooms = []
    for _ in range(_ZOOMS):
        began = time.perf_counter()
        matrix.zoom(1.25, QPointF(500, 500))
        matrix.repaint()
        zooms.append(time.perf_counter() - began)
    matrix.close()
    return ConfusionTimes(statistics.median(times[0]), statistics.median(times[1]), max(zooms))


def _usual() -> Counts:
    """50,000 test images, two thirds of them right, the others spread over few classes each."""
    generator = np.random.default_rng(0)
    true = generator.integers(CLASSES, size=IMAGES)
    near = (true + generator.integers(1, 40, size=IMAGES)) % CLASSES
    predicted = np.where(generator.random(IMAGES) < 0.67, true, near)
    cells, counts = np.unique(true * CLASSES + predicted, return_counts=True)
    return cells // CLASSES, cells % CLASSES, counts


def _filled() -> Counts:
    """Something in each of a million cells."""
    true, predicted = np.divmod(np.arange(CLASSES * CLASSES), CLASSES)
    counts = np.random.default_rng(1).integers(1, 50, size=CLASSES * CLASSES)
    return true, predicted, counts
