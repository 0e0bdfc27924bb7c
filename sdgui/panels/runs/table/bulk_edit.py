"""A sheet to edit tags and notes of several runs together, with a preview and undo.

Flow: ``open`` with the runs' tags -> ``edited`` with a ``BulkEdit`` -> the panel writes it and offers Undo.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from PySide6.QtCore import QPoint, QStringListModel, Qt, Signal
from PySide6.QtGui import QKeyEvent, QKeySequence, QShortcut
from PySide6.QtWidgets import (
    QCheckBox,
    QCompleter,
    QFrame,
    QLineEdit,
    QPlainTextEdit,
    QPushButton,
    QWidget,
)

from sdgui.widgets.formats import count_with_unit
from sdgui.widgets.layouts.boxes import hbox, vbox
from sdgui.widgets.layouts.flow_layout import FlowLayout
from sdgui.widgets.plain_text import PlainLabel, plain_tip
from sdgui.widgets.popovers.placing import move_within
from sdgui.widgets.style.theme import SPACE, set_role


@dataclass(frozen=True)
class BulkEdit:
    """The requested changes. ``note``: None keeps the notes; ``append``: add ``note`` to each run's note."""

    run_ids: tuple[int, ...]
    add: tuple[str, ...] = ()
    remove: tuple[str, ...] = ()
    note: str | None = None
    append: bool = False

    def __bool__(self) -> bool:
        return bool(self.add or self.remove or self.note is not None)

    def note_of(self, before: str) -> str:
        """The note of a run after the edit, given the note before."""
        if self.note is None:
            return before
        return f"{before.rstrip()}\n{self.note}" if self.append and before.strip() else self.note


class BulkEditSheet(QFrame):
    """The sheet. Ctrl+Enter or *Apply* applies the edit; Escape or a click elsewhere discards it."""

    edited = Signal(object)  # BulkEdit

    def __init__(self, parent: QWidget) -> None:
        super().__init__(parent, Qt.WindowType.Popup)
        self.setFrameShape(QFrame.Shape.StyledPanel)
        self.setAccessibleName("Tags and notes of several runs")
        self._run_ids: tuple[int, ...] = ()
        self._boxes: dict[str, QCheckBox] = {}  # tag -> checkbox
        self.title = PlainLabel(self, role="title")
        self.add = QLineEdit(self)
        self.add.setPlaceholderText("Add tags, separated by commas")
        self.add.setAccessibleName("Tags to add, separated by commas")
        self.add.setToolTip("Tags to add to every run")
        self._completions = QStringListModel(self)
        completer = QCompleter(self._completions, self)
        completer.setCaseSensitivity(Qt.CaseSensitivity.CaseInsensitive)
        self.add.setCompleter(completer)
        self._tags_label = PlainLabel("Keep tags", self, role="muted")
        self._tags = QWidget(self)
        FlowLayout(self._tags)
        self.note = QPlainTextEdit(self)
        self.note.setPlaceholderText("Note for all runs; leave empty to keep existing notes")
        self.note.setAccessibleName("Note")
        self.note.setToolTip("If empty, existing notes are kept")
        self.note.setTabChangesFocus(True)
        self.append = QCheckBox("Append to existing notes", self)
        self.append.setChecked(True)
        self.append.setToolTip("If not ticked, existing notes are replaced")
        self.apply = QPushButton("Apply", self)
        self.apply.setToolTip("Apply to all selected runs (Ctrl+Enter)")
        set_role(self.apply, "primary")
        self.apply.clicked.connect(self._apply)
        foot = hbox((self.append, 1), self.apply)
        vbox(self.title, self.add, self._tags_label, self._tags, self.note, foot, into=self, margins=SPACE)
        for keys in ("Ctrl+Return", "Ctrl+Enter"):
            QShortcut(QKeySequence(keys), self).activated.connect(self._apply)

    def open(self, tags: Mapping[int, Sequence[str]], all_tags: Sequence[str], position: QPoint) -> None:
        """Open at a screen position. ``tags``: run id -> tags; ``all_tags``: tags to complete from."""
        self._run_ids = tuple(tags)
        self.title.setText(count_with_unit(len(tags), "run"))
        self._completions.setStringList(list(all_tags))
        self.add.clear()
        self.note.clear()
        self._show_tags(Counter(tag for run_tags in tags.values() for tag in run_tags))
        self.resize(46 * SPACE, 36 * SPACE)
        move_within(self, position)
        self.show()
        self.add.setFocus(Qt.FocusReason.PopupFocusReason)

    def _show_tags(self, tag_counts: Counter[str]) -> None:
        for box in self._boxes.values():
            box.setParent(None)
            box.deleteLater()
        self._boxes = {}
        layout = self._tags.layout()
        assert layout is not None
        for tag, number in tag_counts.most_common(30):
            box = QCheckBox(f"{tag} ({number})".replace("&", "&&"), self._tags)
            box.setChecked(True)
            box.setToolTip(plain_tip(f"Untick to remove the tag {tag} from {number} of these runs"))
            layout.addWidget(box)
            self._boxes[tag] = box
        self._tags_label.setVisible(bool(self._boxes))
        self._tags.setVisible(bool(self._boxes))

    def edit(self) -> BulkEdit:
        """The requested changes."""
        typed = (tag.strip().lstrip("#") for tag in self.add.text().split(","))
        note = self.note.toPlainText().strip()
        return BulkEdit(
            self._run_ids,
            tuple(dict.fromkeys(tag for tag in typed if tag)),
            tuple(tag for tag, box in self._boxes.items() if not box.isChecked()),
            note or None,
            self.append.isChecked(),
        )

    def _apply(self) -> None:
        edit = self.edit()
        self.hide()
        if edit:
            self.edited.emit(edit)

    def keyPressEvent(self, event: QKeyEvent) -> None:
        if event.key() in (Qt.Key.Key_Return, Qt.Key.Key_Enter) and self.add.hasFocus():
            self._apply()
        else:
            super().keyPressEvent(event)
