"""Icons of qtawesome, directly on PySide6.

qtawesome imports Qt through qtpy, which creates a Python type for every Qt class and delays the start by a tenth of a
second, although only a dozen classes are used. This module replaces qtpy's modules with PySide6's.
"""

from __future__ import annotations

import sys
from functools import cache
from importlib import import_module
from typing import Any

from PySide6 import QtCore, QtGui, QtWidgets
from PySide6.QtGui import QIcon


def icon(name: str, **options: Any) -> QIcon:
    """The icon ``name``, as in ``ph.chart-line``; ``options`` are qtawesome's, such as ``color``."""
    result = _qtawesome().icon(name, **options)
    assert isinstance(result, QIcon)
    return result


@cache
def _qtawesome() -> Any:
    qtpy = import_module("qtpy")
    for module in (QtCore, QtGui, QtWidgets):
        short = module.__name__.rpartition(".")[2]
        sys.modules.setdefault(f"qtpy.{short}", module)
        setattr(qtpy, short, sys.modules[f"qtpy.{short}"])
    return import_module("qtawesome")
