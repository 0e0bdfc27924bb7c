"""The Caption panel's figures: 1,000 images dropped to the first caption on the screen, and the longest block of the
window's thread while all are captioned.

Flow: ``tests.benchmarks.window`` -> a tiny CoCa trained here by ``python -m core train`` -> the real panel over a real
worker that has the model loaded. A block is the time between two beats of a timer in the window's thread.
"""

from __future__ import annotations

import csv
import gc
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from PySide6.QtCore import QMimeData, QTimer, QUrl
from PySide6.QtGui import QColor, QImage, QPainter
from PySide6.QtWidgets import QApplication, QWidget

from core.spec.children import environment
from core.spec.config import override
from core.spec.files import write_whole
from core.spec.presets import preset_config
from sdgui.app.start import make_services
from sdgui.panels.caption.panel import CaptionsPanel
from sdgui.runs.program import core_command
from sdgui.shared.pickers.entries import ModelChoice
from sdgui.widgets.actions import Actions

IMAGES = 1000
FIRST_LIMIT, BLOCK_LIMIT = 1.0, 0.05  # seconds
_SIDE = 96
_TRAINED = 36
_BEAT_MS = 1


@dataclass(frozen=True)
class CaptionTimes:
    """Seconds."""

    first: float  # from the drop to the first caption painted
    all: float
    block: float  # longest


class _Beats(QTimer):
    """Records the longest time between two beats."""

    def __init__(self) -> None:
        super().__init__(interval=_BEAT_MS)
        self.longest = 0.0
        self._last = 0.0
        self.timeout.connect(self._beat)

    def begin(self) -> None:
        self._last = time.perf_counter()
        self.start()

    def _beat(self) -> None:
        now = time.perf_counter()
        self.longest, self._last = max(self.longest, now - self._last), now


def measure(app: QApplication, folder: Path) -> CaptionTimes:
    """Train, open the panel, caption one image so that the model is loaded, then drop the rest."""
    images = _images(folder / "images", IMAGES + 1)
    run = _train(folder, images[:_TRAINED])
    services = make_services(folder / "home")
    host = QWidget()
    panel = CaptionsPanel(services)
    panel.set_actions(Actions(host))
    panel.setParent(host)
    host.resize(1100, 700)
    panel.resize(host.size())
    host.show()
    panel.on_enter()
    if not panel.view.tools.pickers["a"].set_choice(ModelChoice(f"{run}@last", "teacher", "tiny")):
        raise RuntimeError("the tiny run cannot caption")
    panel.view.target.take_paths(images[-1:])
    _until(app, lambda: len(panel.model) == 1 and not panel.work.busy and bool(panel.model.at(0).text), 600)
    gc.freeze()  # as the window does
    try:
        return _drop(app, panel, images[:IMAGES])
    finally:
        panel.work.cancel()
        panel.persistence.close()
        panel.view.list.close_threads()
        panel.view.target.close_threads()
        services.pool.close()
        services.store.close()
        host.close()


def _drop(app: QApplication, panel: CaptionsPanel, images: list[str]) -> CaptionTimes:
    data = QMimeData()
    data.setUrls([QUrl.fromLocalFile(path) for path in images])
    beats = _Beats()
    beats.begin()
    began = time.perf_counter()
    panel.view.target.take(data)
    _until(app, lambda: panel.model.rowCount() > 1 and any(entry.text for entry in panel.model.shown()[1:]), 60)
    panel.view.list.viewport().repaint()
    first = time.perf_counter() - began
    _until(app, lambda: all(entry.state != "waiting" for entry in panel.model.entries()), 600)
    whole = time.perf_counter() - began
    beats.stop()
    return CaptionTimes(first, whole, beats.longest)


def _until(app: QApplication, holds: Callable[[], bool], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > deadline:
            raise TimeoutError("the Caption panel did not answer in time")
        turn = time.monotonic() + 0.02  # what is asked above costs time that is not the panel's
        while time.monotonic() < turn:
            app.processEvents()
            time.sleep(0.0005)


def _images(folder: Path, number: int) -> list[str]:
    """Small images, no two alike."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for i in range(number):
        image = QImage(_SIDE, _SIDE, QImage.Format.Format_RGB32)
        image.fill(QColor.fromHsv(i * 37 % 360, 120, 230))
        painter = QPainter(image)
        painter.setBrush(QColor.fromHsv(i * 53 % 360, 230, 120))
        painter.drawEllipse(i % 40, i * 7 % 40, 20 + i % 30, 20 + i * 3 % 30)
        painter.end()
        paths.append(str(folder / f"{i:04}.png"))
        image.save(paths[-1])
    return paths


def _train(folder: Path, images: list[str]) -> Path:
    """A run of the preset sd-coca at its smallest; its captions do not matter here."""
    table = folder / "images" / "pairs.csv"
    with table.open("w", encoding="utf-8", newline="") as file:
        rows = [(Path(path).name, f"a disc of kind {number % 7}") for number, path in enumerate(images)]
        csv.writer(file).writerows([("filepath", "title"), *rows])
    fields = [f"data.train={table}", "optim.batch_size=12", "optim.epochs=1"]
    write_whole(folder / "tiny.json", override(preset_config("sd-coca", "tiny"), fields).to_json().encode())
    command = [*core_command(), "train", str(folder / "tiny.json"), str(folder / "run")]
    subprocess.run(command, check=True, capture_output=True, env=environment())
    return folder / "run"
