"""The box for the filter: completes names and values, and marks what is wrong at its place.

Flow: typing -> (after a pause) ``changed``; the table part answers with ``show_error`` or ``clear_error``.
"""

from __future__ import annotations

from PySide6.QtCore import QEvent, QModelIndex, QPoint, QRect, Qt, QTimer, Signal
from PySide6.QtGui import QFocusEvent, QKeyEvent, QPainter, QPaintEvent, QPen, QStandardItem, QStandardItemModel
from PySide6.QtWidgets import QLineEdit, QListView, QStyle, QStyleOptionFrame, QWidget

from sdgui.panels.runs.table.completion import Completion, Values, completions
from sdgui.store.run_table.expressions import ExpressionError
from sdgui.store.run_table.fields import Catalogue
from sdgui.widgets.plain_text import plain_tip
from sdgui.widgets.style.theme import SPACE, theme

_PAUSE = 150  # ms without a key before the filter is asked
_SHOWN = 12  # completions at once
TIP = (
    "Filter by words and comparisons: night optim.learning_rate < 1e-3 and val/R@1 > 40% tag:paper\n"
    "and, or, not and parentheses join them; “state in (done, failed)” is one of several; “created > 7d” is the last "
    "week.\nCtrl+Space shows what can be typed."
)
_DATA = int(Qt.ItemDataRole.UserRole)


