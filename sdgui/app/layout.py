"""The layout of the main window: rail, tree of experiments, and the page with the panels."""

from __future__ import annotations

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QSplitter, QVBoxLayout, QWidget

from sdgui.widgets.layouts.over import lay_over
from sdgui.widgets.style.theme import SPACE

SIZE = (1280, 800)
_TREE_WIDTH = 296
_LIFT = 6 * SPACE  # a message of one line


def fill_page(page: QWidget, panels: QWidget, *notices: QWidget) -> None:
    """The current panel on all of the page, and the window's messages over it, above those of the panel."""
    column = QVBoxLayout()
    column.setContentsMargins(0, SPACE, 0, 0)
    column.addWidget(panels)
    lay_over(page, column, *notices, lift=_LIFT)


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
