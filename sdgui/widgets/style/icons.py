"""Icons of qtawesome, directly on PySide6.

qtpy, through which qtawesome finds Qt, makes a Python type of every class of Qt: a tenth of a second of the start, for
a dozen that are used. So qtpy's modules are PySide6's own here, which it would otherwise hand on unchanged.
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
