"""What the window shows, as text: every visible widget with its words, state and colours, and what plots draw.

Flow: ``__main__ --describe`` -> `described` for each scene -> text files; a test compares them with those kept, so
that a change of what users see is a change of lines that can be read. Places and sizes are left to the images.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator

import pyqtgraph as pg
from PySide6.QtCore import QAbstractItemModel, QAbstractListModel, QModelIndex, Qt
from PySide6.QtGui import QAction, QBrush, QColor, QFont, QIcon, QPen, QPixmap
from PySide6.QtWidgets import (
    QAbstractButton,
    QAbstractItemView,
    QAbstractSlider,
    QAbstractSpinBox,
    QComboBox,
    QGraphicsView,
    QGroupBox,
    QHeaderView,
    QLabel,
    QLineEdit,
    QMenu,
    QMenuBar,
    QPlainTextEdit,
    QProgressBar,
    QScrollBar,
    QTabBar,
    QTableView,
    QTextEdit,
    QTreeView,
    QWidget,
)

from core.spec.resources import resource_folder
from sdgui.app.main_window import MainWindow
from sdgui.panels.runs.plots.canvas import PlotCanvas
from sdgui.panels.runs.plots.card import PlotCard
from tests.screenshots.waiting import settle

ROWS, COLUMNS = 6, 16  # of a table or list, at most
_BY_CHANCE = (  # not the window's doing
    (re.compile(r"\b[0-9a-f]{8}\b"), "ID"),
    (re.compile(r"\b\d{4}-\d\d-\d\d \d\d:\d\d\b"), "TIME"),
    (re.compile(r"\b\d+ cores?, [^'\\|]*"), "CORES"),
)
_LONGEST, _PAUSE, _ALIKE = 30.0, 0.2, 5  # seconds, seconds, looks in a row
_ALIGNED = {Qt.AlignmentFlag.AlignRight: "right", Qt.AlignmentFlag.AlignHCenter: "centre"}


def described(window: MainWindow, home: str, expected: str | None = None) -> str:
    """What ``window`` shows once it no longer changes; HOME, MODELS, ID, TIME and CORES stand for what varies.

    What is late is waited for while it is not what is ``expected``.
    """
    began, told, alike = time.monotonic(), "", 0
    while time.monotonic() - began < _LONGEST and alike < _ALIKE and told != expected:
        now = describe(window).replace(home, "HOME").replace(str(resource_folder("models")), "MODELS")
        for pattern, name in _BY_CHANCE:
            now = pattern.sub(name, now)
        alike = alike + 1 if now == told and expected is None else 0
        told = now
        settle(_PAUSE)
    return told


def describe(window: MainWindow) -> str:
    """Lines of all that is visible, indented as the widgets lie in one another."""
    menus = (line for action in window.menuBar().actions() for line in _action(action, 0))
    return "\n".join([f"title {window.windowTitle()!r}", *menus, *_widget(window, 0)]) + "\n"


def _action(action: QAction, depth: int) -> Iterator[str]:
    if action.isSeparator() or not action.isVisible():
        return
    told = [repr(action.text()), action.shortcut().toString()]
    told += [name for name, true in (("disabled", not action.isEnabled()), ("checked", action.isChecked())) if true]
    yield "  " * depth + " ".join(["menu" if depth == 0 else "-", *(one for one in told if one)])
    inner = action.menu()
    if isinstance(inner, QMenu):
        for one in inner.actions():
            yield from _action(one, depth + 1)


def _widget(widget: QWidget, depth: int) -> Iterator[str]:
    if not widget.isVisible() or isinstance(widget, (QMenuBar, QScrollBar)):
        return
    if isinstance(widget, (PlotCard, PlotCanvas)) and _is_out_of_view(widget):  # drawn when it is scrolled to
        return
    told = [*_words(widget), *_state(widget)]
    inner = depth
    if told:
        yield "  " * depth + " ".join([type(widget).__name__, *told])
        inner += 1
    if isinstance(widget, QAbstractItemView) and not isinstance(widget, QHeaderView):
        for line in _items(widget):
            yield "  " * inner + line
    if isinstance(widget, QGraphicsView):
        for line in _drawn(widget):
            yield "  " * inner + line
    inside = [child for child in widget.children() if isinstance(child, QWidget) and not child.isWindow()]
    for child in sorted(inside, key=lambda one: (one.y(), one.x())):  # as they are read
        yield from _widget(child, inner)


def _is_out_of_view(widget: QWidget) -> bool:
    rect, inner = widget.rect(), widget
    while (outer := inner.parentWidget()) is not None and not inner.isWindow():
        rect, inner = rect.translated(inner.pos()) & outer.rect(), outer
    return rect.isEmpty()


def _words(widget: QWidget) -> Iterator[str]:
    if isinstance(widget, (QLabel, QAbstractButton, QLineEdit)) and widget.text():
        yield repr(widget.text())
    elif isinstance(widget, (QPlainTextEdit, QTextEdit)):
        yield repr(widget.toPlainText())
    elif isinstance(widget, QComboBox):
        choices = [widget.itemText(row) for row in range(min(ROWS, widget.count()))]
        yield f"{widget.currentText()!r} of {choices}"
    elif isinstance(widget, (QAbstractSpinBox, QProgressBar)):
        yield repr(widget.text())
    elif isinstance(widget, QAbstractSlider):
        yield f"{widget.value()} of {widget.minimum()} to {widget.maximum()}"
    elif isinstance(widget, QGroupBox):
        yield repr(widget.title())
    elif isinstance(widget, QTabBar):
        texts = [
            widget.tabText(tab) + ("" if widget.isTabEnabled(tab) else " (disabled)")
            for tab in range(widget.count())
            if widget.isTabVisible(tab)
        ]
        yield f"{widget.currentIndex()} of {texts}"
    if isinstance(widget, QLineEdit) and widget.placeholderText():
        yield f"placeholder={widget.placeholderText()!r}"
    for name, text in (("tip", widget.toolTip()), ("named", widget.accessibleName())):
        if text:
            yield f"{name}={text!r}"


def _state(widget: QWidget) -> Iterator[str]:
    if widget.property("role"):
        yield f"role={widget.property('role')}"
    if not widget.isEnabled():
        yield "disabled"
    if isinstance(widget, QAbstractButton):
        if widget.isChecked():
            yield "checked"
        if not widget.icon().isNull():
            yield "icon"
        if not widget.shortcut().isEmpty():
            yield f"keys={widget.shortcut().toString()}"
    if isinstance(widget, QLineEdit) and widget.isReadOnly():
        yield "read-only"
    if isinstance(widget, QLabel):
        if not widget.pixmap().isNull():
            yield "image"
        if widget.wordWrap():
            yield "wrapped"
        yield from _aligned(widget.alignment())
        yield from _font(widget.font(), QFont(widget.window().font()))
    if widget.cursor().shape() != Qt.CursorShape.ArrowCursor and not isinstance(widget, (QLineEdit, QTextEdit)):
        yield f"cursor={widget.cursor().shape().name}"


def _aligned(alignment: Qt.AlignmentFlag | int | None) -> Iterator[str]:
    if alignment is not None:
        for flag, name in _ALIGNED.items():
            if Qt.AlignmentFlag(alignment) & flag:
                yield name


def _font(font: QFont, usual: QFont) -> Iterator[str]:
    for name, has in (("bold", QFont.bold), ("italic", QFont.italic), ("struck", QFont.strikeOut)):
        if has(font) != has(usual):
            yield name


def _items(view: QAbstractItemView) -> Iterator[str]:
    model: QAbstractItemModel | None = view.model()
    if model is None:
        return
    header = view.horizontalHeader() if isinstance(view, QTableView) else None
    header = view.header() if isinstance(view, QTreeView) else header
    hidden: set[int] = set()
    if header is not None:
        hidden = {column for column in range(_columns(model)) if header.isSectionHidden(column)}
        if header.isVisible():
            sorting = ("", f" sorted by {header.sortIndicatorSection()}")[header.isSortIndicatorShown()]
            yield f"heads {_heads(model, hidden)}{sorting}"
    columns = [column for column in range(min(COLUMNS, _columns(model))) if column not in hidden]
    yield from _rows(view, model, QModelIndex(), columns, 0)


def _columns(model: QAbstractItemModel) -> int:
    return 1 if isinstance(model, QAbstractListModel) else model.columnCount()


def _heads(model: QAbstractItemModel, hidden: set[int]) -> list[str]:
    shown = (column for column in range(min(COLUMNS, _columns(model))) if column not in hidden)
    return [str(model.headerData(column, Qt.Orientation.Horizontal) or "") for column in shown]


def _rows(
    view: QAbstractItemView, model: QAbstractItemModel, parent: QModelIndex, columns: list[int], depth: int
) -> Iterator[str]:
    for row in range(min(ROWS, model.rowCount(parent))):
        first = model.index(row, 0, parent)
        chosen = view.selectionModel() is not None and view.selectionModel().isSelected(first)
        cells = [_cell(model.index(row, column, parent)) for column in columns]
        yield "  " * depth + ("> " if chosen else "- ") + " | ".join(cells)
        if isinstance(view, QTreeView) and view.isExpanded(first):
            yield from _rows(view, model, first, columns, depth + 1)
    if model.rowCount(parent) > ROWS:
        yield "  " * depth + f"... {model.rowCount(parent)} rows"


def _cell(index: QModelIndex) -> str:
    role = Qt.ItemDataRole
    parts = [str(text) if (text := index.data(role.DisplayRole)) is not None else ""]
    for name, key in (("tip", role.ToolTipRole), ("said", role.AccessibleTextRole)):
        if (told := index.data(key)) and str(told) != parts[0]:
            parts.append(f"{name}={str(told)!r}")
    for name, key in (("ink", role.ForegroundRole), ("fill", role.BackgroundRole)):
        if (color := _color(index.data(key))) is not None:
            parts.append(f"{name}={color}")
    if isinstance(font := index.data(role.FontRole), QFont):
        parts += _font(font, QFont())
    if isinstance(mark := index.data(role.DecorationRole), (QIcon, QPixmap, QColor)):
        parts.append(_color(mark) or "icon")
    if (ticked := index.data(role.CheckStateRole)) is not None:
        parts.append("ticked" if Qt.CheckState(ticked) == Qt.CheckState.Checked else "not ticked")
    parts += _aligned(index.data(role.TextAlignmentRole))
    return " ".join(part for part in parts if part)


def _color(value: object) -> str | None:
    if isinstance(value, (QBrush, QPen)):
        value = value.color()
    return value.name(QColor.NameFormat.HexArgb) if isinstance(value, QColor) else None


def _drawn(view: QGraphicsView) -> Iterator[str]:
    """Curves, lines, texts and axes of a plot, in the order that they were added."""
    for item in reversed(view.items()):
        if not item.isVisible():
            continue
        if isinstance(item, pg.PlotCurveItem):
            x, y = item.getData()
            if x is not None and len(x):
                pen = pg.mkPen(item.opts["pen"])
                yield f"curve of {len(x)} to {float(y[-1]):.4g} ink={_color(pen)} {pen.widthF():g} {pen.style().name}"
        elif isinstance(item, pg.AxisItem) and item.labelText:
            yield f"axis {item.labelText!r} {item.labelUnits!r}"
        elif isinstance(item, pg.InfiniteLine):
            yield f"line at {item.value():.4g} ink={_color(item.pen)} {item.pen.style().name}"
        elif isinstance(item, (pg.TextItem, pg.LabelItem)):
            text = item.toPlainText() if isinstance(item, pg.TextItem) else item.text
            if text:
                yield f"text {text!r}"
        elif isinstance(item, pg.BarGraphItem):
            yield f"bars fill={_color(pg.mkBrush(item.opts['brush'])) if item.opts['brush'] is not None else ''}"
        elif isinstance(item, pg.ScatterPlotItem) and len(item.data):
            yield f"points {len(item.data)}"
