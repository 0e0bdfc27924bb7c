"""The gallery's figures: first paint of 100,000 results, and the longest frame of a scroll while thumbnails load.

Flow: ``tests.benchmarks.window`` -> here -> a real gallery over real JPEG files. A frame is one turn of the event loop.
"""

from __future__ import annotations

import gc
import statistics
import time
from dataclasses import dataclass
from pathlib import Path

from PySide6.QtCore import QSize, Qt
from PySide6.QtGui import QColor, QImage, QLinearGradient, QPainter
from PySide6.QtWidgets import QApplication

from sdgui.widgets.gallery.gallery import Gallery, GalleryItem

RESULTS, IMAGES = 100_000, 600
FIRST_PAINT_LIMIT, FRAME_LIMIT = 0.05, 0.033  # seconds
_FRAMES, _JUMP_EVERY = 300, 12
_IMAGE = QSize(1600, 1200)


@dataclass(frozen=True)
class GalleryTimes:
    """Seconds."""

    first_paint: float  # median
    slowest_frame: float
    usual_frame: float  # median
    select_all: float


def measure(app: QApplication, folder: Path, rounds: int = 5) -> GalleryTimes:
    """Show the results, scroll by small steps and by jumps, select everything."""
    items = _items(_images(folder))
    gallery = Gallery(folder / "cache")
    gallery.resize(1100, 700)
    gallery.show()
    app.processEvents()
    paints = []
    for _ in range(rounds):
        gallery.set_items([])
        app.processEvents()
        began = time.perf_counter()
        gallery.set_items(items)
        gallery.view.viewport().repaint()
        paints.append(time.perf_counter() - began)
        _rest(app, 0.3)
    gc.freeze()  # as the window does
    frames = _scroll(app, gallery)
    began = time.perf_counter()
    gallery.select_all()
    app.processEvents()
    chosen = time.perf_counter() - began
    gallery.close_threads()
    gallery.close()
    return GalleryTimes(statistics.median(paints), max(frames), statistics.median(frames), chosen)


def _scroll(app: QApplication, gallery: Gallery) -> list[float]:
    """Seconds of each turn of the event loop; some are jumps to images that were never read."""
    bar = gallery.view.verticalScrollBar()
    frames = []
    for number in range(_FRAMES):
        bar.setValue(bar.value() + (bar.pageStep() * 7 if number % _JUMP_EVERY == 0 else 90))
        began = time.perf_counter()
        app.processEvents()
        frames.append(time.perf_counter() - began)
        time.sleep(max(0.0, 1 / 60 - frames[-1]))  # as a screen paces it
    return frames


def _rest(app: QApplication, seconds: float) -> None:
    """Let the batches of the layout come in."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        app.processEvents()
        time.sleep(0.002)


def _items(images: list[Path]) -> list[GalleryItem]:
    count = len(images)
    return [
        GalleryItem(images[i % count], f"what number {i} shows, in words for two lines", 1 / (1 + i), i + 1, i == 3)
        for i in range(RESULTS)
    ]


def _images(folder: Path) -> list[Path]:
    """JPEG files of two megapixels, no two alike."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for number in range(IMAGES):
        image = QImage(_IMAGE, QImage.Format.Format_RGB32)
        painter = QPainter(image)
        ground = QLinearGradient(0, 0, _IMAGE.width(), _IMAGE.height())
        ground.setColorAt(0, QColor.fromHsv(number * 37 % 360, 200, 220))
        ground.setColorAt(1, QColor.fromHsv(number * 53 % 360, 120, 90))
        painter.fillRect(image.rect(), ground)
        painter.setPen(Qt.GlobalColor.white)
        for line in range(60):
            painter.drawLine(0, line * 20, _IMAGE.width(), (line * 31 + number) % _IMAGE.height())
        painter.end()
        paths.append(folder / f"{number:04}.jpg")
        image.save(str(paths[-1]), quality=85)
    return paths
