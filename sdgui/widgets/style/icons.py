"""Phosphor's icons, which come with qtawesome.

``qtawesome.icon`` loads twelve fonts, of which the window uses one, and qtpy creates a Python type for every Qt class.
Both delay the start; so this module loads one font, and replaces qtpy's modules with PySide6's.
"""

from __future__ import annotations

import sys
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

from PySide6 import QtCore, QtGui, QtWidgets
from PySide6.QtGui import QIcon


def icon(name: str, **options: Any) -> QIcon:
    """The icon ``name``, as in ``ph.chart-line``; ``options`` are qtawesome's, such as ``color``."""
    result = _phosphor().icon(name, **options)
    assert isinstance(result, QIcon)
    return result


@cache
def _phosphor() -> Any:
    qtpy = import_module("qtpy")
    for module in (QtCore, QtGui, QtWidgets):
        short = module.__name__.rpartition(".")[2]
        sys.modules.setdefault(f"qtpy.{short}", module)
        setattr(qtpy, short, sys.modules[f"qtpy.{short}"])
    folder, fonts = import_module("qtawesome").get_fonts_info()
    (font,) = (name for name in fonts if name.startswith("phosphor"))
    (names,) = (path.name for path in Path(folder).glob("phosphor*.json"))
    return import_module("qtawesome.iconic_font").IconicFont(("ph", font, names))
