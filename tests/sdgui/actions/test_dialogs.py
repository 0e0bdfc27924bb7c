"""Every dialog and popup of the window by keys alone: Escape closes it, fields have names, one button is Enter's."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from PySide6.QtCore import QPoint, Qt
from PySide6.QtWidgets import (
    QAbstractItemView,
    QAbstractSpinBox,
    QApplication,
    QComboBox,
    QDialog,
    QLabel,
    QLineEdit,
    QPlainTextEdit,
    QPushButton,
    QTextEdit,
    QWidget,
)
from pytestqt.qtbot import QtBot
from shiboken6 import isValid

from core.spec.run.folder import RunDir
from sdgui.actions.failure_dialog import FailureDialog
from sdgui.app.main_window import MainWindow
from sdgui.shared.pickers.model_popover import ModelPopover
from tests.sdgui.conftest import OpenWindow
from tests.sdgui.driving import add

_FIELDS = (QLineEdit, QComboBox, QAbstractSpinBox, QPlainTextEdit, QTextEdit, QAbstractItemView)
_WITH_PARTS = (QComboBox, QAbstractSpinBox, QAbstractItemView)  # whose line edits, lists and heads are named by them


def test_dialogs_and_popups_work_by_keyboard(qtbot: QtBot, open_window: OpenWindow, tmp_path: Path) -> None:
    window = open_window()
    add(window)
    window.show_panel("define")
    faults: list[str] = []
    for name, opened in _openers(window, RunDir(tmp_path)).items():
        dialog = opened()
        QApplication.processEvents()
        assert dialog.isVisible(), name
        faults += [f"{name}: {fault}" for fault in (*_unnamed(dialog), *_buttons(dialog), *_jumps(dialog))]
        qtbot.keyClick(dialog.focusWidget() or dialog, Qt.Key.Key_Escape)
        QApplication.processEvents()
        if isValid(dialog) and dialog.isVisible():
            faults.append(f"{name}: Escape leaves it open")
            dialog.hide()
    assert not faults, "\n".join(faults)


def _openers(window: MainWindow, run: RunDir) -> dict[str, Callable[[], QWidget]]:
    actions, dialogs = window.window_actions, window.dialogs

    def by_action(name: str, found: Callable[[], QWidget]) -> Callable[[], QWidget]:
        def opened() -> QWidget:
            actions[name].trigger()
            return found()

        return opened

    def by_call(call: Callable[[], object], attribute: str) -> Callable[[], QWidget]:
        def opened() -> QWidget:
            call()
            made = getattr(dialogs, attribute)
            assert isinstance(made, QWidget)
            return made

        return opened

    def models() -> QWidget:
        popover = ModelPopover("search", window)
        popover.open_below(window.centralWidget() or window)
        return popover

    def about() -> QWidget:
        return next(one for one in window.findChildren(FailureDialog) if one.isVisible())

    return {
        "palette": by_action("palette", lambda: dialogs.palette),
        "shortcuts": by_call(dialogs.open_shortcuts, "_shortcuts"),
        "about": by_action("about", about),
        "presets": by_action("new", lambda: dialogs.chooser),
        "tags and note": by_action("describe", lambda: dialogs.sheet),
        "alerts": by_action("alerts", lambda: dialogs.alerts),
        "report": by_action("report", lambda: dialogs.report),
        "who changed what": by_action("changes", lambda: dialogs.activity),
        "export": by_call(lambda: dialogs.open_export(run, "clip · run 1"), "_export"),
        "basket": by_call(dialogs.open_basket, "_basket"),
        "models": models,
    }


def _unnamed(dialog: QWidget) -> list[str]:
    """Keys of labels that lead nowhere, and fields that a screen reader cannot name."""
    labels = [one for one in dialog.findChildren(QLabel) if one.isVisible()]
    lost = [one.text() for one in labels if "&" in one.text().replace("&&", "") and one.buddy() is None]
    buddies = [one.buddy() for one in labels]
    fields = [one for kind in _FIELDS for one in dialog.findChildren(kind) if one.isVisible()]
    fields = [one for one in fields if not isinstance(one.parentWidget(), _WITH_PARTS)]
    nameless = [type(one).__name__ for one in fields if not one.accessibleName() and one not in buddies]
    return [f"no field for the label {text}" for text in lost] + [f"a {kind} without a name" for kind in nameless]


def _buttons(dialog: QWidget) -> list[str]:
    """Enter in a field presses the primary button, Close or none."""
    buttons = [one for one in dialog.findChildren(QPushButton) if one.isVisible()]
    primary = [one for one in buttons if one.property("role") == "primary"]
    if len(primary) > 1:
        return ["several primary buttons"]
    if not isinstance(dialog, QDialog):
        return []

    def name(button: QPushButton) -> str:
        return button.text().replace("&", "")

    return [
        f"Enter presses {one.text()}"
        for one in buttons
        if one.isDefault() and one not in primary and "Close" not in name(one)
    ]


def _jumps(dialog: QWidget) -> list[str]:
    """Stops of Tab that stand above and left of the stop before."""
    stops, here = [], dialog.nextInFocusChain()
    while here is not None and here is not dialog:
        tab = bool(here.focusPolicy() & Qt.FocusPolicy.TabFocus) and here.focusProxy() is None
        inner = isinstance(here.parentWidget(), _WITH_PARTS)
        if tab and dialog.isAncestorOf(here) and here.isVisible() and here.isEnabled() and not inner:
            stops.append(here)
        here = here.nextInFocusChain()
    places = [one.mapTo(dialog, QPoint(0, one.height() // 2)) for one in stops]
    pairs = zip(places, places[1:], stops[1:], strict=False)
    back = [stop for before, now, stop in pairs if now.y() < before.y() - 8 and now.x() <= before.x()]
    return [f"Tab goes back to {type(one).__name__} {one.accessibleName()}" for one in back]
