"""Whether everything that is shown stands somewhere: widgets in no layout, splitter, stack or tab of their parent."""

from __future__ import annotations

from collections.abc import Iterable

from PySide6.QtCore import QObject, QPoint, QRect
from PySide6.QtWidgets import QAbstractButton, QLayout, QSlider, QSplitter, QStackedWidget, QTabWidget, QWidget

from tests.sdgui.signal_receivers import where


def covered(notice: QWidget) -> list[QWidget]:
    """Buttons and sliders under ``notice``, a message or progress that lies over its parent."""
    area = notice.parentWidget()
    assert area is not None
    place = notice.geometry()
    controls = [each for kind in (QAbstractButton, QSlider) for each in area.findChildren(kind)]
    return [
        each
        for each in controls
        if each.isVisible()
        and not notice.isAncestorOf(each)
        and place.intersects(QRect(each.mapTo(area, QPoint(0, 0)), each.size()))
    ]


def unplaced(found: Iterable[QObject]) -> set[str]:
    """Widgets that lie in the corner of their parent, where they were made: nothing has put them into its layout."""
    return {
        where(each)
        for each in found
        if isinstance(each, QWidget) and _has_place_to_be(each) and not _placed(each, each.parentWidget())
    }


def _has_place_to_be(each: QWidget) -> bool:
    """Whether it is a part of a part of the window, and no window of its own; Qt places what Qt made."""
    parent = each.parentWidget()
    if parent is None or each.isWindow():
        return False
    return parent.layout() is not None or isinstance(parent, (QSplitter, QStackedWidget, QTabWidget))


def _placed(each: QWidget, parent: QWidget | None) -> bool:
    if isinstance(parent, QSplitter):
        return parent.indexOf(each) >= 0
    if isinstance(parent, QStackedWidget):
        return parent.indexOf(each) >= 0
    if isinstance(parent, QTabWidget):
        return each.objectName().startswith("qt_")
    layout = parent.layout() if parent is not None else None
    return layout is not None and _holds(layout, each)


def _holds(layout: QLayout, each: QWidget) -> bool:
    for number in range(layout.count()):
        item = layout.itemAt(number)
        if item is None:
            continue
        inner = item.layout()
        if item.widget() is each or (inner is not None and _holds(inner, each)):
            return True
    return False
