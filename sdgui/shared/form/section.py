"""A titled part of the form: rows and groups; irrelevant and advanced fields are folded under *More*.

Rows are created when they first become visible: ``pending`` lists the missing ones, which the form creates between
events. An optional group (such as an objective) is a single line while its enabling number is 0.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

from PySide6.QtWidgets import QHBoxLayout, QPushButton, QVBoxLayout, QWidget

from sdgui.shared.form.fields import FieldGroup, FieldSpec
from sdgui.shared.form.relevance import is_shown_directly, switch_of
from sdgui.shared.form.row import FoldRow, FormRow
from sdgui.shared.form.state import FormState
from sdgui.widgets.plain_text import PlainLabel, plain_tip
from sdgui.widgets.style.theme import SPACE, set_role

_INDENT = 3 * SPACE  # indentation of the rows of an optional group


class FormSection(QWidget):
    """A section. Shows a row if it matters, was requested, matches a search, or is invalid or changed."""

    def __init__(
        self,
        group: FieldGroup,
        state: FormState,
        row_created: Callable[[FormRow], None],
        parent: QWidget,
        top: bool = True,
    ) -> None:
        """``row_created`` is called with each new row."""
        super().__init__(parent)
        self.group = group
        self.rows: dict[str, FormRow] = {}
        self._state, self._row_created, self._top = state, row_created, top
        self._switch = switch_of(group.path)
        self._was_on = False  # state of the switch at the last update
        self._folded = False
        self._unfolded = False  # whether the fields under More are shown
        self._words: list[str] = []
        self._only_changed = False
        self._title_matches = False  # if the title matches the search, all rows are shown
        self._visible_paths: set[str] = set()
        self._framed = False
        self._more: QPushButton | None = None
        self._order = {spec.path: index for index, spec in enumerate(group.fields)}
        self.inner = [FormSection(inner, state, row_created, self, top=False) for inner in group.groups]
        self._lines = QVBoxLayout()
        self._lines.setSpacing(SPACE // 2)
        self._column = QVBoxLayout(self)
        top_margin = 0 if self._switch else SPACE if top else SPACE // 2
        self._column.setContentsMargins(0, top_margin, 0, 0 if self._switch else SPACE)
        self._column.setSpacing(SPACE // 2)
        self._column.addLayout(self._lines)
        for section in self.inner:
            self._column.addWidget(section)

    # Visibility
    def all_sections(self) -> Iterator[FormSection]:
        """Iterate over the section and its subsections."""
        yield self
        for section in self.inner:
            yield from section.all_sections()

    def reset_fold(self) -> None:
        """Fold the group if its switch is off; called for a new config."""
        if self._switch:
            self._was_on = not self._state.is_off(self._switch)
            self._folded = not self._was_on
        for section in self.inner:
            section.reset_fold()

    def filter(self, words: list[str], only_changed: bool, show_all: bool = False) -> None:
        """Show fields that match all words, and whole groups whose title does, from the next ``update_rows`` on."""
        title = f"{self.group.title} {self.group.path}".lower()
        self._words, self._only_changed = words, only_changed
        self._title_matches = show_all or (bool(words) and all(word in title for word in words))
        for section in self.inner:
            section.filter(words, only_changed, self._title_matches)

    def update_rows(self) -> bool:
        """Decide which fields are visible and update existing rows; returns whether any is visible."""
        self._follow_switch()
        self._visible_paths = {spec.path for spec in self.group.fields if self._is_shown(spec)}
        if self._switch and self._visible_paths:
            self._visible_paths.add(self._switch)
        for path, row in self.rows.items():
            self._refresh(path, row)
        inner = [section.update_rows() for section in self.inner]
        is_visible = bool(self._visible_paths) or any(inner)
        self.setVisible(is_visible)
        if self._framed:
            self._show_frame()
        return is_visible

    def _follow_switch(self) -> None:
        if not self._switch:
            return
        on = not self._state.is_off(self._switch)
        if (on and not self._was_on) or any(path in self._state.errors for path in self._order if path != self._switch):
            self._folded = False  # not while the user types: the 0 of 0.5 would fold the row
        self._was_on = on

    @property
    def _filtering(self) -> bool:
        return bool(self._words) or self._only_changed

    def _is_shown(self, spec: FieldSpec) -> bool:
        state, path = self._state, spec.path
        needed = path in state.differing or path in state.errors
        if self._only_changed and not needed:
            return False
        if self._filtering:
            return self._title_matches or _matches(spec, self._words)
        if path == self._switch:
            return True
        if self._folded:
            return False
        return needed or self._unfolded or is_shown_directly(path, spec.advanced, state.values)

    # Creation
    def pending(self) -> Iterator[Callable[[], object]]:
        """The rows that are still missing, from the top; each takes a moment to create."""
        if not self._framed and (self._visible_paths or any(section._visible_paths for section in self.inner)):
            yield self._frame
        for path in self._order:
            if path in self._visible_paths and path not in self.rows:
                yield partial(self.row, path)
        for section in self.inner:
            yield from section.pending()

    def row(self, path: str) -> FormRow:
        """The row of a field in this section (not a subsection), created if needed."""
        if path in self.rows:
            return self.rows[path]
        spec = self.group.fields[self._order[path]]
        if path == self._switch:
            row: FormRow = FoldRow(spec, self.group, self)
            row.fold_requested.connect(self._fold)  # type: ignore[attr-defined]
        else:
            row = FormRow(spec, self, indent=_INDENT if self._switch else 0)
        # the enabling field comes first
        order = {path: -1 if path == self._switch else index for path, index in self._order.items()}
        position = sum(order[existing] < order[path] for existing in self.rows)
        self.rows[path] = row
        self._lines.insertWidget(position, row)
        self._row_created(row)
        self._refresh(path, row)
        return row

    def _refresh(self, path: str, row: FormRow) -> None:
        state = self._state
        row.set_base(state.base_texts[path])
        row.set_text(state.texts[path])
        row.set_error(state.errors.get(path, ""))
        row.set_differs(path in state.differing)
        row.set_read_only(state.read_only)
        if isinstance(row, FoldRow):
            row.set_folded(self._folded and not self._filtering)
        row.setVisible(path in self._visible_paths)

    def _frame(self) -> None:
        """Create the titles and the More button; an optional group has its title in its first line."""
        self._framed = True
        if not self._switch:
            title, about = PlainLabel(self.group.title, self), PlainLabel(self.group.description, self)
            set_role(title, "heading" if self._top else "title")
            set_role(about, "small")
            about.setWordWrap(True)
            self._column.insertWidget(0, title)
            self._column.insertWidget(1, about)
            about.setVisible(bool(self.group.description))
        self._more = QPushButton(self)
        set_role(self._more, "flat")
        self._more.clicked.connect(self._show_more)
        line = QHBoxLayout()
        line.addSpacing(_INDENT + (SPACE if self._switch else -SPACE))
        line.addWidget(self._more)
        line.addStretch(1)
        self._column.insertLayout(self._column.indexOf(self._lines) + 1, line)
        self._show_frame()

    def _show_frame(self) -> None:
        if self._more is None:
            return
        open_ = not (self._switch and self._folded) and not self._filtering
        other_fields = [s for s in self.group.fields if s.path != self._switch and not self._is_shown_directly(s)]
        self._more.setVisible(bool(other_fields) and open_)
        self._more.setText("Less" if self._unfolded else f"More ({len(other_fields)})")
        self._more.setToolTip(plain_tip(", ".join(spec.title for spec in other_fields)))
        self._more.setAccessibleName(f"{'Fewer' if self._unfolded else 'More'} settings of {self.group.title}")

    def _is_shown_directly(self, spec: FieldSpec) -> bool:
        return is_shown_directly(spec.path, spec.advanced, self._state.values)

    # Folding
    def unfold(self, path: str) -> None:
        """Unfold whatever hides a field of this section."""
        if path != self._switch:
            self._folded = False
        spec = self.group.fields[self._order[path]]
        if path != self._switch and not self._is_shown_directly(spec):
            self._unfolded = True

    def _fold(self) -> None:
        self._folded = not self._folded
        self._update_and_create()

    def _show_more(self) -> None:
        self._unfolded = not self._unfolded
        self._update_and_create()

    def _update_and_create(self) -> None:
        self.update_rows()
        for make in list(self.pending()):
            make()


def _matches(spec: FieldSpec, words: list[str]) -> bool:
    """Whether every word is in the title, description or dotted name."""
    text = f"{spec.title} {spec.description} {spec.path}".lower()
    return all(word in text for word in words)
