"""Creates PySide's classes before threads use them.

PySide creates a class of Qt when Python first asks for it, and while it does so other threads may run. Two threads
that create classes at the same time corrupt the table of classes: the process crashes or hangs.
"""

from __future__ import annotations

from functools import cache

from PySide6 import QtCore, QtGui, QtSvg, QtWidgets


@cache
def create_qt_types() -> None:
    """Create every class of the modules of Qt that the window uses; the first call takes about 80 ms."""
    for module in (QtCore, QtGui, QtWidgets, QtSvg):
        for name in dir(module):
            getattr(module, name)
