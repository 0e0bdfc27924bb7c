"""Horizontal and vertical boxes without margins."""

from __future__ import annotations

from typing import Any, TypeVar

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QBoxLayout, QHBoxLayout, QLayout, QVBoxLayout, QWidget

from sdgui.widgets.style.theme import SPACE

Item = QWidget | QLayout
Part = Item | tuple[Item, int] | tuple[QWidget, int, Qt.AlignmentFlag] | None  # with stretch, alignment; None: space
Margins = int | tuple[int, int, int, int]  # one for all, or left, top, right, bottom
STYLE_SPACING = -1  # Qt's value for the default spacing of the style
_Box = TypeVar("_Box", bound=QBoxLayout)


def hbox(*parts: Part, into: QWidget | None = None, spacing: int = SPACE, margins: Margins = 0) -> QHBoxLayout:
    """Lay out parts from left to right; ``into``: the widget that gets this layout."""
    return _fill(QHBoxLayout() if into is None else QHBoxLayout(into), parts, spacing, margins)


def vbox(*parts: Part, into: QWidget | None = None, spacing: int = SPACE, margins: Margins = 0) -> QVBoxLayout:
    """Lay out parts from top to bottom; ``into``: the widget that gets this layout."""
    return _fill(QVBoxLayout() if into is None else QVBoxLayout(into), parts, spacing, margins)


def clear_layout(layout: QLayout) -> None:
    """Remove and delete all widgets of ``layout``; they disappear immediately."""
    while (item := layout.takeAt(0)) is not None:
        if (widget := item.widget()) is not None:
            widget.hide()
            widget.deleteLater()


def _fill(box: _Box, parts: tuple[Part, ...], spacing: int, margins: Margins) -> _Box:
    box.setContentsMargins(*((margins,) * 4 if isinstance(margins, int) else margins))
    box.setSpacing(spacing)
    for part in parts:
        placed: tuple[Any, ...] = part if isinstance(part, tuple) else (part,)
        if part is None:
            box.addStretch(1)
        elif isinstance(placed[0], QLayout):
            box.addLayout(*placed)
        else:
            box.addWidget(*placed)
    return box