class FilterBox(QLineEdit):
    """``changed``: the filter as it is now; ``left``: Down was pressed, for the table to take the keys."""

    changed = Signal(str)
    leave_asked = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setPlaceholderText("Filter: words, or optim.learning_rate < 1e-3 and val/R@1 > 40%")
        self.setAccessibleName("Filter runs")
        self.setToolTip(plain_tip(TIP))
        self.setClearButtonEnabled(True)
        self.catalogue = Catalogue()
        self.values: Values = {}
        self._error: ExpressionError | None = None
        self._applied_text = ""
        self._pause = QTimer(self, singleShot=True, interval=_PAUSE)
        self._pause.timeout.connect(self.apply)
        self.textEdited.connect(self._on_edited)
        self.textChanged.connect(lambda _text: self._pause.start())
        self._list = QListView(self.window())
        self._list.setWindowFlags(Qt.WindowType.ToolTip)
        self._list.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self._list.setUniformItemSizes(True)
        self._list.setAccessibleName("Completions")
        self._offered = QStandardItemModel(self._list)
        self._list.setModel(self._offered)
        self._list.clicked.connect(self._take_index)
        self._list.hide()

    def apply(self) -> None:
        """Apply the typed filter."""
        self._pause.stop()
        if self.text() != self._applied_text:
            self._applied_text = self.text()
            self.changed.emit(self._applied_text)

    def show_filter(self, text: str) -> None:
        """Show a filter without emitting ``changed``."""
        self._applied_text = text
        if text != self.text():
            self.setText(text)
        self._pause.stop()

    # What is wrong
    def show_error(self, error: ExpressionError | None) -> None:
        """Mark the part that is wrong, and say why; None for nothing."""
        self._error = error
        self.setProperty("invalid", "true" if error is not None else "false")
        self.style().unpolish(self)
        self.style().polish(self)
        self.setToolTip(plain_tip(f"{error}\n\n{TIP}" if error is not None else TIP))
        self.setAccessibleDescription(str(error) if error is not None else "")
        self.update()

    def paintEvent(self, event: QPaintEvent) -> None:
        super().paintEvent(event)
        if self._error is None:
            return
        option = QStyleOptionFrame()
        self.initStyleOption(option)
        inside = self.style().subElementRect(QStyle.SubElement.SE_LineEditContents, option, self)
        metrics, text = self.fontMetrics(), self.text()
        # Only cursorRect knows how far the text is scrolled.
        text_start = self.cursorRect().center().x() - metrics.horizontalAdvance(text[: self.cursorPosition()])
        left = text_start + metrics.horizontalAdvance(text[: self._error.start])
        right = text_start + metrics.horizontalAdvance(text[: self._error.end].ljust(self._error.end))
        painter = QPainter(self)
        painter.setClipRect(inside)
        painter.setPen(QPen(theme().color("error"), 2, Qt.PenStyle.DotLine))
        bottom = inside.center().y() + metrics.height() // 2
        painter.drawLine(left, bottom, max(right, left + SPACE), bottom)

    # What can be typed
    def _on_edited(self) -> None:
        self.show_error(None)
        self._offer(explicit=False)

    def _offer(self, explicit: bool) -> None:
        """Show the completions at the cursor; if not ``explicit``, only while a name or a value is being typed."""
        matches = completions(self.text(), self.cursorPosition(), self.catalogue, self.values)
        cursor = self.cursorPosition()
        if not matches or not (
            explicit or matches[0].start < cursor or self.text()[:cursor].rstrip().endswith((":", "=", "<", ">"))
        ):
            self._list.hide()
            return
        self._offered.clear()
        for completion in matches:
            item = QStandardItem(f"{completion.text}    {completion.about}" if completion.about else completion.text)
            item.setData(completion, _DATA)
            self._offered.appendRow(item)
        self._list.setCurrentIndex(QModelIndex())
        row = self._list.sizeHintForRow(0)
        width = min(max(self._list.sizeHintForColumn(0) + 4 * SPACE, 24 * SPACE), self.window().width() // 2)
        below = self.mapToGlobal(QPoint(max(0, self.cursorRect().left() - SPACE), self.height() + 2))
        self._list.setGeometry(QRect(below.x(), below.y(), width, row * min(len(matches), _SHOWN) + SPACE))
        self._list.show()

    def _take_index(self, index: QModelIndex) -> None:
        completion = index.data(_DATA)
        if isinstance(completion, Completion):
            text = self.text()
            self.setText(text[: completion.start] + completion.text + text[completion.end :])
            self.setCursorPosition(completion.start + len(completion.text))
        self._list.hide()
        self._offer(explicit=False)

    def _move(self, offset: int) -> None:
        row = self._list.currentIndex().row() + offset
        self._list.setCurrentIndex(self._offered.index(row % max(1, self._offered.rowCount()), 0))

    def event(self, event: QEvent) -> bool:
        """Tab accepts a completion while the list is open."""
        if not isinstance(event, QKeyEvent) or not self._list.isVisible():
            return super().event(event)
        if event.type() == QEvent.Type.KeyPress and event.key() == Qt.Key.Key_Tab:
            current = self._list.currentIndex()
            self._take_index(current if current.isValid() else self._offered.index(0, 0))
            return True
        if event.type() == QEvent.Type.ShortcutOverride and event.key() == Qt.Key.Key_Escape:
            event.accept()
            return True
        return super().event(event)

    def keyPressEvent(self, event: QKeyEvent) -> None:
        key, is_open = event.key(), self._list.isVisible()
        if key == Qt.Key.Key_Space and event.modifiers() & Qt.KeyboardModifier.ControlModifier:
            self._offer(explicit=True)
        elif is_open and key in (Qt.Key.Key_Down, Qt.Key.Key_Up):
            self._move(1 if key == Qt.Key.Key_Down else -1)
        elif is_open and key == Qt.Key.Key_Escape:
            self._list.hide()
        elif key in (Qt.Key.Key_Return, Qt.Key.Key_Enter):
            if is_open and self._list.currentIndex().isValid():
                self._take_index(self._list.currentIndex())
            else:
                self._list.hide()
                self.apply()
        elif key == Qt.Key.Key_Down:
            self.leave_asked.emit()
        else:
            super().keyPressEvent(event)

    def focusOutEvent(self, event: QFocusEvent) -> None:
        self._list.hide()
        super().focusOutEvent(event)
