"""A real window for the figures, gone with its timers and threads before the next figure is taken."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from PySide6.QtCore import QEvent
from PySide6.QtWidgets import QApplication

from sdgui.app.main_window import MainWindow
from sdgui.app.start import open_window


@contextmanager
def opened(app: QApplication, home: Path) -> Iterator[MainWindow]:
    """A window of ``home`` for the length of the block."""
    window = open_window(home, demo=False)
    try:
        yield window
    finally:
        services = window.services
        for service in (services.follower, services.launcher, services.hosts, services.pool, services.store):
            service.close()
        window.hide()
        window.deleteLater()
        app.sendPostedEvents(None, QEvent.Type.DeferredDelete.value)
        gc.unfreeze()
        gc.collect()
