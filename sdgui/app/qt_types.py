"""Creates PySide's classes before threads use them.

PySide creates a class of Qt when Python first asks for it, and while it does so other threads may run. Two threads
that create classes at the same time corrupt the table of classes: the process crashes or hangs.

It looks classes up in this table without a lock, also while Qt paints and other threads run. If a thread that imports
a panel defines subclasses, the table may have to grow, and the lookup fails: the process crashes. A table does not
shrink, so it grows here.
"""

from __future__ import annotations

from functools import cache

from PySide6 import QtCore, QtGui, QtSvg, QtWidgets

_ROOM = 1000  # classes that the table gets room for; the panels define about 490


@cache
def create_qt_types() -> None:
    """Create every class of the modules of Qt that the window uses, and make room for subclasses; takes about 80 ms."""
    for module in (QtCore, QtGui, QtWidgets, QtSvg):
        for name in dir(module):
            getattr(module, name)
    unused = [type("Unused", (QtCore.QPoint,), {}) for _ in range(_ROOM)]
    del unused
