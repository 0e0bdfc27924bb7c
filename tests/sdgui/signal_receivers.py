"""Whether somebody listens: signals of controls, and those that the window's own parts declare, without a receiver.

What is made late, when it is first used (a ``cached_property`` of a part), is made first, so that all of it is asked.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property
from typing import Any

from PySide6.QtCore import QMetaMethod, QObject, Qt, QTimer, Signal
from PySide6.QtGui import QAction, QShortcut
from PySide6.QtWidgets import (
    QAbstractButton,
    QAbstractItemView,
    QAbstractSpinBox,
    QComboBox,
    QDialogButtonBox,
    QLineEdit,
    QListWidget,
    QMenu,
    QMenuBar,
    QPlainTextEdit,
    QPushButton,
    QScrollBar,
    QSlider,
    QTabWidget,
    QToolButton,
    QWidget,
)
from shiboken6 import isValid

# What a user does to a control, by the signals of which one at least must be heard.
CONTROLS: dict[type[QObject], tuple[str, ...]] = {
    QAbstractButton: ("clicked", "toggled"),
    QAction: ("triggered", "toggled"),
    QComboBox: ("activated", "textActivated", "currentIndexChanged", "currentTextChanged", "editTextChanged"),
    QAbstractSpinBox: ("valueChanged", "editingFinished", "dateChanged"),
    QLineEdit: ("textChanged", "textEdited", "returnPressed", "editingFinished"),
    QPlainTextEdit: ("textChanged", "modificationChanged"),
    QListWidget: (
        "itemChanged",
        "currentRowChanged",
        "currentItemChanged",
        "currentTextChanged",
        "itemActivated",
        "itemClicked",
    ),
    QSlider: ("valueChanged", "sliderMoved", "sliderReleased", "actionTriggered"),
    QShortcut: ("activated",),
    QTimer: ("timeout",),
}
_ITS_OWN = (QDialogButtonBox, QAbstractSpinBox, QComboBox, QTabWidget, QScrollBar, QAbstractItemView)


def everything(*roots: QObject) -> list[QObject]:
    """``roots`` and all below them, with what they make when first used."""
    made: set[tuple[int, str]] = set()
    while True:
        found = [each for root in roots for each in (root, *root.findChildren(QObject))]
        late = [(each, name) for each in found for name in _late(each) if (id(each), name) not in made]
        if not late:
            return [each for each in found if isValid(each)]
        for each, name in late:
            made.add((id(each), name))
            getattr(each, name)


def unheard_controls(found: Iterable[QObject]) -> set[str]:
    """Controls that nothing happens to when they are used, as ``Owner.attribute``, or by their text."""
    deaf = set()
    for each in found:
        kinds = [kind for kind in CONTROLS if isinstance(each, kind)] if _a_users(each) else []
        if kinds and not any(_hears(each, name) for kind in kinds for name in CONTROLS[kind]):
            deaf.add(where(each))
        menu = isinstance(each, QWidget) and each.contextMenuPolicy() == Qt.ContextMenuPolicy.CustomContextMenu
        if menu and not receivers(each, "customContextMenuRequested"):
            deaf.add(f"{where(each)}: its menu")
    return deaf


def unheard_signals(found: Iterable[QObject]) -> set[str]:
    """Signals that classes of the window declare and that have no receiver at any object, as ``Class.signal``."""
    declared, heard = set(), set()
    for each in found:
        for name in _declared(type(each)):
            signal = f"{type(each).__name__}.{name}"
            (heard if receivers(each, name) else declared).add(signal)
    return declared - heard


def deaf_to(found: Iterable[QObject], wanted: Mapping[str, str]) -> set[str]:
    """``wanted``: by ``Owner.attribute`` the signals that it must be heard for, beyond what Qt itself listens to.

    What was asked for and is not there is in the answer as well.
    """
    there: dict[str, list[QObject]] = {}
    for each in found:
        there.setdefault(where(each), []).append(each)
    deaf = wanted.keys() - there.keys()
    for place, names in wanted.items():
        for name in names.split():
            itself = _of_qt(there[place][0], name) if place in there else 0
            if any(receivers(one, name) <= itself for one in there.get(place, ())):
                deaf.add(f"{place}: {name}")
    return set(deaf)


def _of_qt(each: QObject, name: str) -> int:
    """How many of Qt's own hear ``name`` of a fresh widget of Qt's class of ``each``."""
    kind = next(one for one in type(each).__mro__ if one.__module__.startswith("PySide6"))
    bare = kind()
    if isinstance(bare, QLineEdit):
        assert isinstance(each, QLineEdit)
        bare.setClearButtonEnabled(each.isClearButtonEnabled())
    return receivers(bare, name)


def receivers(sender: QObject, name: str) -> int:
    """How many hear the signal ``name`` of ``sender``, whatever its arguments."""
    meta, total, fullest = sender.metaObject(), 0, ""
    for number in range(meta.methodCount()):
        method = meta.method(number)
        if method.methodType() != QMetaMethod.MethodType.Signal or method.name().toStdString() != name:
            continue
        signature = method.methodSignature().toStdString()
        if fullest.startswith(signature[:-1]):
            continue  # clicked() after clicked(bool) is the same signal
        fullest = signature
        total += sender.receivers(f"2{signature}")
    return total


def where(each: QObject) -> str:
    """The attribute of a part above it that holds ``each``; without one, its class in the part, with its text."""
    above = each.parent()
    while above is not None:
        for name, value in vars(above).items():
            if value is each:
                return f"{type(above).__name__}.{name}"
        above = above.parent()
    owner = next((type(one).__name__ for one in _above(each) if _own(type(one))), "")
    text = each.text() if isinstance(each, (QAbstractButton, QAction)) else each.objectName()
    return f"{owner}/{type(each).__name__} {text}".rstrip()


def _late(part: QObject) -> Iterator[str]:
    for kind in type(part).__mro__:
        if _own(kind):
            yield from (name for name, value in vars(kind).items() if isinstance(value, cached_property))


def _declared(kind: type) -> Iterator[str]:
    for one in kind.__mro__:
        if _own(one):
            yield from (name for name, value in vars(one).items() if isinstance(value, Signal))


def _hears(each: QObject, name: str) -> bool:
    """Whether somebody but Qt hears it: a line that can be cleared listens to its own text, a menu to its entries."""
    itself = int(isinstance(each, QLineEdit) and name == "textChanged" and each.isClearButtonEnabled())
    if isinstance(each, QAction) and name == "triggered":
        itself = sum(isinstance(one, (QMenu, QMenuBar)) for one in each.associatedObjects())
    group = each.group() if isinstance(each, QAbstractButton) else None
    grouped = group is not None and any(receivers(group, one) for one in ("idClicked", "buttonClicked", "idToggled"))
    return receivers(each, name) > itself or grouped


def _a_users(each: QObject) -> bool:
    """Whether a part of the window made it, and not Qt for itself."""
    if isinstance(each, QAction) and (each.isSeparator() or each.menu() is not None):
        return False
    if isinstance(each, (QPushButton, QToolButton)) and each.menu() is not None:
        return False  # it opens
    if isinstance(each, QToolButton) and each.defaultAction() is not None:
        return False  # the action is asked
    if isinstance(each, QPlainTextEdit) and (each.isReadOnly() or list(_declared(type(each)))):
        return False  # nothing is typed there, or it says by a signal of its own what is
    return not isinstance(each, QWidget) or not (isinstance(each, QScrollBar) or isinstance(each.parent(), _ITS_OWN))


def _above(each: QObject) -> Iterator[QObject]:
    above = each.parent()
    while above is not None:
        yield above
        above = above.parent()


def _own(kind: type[Any]) -> bool:
    return kind.__module__.startswith("sdgui")
