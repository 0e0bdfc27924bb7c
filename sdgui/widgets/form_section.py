"""A titled part of the form: rows, groups inside, and what is advanced folded under *More*."""

from __future__ import annotations

from collections.abc import Iterator

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QLabel, QPushButton, QVBoxLayout, QWidget

from sdgui.widgets.form_fields import FieldGroup
from sdgui.widgets.form_row import FormRow
from sdgui.widgets.theme import SPACE, set_role


class FormSection(QWidget):
    """Shows a row when it is asked for: not advanced, unfolded, found, or in need of being seen (wrong, changed)."""

    def __init__(self, group: FieldGroup, parent: QWidget, top: bool = True) -> None:
        super().__init__(parent)
        self.group = group
        self._top = top
        self._unfolded = False
        self._words: list[str] = []
        self._only_changed = False
        self.rows = [FormRow(spec, self) for spec in group.fields]
        self.inner = [FormSection(inner, self, top=False) for inner in group.groups]
        title, about = QLabel(group.title, self), QLabel(group.description, self)
        set_role(title, "heading" if top else "title")
        set_role(about, "small")
        about.setWordWrap(True)
        about.setVisible(bool(group.description))
        self._more = QPushButton(self)
        set_role(self._more, "flat")
        self._more.clicked.connect(self._fold)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, SPACE if top else SPACE // 2, 0, SPACE)
        layout.setSpacing(SPACE // 2)
        layout.addWidget(title)
        layout.addWidget(about)
        layout.addSpacing(SPACE // 2)
        for row in self.rows:
            layout.addWidget(row)
        layout.addWidget(self._more, 0, Qt.AlignmentFlag.AlignLeft)
        for section in self.inner:
            layout.addWidget(section)
        self.update_rows()

    def all_rows(self) -> Iterator[FormRow]:
        """Its rows and those of the groups inside."""
        yield from self.rows
        for section in self.inner:
            yield from section.all_rows()

    def show_matching(self, words: list[str], only_changed: bool) -> bool:
        """Show what matches all words (all of a group whose title does); returns whether anything is left."""
        self._words, self._only_changed = words, only_changed
        title = f"{self.group.title} {self.group.path}".lower()
        if words and all(word in title for word in words):
            words = []
        inner = [section.show_matching(words, only_changed) for section in self.inner]
        shown = self.update_rows(words)
        self.setVisible(shown or any(inner))
        return shown or any(inner)

    def update_rows(self, words: list[str] | None = None) -> bool:
        """Show and hide rows as they are now; returns whether any is shown."""
        words = self._words if words is None else words
        filtering = bool(words) or self._only_changed
        folded = 0
        any_shown = False
        for row in self.rows:
            found = row.matches(words) and (row.differs or bool(row.error) or not self._only_changed)
            needed = not row.spec.advanced or self._unfolded or filtering or row.differs or bool(row.error)
            folded += found and row.spec.advanced
            row.setVisible(found and needed)
            any_shown = any_shown or (found and needed)
        advanced = sum(row.spec.advanced for row in self.rows)
        self._more.setVisible(bool(advanced) and not filtering)
        self._more.setText("Less" if self._unfolded else f"More ({advanced})")
        self._more.setAccessibleName(f"{'Fewer' if self._unfolded else 'More'} settings of {self.group.title}")
        return any_shown

    def unfold(self, path: str) -> None:
        """Make sure that a field of this section can be seen."""
        for section in self.inner:
            section.unfold(path)
        if any(row.spec.path == path and row.spec.advanced for row in self.rows):
            self._unfolded = True
            self.update_rows()

    def _fold(self) -> None:
        self._unfolded = not self._unfolded
        self.update_rows()
