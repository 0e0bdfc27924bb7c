"""What would make one image differ from the next, held still: font, language, time zone, clock-like texts, motion.

Flow: ``pin_environment`` before Qt starts -> ``pinned_application`` -> ``pinned_window`` -> ``still`` before each grab.
"""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from pathlib import Path

from PySide6.QtGui import QFont, QFontDatabase, QImage
from PySide6.QtWidgets import QApplication, QGraphicsView, QWidget

from core.spec.errors import UserError
from sdgui.app.main_window import MainWindow
from sdgui.app.start import make_application, make_services
from sdgui.widgets.plot_axes import PlotAxis
from tests.screenshots.waiting import settle

FONT, POINTS = "DejaVu Sans", 9
SIZE = (1440, 900)
_VARIABLES = {
    "QT_QPA_PLATFORM": "offscreen",
    "QT_SCALE_FACTOR": "1",
    "QT_FONT_DPI": "96",
    "TZ": "UTC",
    "LC_ALL": "C.UTF-8",
    "LANGUAGE": "en",
}
_ALIKE = 5  # looks in a row that show the same
_LONGEST = 60  # looks


def pin_environment() -> None:
    """Draw without a display, at 100 %, in English and UTC; before anything of Qt is made."""
    os.environ |= _VARIABLES
    if hasattr(time, "tzset"):
        time.tzset()


def pinned_application() -> QApplication:
    """The application in the one font that the images are set in; UserError where it is not installed."""
    app = QApplication([])
    if FONT not in QFontDatabase.families():
        raise UserError(f"the images are set in {FONT}, which is not installed; install it (fonts-dejavu-core).")
    app.setFont(QFont(FONT, POINTS))
    app.setCursorFlashTime(0)
    return make_application()


def pinned_window(home: Path, worker: Sequence[str] | None) -> MainWindow:
    """A shown window on ``home``, without what tells of this process; ``worker`` in place of ours. StoreError."""
    services = make_services(home, worker=worker)
    window = MainWindow(services)
    window.status.worker.hide()
    window.resize(*SIZE)
    window.show()
    services.follower.start()
    return window


def fit_axes(window: MainWindow) -> None:
    """Make the axes of plots as wide as what they show, whatever they have shown before."""
    for view in window.findChildren(QGraphicsView):
        for item in view.items():
            if isinstance(item, PlotAxis):
                item.fit()


def close(window: MainWindow) -> None:
    """Close it with its workers and its database."""
    window.close_without_asking()
    window.services.pool.close()
    window.services.store.close()


def still(widget: QWidget) -> QImage:
    """What ``widget`` shows once it no longer changes (or after some seconds): layouts and thumbnails have come."""
    shown, alike = widget.grab().toImage(), 1
    for _ in range(_LONGEST):
        if alike == _ALIKE:
            break
        settle(0.1)
        now = widget.grab().toImage()
        alike = alike + 1 if now == shown else 1
        shown = now
    return shown
