"""A layout that places widgets side by side and wraps like words."""

from __future__ import annotations

from itertools import pairwise

from PySide6.QtCore import QPoint, QRect, QSize, Qt
from PySide6.QtWidgets import QLayout, QLayoutItem, QWidget

from sdgui.widgets.style.theme import SPACE


class FlowLayout(QLayout):
    """Places widgets at their size hints in as many lines as needed."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._items: list[QLayoutItem] = []
        self._heights: dict[int, int] = {}  # by width; layouts ask for the same height many times
        self.setContentsMargins(0, 0, 0, 0)
        self.setSpacing(SPACE // 2)

    def addItem(self, item: QLayoutItem) -> None:
        self._items.append(item)
        self.invalidate()

    def count(self) -> int:
        return len(self._items)

    def itemAt(self, index: int) -> QLayoutItem | None:  # None beyond the end
        return self._items[index] if 0 <= index < len(self._items) else None

    def takeAt(self, index: int) -> QLayoutItem | None:
        self.invalidate()
        return self._items.pop(index) if 0 <= index < len(self._items) else None

    def expandingDirections(self) -> Qt.Orientation:
        return Qt.Orientation(0)

    def hasHeightForWidth(self) -> bool:
        return True

    def heightForWidth(self, width: int) -> int:
        if width not in self._heights:
            self._heights[width] = self._arrange(QRect(0, 0, width, 0), apply=False)
        return self._heights[width]

    def invalidate(self) -> None:
        self._heights.clear()
        super().invalidate()

    def setGeometry(self, rect: QRect) -> None:
        super().setGeometry(rect)
        self._arrange(rect, apply=True)

    def sizeHint(self) -> QSize:
        return self.minimumSize()

    def minimumSize(self) -> QSize:
        size = QSize()
        for item in self._items:
            size = size.expandedTo(item.minimumSize())
        return size

    def _arrange(self, rect: QRect, apply: bool) -> int:
        y = rect.y()
        for number, line in enumerate(self._lines(rect.width())):
            y += self.spacing() if number else 0
            height = max(item.sizeHint().height() for item in line)
            x = rect.x()
            for item in line:
                hint = item.sizeHint()
                if apply:
                    top = y + (height - hint.height()) // 2
                    item.setGeometry(QRect(QPoint(x, top), QSize(min(hint.width(), rect.width()), hint.height())))
                x += hint.width() + self.spacing()
            y += height
        return y - rect.y()

    def _lines(self, width: int) -> list[list[QLayoutItem]]:
        """The items in each line."""
        lines: list[list[QLayoutItem]] = []
        used = 0
        for item in self._items:
            if item.isEmpty():
                continue
            wide = item.sizeHint().width()
            if not lines or used + wide > width:
                lines.append([])
                used = 0
            lines[-1].append(item)
            used += wide + self.spacing()
        return lines


class EvenFlowLayout(FlowLayout):
    """Places cards in equal columns: as many as fit the width with at least ``min_width`` each."""

    def __init__(self, min_width: int, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._min_width = min_width

    def _columns(self, width: int) -> int:
        return max(1, (width + self.spacing()) // (self._min_width + self.spacing()))

    def _lines(self, width: int) -> list[list[QLayoutItem]]:
        visible = [item for item in self._items if not item.isEmpty()]
        columns = self._columns(width)
        return [visible[first : first + columns] for first in range(0, len(visible), columns)]

    def _arrange(self, rect: QRect, apply: bool) -> int:
        columns = self._columns(rect.width())
        share = (rect.width() + self.spacing()) / columns
        edges = [rect.x() + round(share * column) for column in range(columns + 1)]
        y = rect.y()
        for line in self._lines(rect.width()):
            height = max(item.sizeHint().height() for item in line)
            if apply:
                for item, (left, right) in zip(line, pairwise(edges), strict=False):
                    item.setGeometry(QRect(left, y, right - left - self.spacing(), height))
            y += height + self.spacing()
        return max(0, y - self.spacing() - rect.y())
