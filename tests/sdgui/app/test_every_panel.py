"""Every panel at 1280 x 720: in an empty home each says what it is for, and nothing is cut off at a side."""

from __future__ import annotations

from PySide6.QtCore import QPoint, QRect
from PySide6.QtWidgets import (
    QAbstractButton,
    QAbstractItemView,
    QAbstractSpinBox,
    QApplication,
    QComboBox,
    QLabel,
    QLineEdit,
    QSlider,
    QTabBar,
    QWidget,
)
from pytestqt.qtbot import QtBot

from sdgui.panels.define.panel import DefinePanel
from sdgui.panels.registry import PANELS
from sdgui.shared.form.page import FormPage
from sdgui.widgets.elided_label import ElidedLabel
from sdgui.widgets.empty_state import EmptyState
from sdgui.widgets.message import Message, Remedy, info
from sdgui.widgets.popovers.chip_button import ChipButton
from tests.sdgui.conftest import OpenWindow
from tests.sdgui.driving import add

_CONTROLS = (QAbstractButton, QAbstractSpinBox, QComboBox, QLineEdit, QSlider, FormPage)
_WITH_PARTS = (QAbstractItemView, QAbstractSpinBox, QComboBox, QLineEdit, QTabBar)  # which place their parts themselves


def test_progress_of_a_panel_covers_nothing_and_is_shown_on_all_panels(qtbot: QtBot, open_window: OpenWindow) -> None:
    window = open_window()
    window.resize(1280, 720)
    for name in ("search", "classify", "caption", "clean", "data"):
        panel = window.show_panel(name)
        [strip, *_] = panel.progress
        strip.start("Encoding images", 100, "images")
        QApplication.processEvents()
        assert not window.page.isAncestorOf(strip)
        assert window.status.rect().contains(_place(window.status, strip)), name
        window.show_panel("home")
        assert strip.isVisible()
        strip.finish()


def test_no_panel_is_cut_off_or_empty(qtbot: QtBot, open_window: OpenWindow) -> None:
    window = open_window()
    window.resize(1280, 720)
    said, faults = {}, []
    for spec in PANELS:
        panel = window.show_panel(spec.name)
        qtbot.waitUntil(lambda panel=panel: bool(_said(panel)))  # Home reads the store first
        QApplication.processEvents()  # the page that was switched to is laid out
        said[spec.title] = _said(panel)
        faults += [f"{spec.title}: {fault}" for fault in _cut(panel)]
    add(window)
    define = window.show_panel("define")
    assert isinstance(define, DefinePanel)
    define.form.finish()
    QApplication.processEvents()
    faults += [f"Define, filled: {fault}" for fault in _cut(define)]
    assert not faults, "\n".join(faults)
    define.bar.show_message(Message("warning", "What failed and how it is mended. " * 12))
    window.show_message(info("What went well."))
    qtbot.waitUntil(lambda: not _place(window.page, window.bar).intersects(_place(window.page, define.bar)))
    assert define.bar.isVisible()
    assert window.bar.isVisible()
    define.bar.clear()
    asks = Message("info", "It is done.", remedy=Remedy("Undo", lambda: None))
    for message, stays in ((Message("warning", "Look."), True), (asks, True), (info("What went well."), False)):
        window.show_message(message)
        window.window_actions["data"].trigger()
        assert (window.bar.message is not None) == stays, message.text
    assert len(set(said.values())) == len(PANELS), said


def _place(page: QWidget, widget: QWidget) -> QRect:
    return QRect(widget.mapTo(page, QPoint(0, 0)), widget.size())


def _said(panel: QWidget) -> tuple[str, ...]:
    """The headings of its empty pages; of Home, which has none, the ways to begin."""
    headings = [one.accessibleName() for one in panel.findChildren(EmptyState) if one.isVisible()]
    return tuple(headings or [one.text() for one in panel.findChildren(QAbstractButton) if one.isVisible()])


def _cut(panel: QWidget) -> list[str]:
    found = []
    for one in panel.findChildren(QWidget):
        parent = one.parentWidget()
        if parent is None or not one.isVisible() or isinstance(parent, _WITH_PARTS):
            continue
        if isinstance(one, _CONTROLS) and (one.x() < 0 or one.geometry().right() >= parent.width()):
            found.append(f"{_name(one)} is not within {type(parent).__name__}")
        elif isinstance(one, QAbstractButton) and one.text() and not isinstance(one, ChipButton):
            if one.width() < one.minimumSizeHint().width():
                found.append(f"{_name(one)} is narrower than its text")
        elif isinstance(one, QLabel) and one.text() and not one.wordWrap() and not isinstance(one, ElidedLabel):
            if one.width() < one.minimumSizeHint().width():
                found.append(f"{_name(one)} is cut")
        elif isinstance(one, QAbstractSpinBox):
            edit = one.findChild(QLineEdit)
            if edit is not None and edit.fontMetrics().horizontalAdvance(edit.text()) > edit.width():
                found.append(f"{_name(one)} is narrower than its number")
    return found


def _name(widget: QWidget) -> str:
    text = widget.text() if isinstance(widget, QAbstractButton | QLabel) else ""
    return f"{type(widget).__name__} {widget.accessibleName() or text}"
