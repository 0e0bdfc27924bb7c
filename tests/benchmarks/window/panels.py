"""The panels' figures: the longest turn of the event loop while each is shown for the first time.

Flow: ``tests.benchmarks.window`` -> here -> the real window with an experiment, its panels' code loaded as it is a
moment after the start. A turn is ``show_panel`` itself, or one turn of the event loop after it; it is measured in
processor time of the window's thread, so that a busy machine counts little.
"""

from __future__ import annotations

import threading
import time
from pathlib import Path

from PySide6.QtWidgets import QApplication

from core.spec.presets import preset_config
from sdgui.app.collecting import freeze_permanent_objects
from sdgui.panels.registry import PANELS
from tests.benchmarks.window.windows import opened

TURN_LIMIT = 0.05  # seconds
_TURNS = 60


def measure(app: QApplication, home: Path) -> dict[str, float]:
    """Title of each panel -> seconds of its longest turn."""
    with opened(app, home) as window:
        freeze_permanent_objects(window)
        slowest = {PANELS[0].title: _longest(app)}
        for thread in threading.enumerate():
            if thread.name == "panels":
                thread.join()
        window.experiment_commands.add(preset_config("sd-clip", "demo"))
        slowest["Define"] = _longest(app)
        for spec in PANELS:
            began = time.thread_time()
            window.show_panel(spec.name)
            turn = max(time.thread_time() - began, _longest(app))
            slowest[spec.title] = max(turn, slowest.get(spec.title, 0.0))
        return slowest


def _longest(app: QApplication) -> float:
    longest = 0.0
    for _ in range(_TURNS):
        began = time.thread_time()
        app.processEvents()
        longest = max(longest, time.thread_time() - began)
        time.sleep(0.002)
    return longest
