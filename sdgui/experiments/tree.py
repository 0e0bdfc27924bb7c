"""The tree view of experiments: each row is a full-width rounded band, with the theme's expand arrow."""

from __future__ import annotations

from PySide6.QtCore import QModelIndex, QPersistentModelIndex, QRect, QSize, Qt
from PySide6.QtGui import QPainter, QPaintEvent, QPen
from PySide6.QtWidgets import QStyle, QStyledItemDelegate, QStyleOptionViewItem, QTreeView, QWidget

from sdgui.experiments.filter import Role
from sdgui.widgets.style.theme import SPACE, theme

_ARROW = 12  # px, width and height
NO_EXPERIMENTS = "No experiments yet"


class ExperimentTree(QTreeView):
    """The tree view; it paints bands and arrows, and the delegate paints the contents of a row."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("experiments")
        self.empty_text = NO_EXPERIMENTS
        self.setAccessibleName("Experiments and studies")
        self.setItemDelegate(ExperimentDelegate(self))
        self.setStyleSheet("QTreeView { selection-background-color: transparent; show-decoration-selected: 0; }")
        self.setHeaderHidden(True)
        self.setUniformRowHeights(True)  # otherwise Qt asks every row for its height on each scroll
        self.setIndentation(2 * SPACE)
        self.setMouseTracking(True)
        self.setEditTriggers(QTreeView.EditTrigger.NoEditTriggers)
        self.setExpandsOnDoubleClick(False)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setContextMenuPolicy(Qt.ContextMenuPolicy.CustomContextMenu)
        theme().changed.connect(self.viewport().update)

    def paintEvent(self, event: QPaintEvent) -> None:
        super().paintEvent(event)
        if not self.model().rowCount():
            painter = QPainter(self.viewport())
            painter.setPen(theme().color("muted"))
            flags = Qt.AlignmentFlag.AlignCenter | Qt.TextFlag.TextWordWrap
            painter.drawText(self.viewport().rect().adjusted(2 * SPACE, 0, -2 * SPACE, 0), int(flags), self.empty_text)
            painter.end()

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


_ICON = 16  # px, width and height

Index = QModelIndex | QPersistentModelIndex


class ExperimentDelegate(QStyledItemDelegate):
    """Paints the rows of experiments and studies."""

    def sizeHint(self, option: QStyleOptionViewItem, index: Index) -> QSize:
        height = option.fontMetrics.height()
        return QSize(20 * SPACE, height + int(0.95 * height) + SPACE + SPACE // 2)

    def paint(self, painter: QPainter, option: QStyleOptionViewItem, index: Index) -> None:
        painter.save()
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        room = option.rect.adjusted(SPACE // 2, SPACE // 2, -SPACE, -SPACE // 2)
        upper = QRect(room.left(), room.top(), room.width(), room.height() * 52 // 100)
        lower = QRect(room.left(), upper.bottom() + 1, room.width(), room.bottom() - upper.bottom())
        self._paint_upper_line(painter, upper, index)
        self._paint_lower_line(painter, lower, index)
        painter.restore()

    def _paint_upper_line(self, painter: QPainter, room: QRect, index: Index) -> None:
        painter.setFont(theme().font("title"))
        metrics = painter.fontMetrics()
        painter.setPen(theme().color("text"))
        best = index.data(Role.BEST) or ""
        painter.drawText(room, int(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter), best)
        title_room = room.adjusted(0, 0, -(metrics.horizontalAdvance(best) + SPACE if best else 0), 0)
        title = metrics.elidedText(str(index.data() or ""), Qt.TextElideMode.ElideRight, title_room.width())
        painter.drawText(title_room, int(Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter), title)
        tags = index.data(Role.TAGS)
        if tags:
            tag_room = title_room.adjusted(metrics.horizontalAdvance(title) + SPACE, 0, 0, 0)
            painter.setFont(theme().font("small"))
            painter.setPen(theme().color("accent_text"))
            tag_text = painter.fontMetrics().elidedText(tags, Qt.TextElideMode.ElideRight, tag_room.width())
            painter.drawText(tag_room, int(Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter), tag_text)

    def _paint_lower_line(self, painter: QPainter, room: QRect, index: Index) -> None:
        painter.setFont(theme().font("small"))
        metrics = painter.fontMetrics()
        state = index.data(Role.STATE)
        detail_room = QRect(room)
        if state:
            icon = QRect(detail_room.left(), detail_room.top() + (detail_room.height() - _ICON) // 2, _ICON, _ICON)
            theme().state_icon(state).paint(painter, icon)
            detail_room.setLeft(detail_room.left() + _ICON + SPACE // 2)
        painter.setPen(theme().color("muted"))
        detail = metrics.elidedText(index.data(Role.DETAIL) or "", Qt.TextElideMode.ElideRight, detail_room.width())
        painter.drawText(detail_room, int(Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter), detail)

    def updateEditorGeometry(self, editor: QWidget, option: QStyleOptionViewItem, index: Index) -> None:
        editor.setGeometry(option.rect.adjusted(2, 2, -2, -2))
