"""The tree view of experiments: a row is one rounded band from edge to edge, with the theme's arrow to expand it."""

from __future__ import annotations

from PySide6.QtCore import QModelIndex, QPersistentModelIndex, QRect, Qt
from PySide6.QtGui import QPainter, QPen
from PySide6.QtWidgets import QStyle, QStyleOptionViewItem, QTreeView, QWidget

from sdgui.experiments.delegate import ExperimentDelegate
from sdgui.widgets.style.theme import SPACE, theme

_ARROW = 12


class ExperimentTree(QTreeView):
    """Paints the bands and arrows; the delegate paints the contents of a row."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("experiments")
        self.setAccessibleName("Experiments and studies")
        self.setItemDelegate(ExperimentDelegate(self))
        self.setStyleSheet("QTreeView { selection-background-color: transparent; show-decoration-selected: 0; }")
        self.setHeaderHidden(True)
        self.setUniformRowHeights(True)  # else every row is asked for its height whenever one is scrolled to
        self.setIndentation(2 * SPACE)
        self.setMouseTracking(True)
        self.setEditTriggers(QTreeView.EditTrigger.NoEditTriggers)
        self.setExpandsOnDoubleClick(False)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setContextMenuPolicy(Qt.ContextMenuPolicy.CustomContextMenu)
        theme().changed.connect(self.viewport().update)

    def drawRow(
        self, painter: QPainter, options: QStyleOptionViewItem, index: QModelIndex | QPersistentModelIndex
    ) -> None:
        is_current = self.currentIndex() == index
        hovered = bool(options.state & QStyle.StateFlag.State_MouseOver)
        if is_current or hovered:
            painter.save()
            painter.setRenderHint(QPainter.RenderHint.Antialiasing)
            painter.setBrush(theme().color("selection" if is_current else "raised"))
            focused = is_current and self.hasFocus()
            painter.setPen(QPen(theme().color("accent"), 1) if focused else Qt.PenStyle.NoPen)
            band = QRect(0, options.rect.top(), self.viewport().width(), options.rect.height())
            painter.drawRoundedRect(band.adjusted(2, 1, -3, -2), 6, 6)
            painter.restore()
        super().drawRow(painter, options, index)

    def drawBranches(self, painter: QPainter, rect: QRect, index: QModelIndex | QPersistentModelIndex) -> None:
        model = self.model()
        if not model.hasChildren(index):
            return
        name = "ph.caret-down" if self.isExpanded(index) else "ph.caret-right"
        left = rect.right() - _ARROW - 1
        box = QRect(left, rect.top() + (rect.height() - _ARROW) // 2, _ARROW, _ARROW)
        theme().icon(name, "muted").paint(painter, box)
