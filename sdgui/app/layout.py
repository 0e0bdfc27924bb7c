"""The layout of the main window: rail, tree of experiments, and the page with messages and panels."""

from __future__ import annotations

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QSplitter, QVBoxLayout, QWidget

from sdgui.widgets.style.theme import SPACE

SIZE = (1280, 800)
_TREE_WIDTH = 296


def panel_page(bar: QWidget, strip: QWidget, panels: QWidget) -> QWidget:
    """Messages and progress above, then the current panel."""
    page = QWidget()
    column = QVBoxLayout(page)
    column.setContentsMargins(0, 0, 0, 0)
    column.setSpacing(0)
    messages = QVBoxLayout()
    messages.setContentsMargins(2 * SPACE, SPACE, 2 * SPACE, 0)
    messages.addWidget(bar)
    messages.addWidget(strip)
    column.addLayout(messages)
    column.addWidget(panels, 1)
    return page


def tree_beside(tree: QWidget, page: QWidget) -> QSplitter:
    """The tree and the page, with a handle between them."""
    split = QSplitter(Qt.Orientation.Horizontal)
    split.addWidget(tree)
    split.addWidget(page)
    split.setStretchFactor(1, 1)
    split.setSizes([_TREE_WIDTH, SIZE[0] - _TREE_WIDTH])
    split.setChildrenCollapsible(False)
    return split


def rail_beside(rail: QWidget, rest: QWidget) -> QSplitter:
    """The rail at the left edge, whose width is fixed."""
    frame = QSplitter(Qt.Orientation.Horizontal)
    frame.addWidget(rail)
    frame.addWidget(rest)
    frame.setStretchFactor(1, 1)
    frame.handle(1).setEnabled(False)
    return frame
