"""The fields in which an experiment differs from its preset, with both values; selecting a field opens it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from PySide6.QtCore import QModelIndex, QPersistentModelIndex, QRect, QSize, Qt, Signal
from PySide6.QtWidgets import (
    QStyledItemDelegate,
    QStyleOptionViewItem,
    QTreeWidget,
    QTreeWidgetItem,
    QWidget,
)

from sdgui.shared.form.texts import differences_text, field_title, value_text
from sdgui.widgets.layouts.boxes import vbox
from sdgui.widgets.plain_text import PlainLabel, plain_tip
from sdgui.widgets.style.theme import SPACE

_BREAK = "\u200b"  # zero-width space: allows a line break within a path


class _FullHeightDelegate(QStyledItemDelegate):
    """Makes each row as high as its wrapped text."""

    def sizeHint(self, option: QStyleOptionViewItem, index: QModelIndex | QPersistentModelIndex) -> QSize:
        view = self.parent()
        assert isinstance(view, QTreeWidget)
        room = QRect(0, 0, max(SPACE, view.viewport().width() - SPACE), 1 << 16)
        text = view.fontMetrics().boundingRect(room, Qt.TextFlag.TextWordWrap, str(index.data()))
        return QSize(room.width(), text.height() + SPACE)


class Differences(QWidget):
    """The list of differences. ``field_chosen``: a dotted field was activated in the list."""

    field_chosen = Signal(str)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.title = PlainLabel(self, role="title")
        self._hint = PlainLabel(self, wordWrap=True, role="muted")
        self.list = QTreeWidget(self)
        self.list.setAccessibleName("Differences from the preset")
        self.list.setHeaderHidden(True)
        self.list.setRootIsDecorated(False)
        self.list.setIndentation(0)
        self.list.setWordWrap(True)
        self.list.setTextElideMode(Qt.TextElideMode.ElideNone)
        self.list.setItemDelegate(_FullHeightDelegate(self.list))
        self.list.header().sectionResized.connect(lambda *_: self.list.scheduleDelayedItemsLayout())
        self.list.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.list.itemActivated.connect(self._choose)
        self.list.itemClicked.connect(self._choose)
        vbox(self.title, self._hint, (self.list, 1), into=self, margins=(SPACE, 0, 0, 0))

    def show_changes(self, changes: Mapping[str, tuple[Any, Any]], preset: str) -> None:
        """List ``changes`` (dotted field -> preset's value, current value) from the preset titled ``preset``."""
        self.list.clear()
        for field, (preset_value, own_value) in changes.items():
            before, current = value_text(preset_value), value_text(own_value)
            item = QTreeWidgetItem([_breakable(f"{field_title(field)}\n{before} → {current}")])
            item.setData(0, Qt.ItemDataRole.UserRole, field)
            item.setToolTip(0, plain_tip(f"{field}\npreset: {before}\nthis experiment: {current}"))
            item.setData(
                0,
                Qt.ItemDataRole.AccessibleTextRole,
                f"{field_title(field)}: preset {before}, this experiment {current}",
            )
            self.list.addTopLevelItem(item)
        self.title.setText(differences_text(len(changes)))
        self._hint.setText(f"compared with {preset}")
        self.setVisible(bool(changes))

    def _choose(self, item: QTreeWidgetItem) -> None:
        self.field_chosen.emit(item.data(0, Qt.ItemDataRole.UserRole))


def _breakable(text: str) -> str:
    for mark in "/._-":
        text = text.replace(mark, mark + _BREAK)
    return text
