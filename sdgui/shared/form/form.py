"""The form of an experiment, generated from ``RunConfig``: sections by axis; typed text is kept as is.

Flow: a panel calls ``set_config`` with a preset's or a previous run's config; the user edits; ``config()`` is the
new config, or None while there are ``errors()``. Typed text is kept in a ``FormState``. Rows are
created when they first become visible, a few at a time between other events, so that the window never blocks.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any

from PySide6.QtCore import QPoint, QSize, Qt, QTimer, Signal
from PySide6.QtGui import QIcon, QKeySequence, QPixmap, QResizeEvent, QShortcut
from PySide6.QtWidgets import (
    QFrame,
    QLineEdit,
    QListWidget,
    QListWidgetItem,
    QPushButton,
    QScrollArea,
    QWidget,
)

from core.spec.config import RunConfig
from sdgui.shared.form import custom_settings
from sdgui.shared.form.fields import groups_of, text_of
from sdgui.shared.form.page import FormPage
from sdgui.shared.form.row import FormRow
from sdgui.shared.form.section import FormSection
from sdgui.shared.form.state import FormState
from sdgui.shared.form.texts import differences_text
from sdgui.widgets.elided_label import ElidedLabel
from sdgui.widgets.layouts.boxes import STYLE_SPACING, hbox, vbox
from sdgui.widgets.plain_text import PlainLabel, plain_tip
from sdgui.widgets.style.theme import SPACE, set_role, theme

_NAME = "name"
_GROUPS = groups_of(RunConfig, "Experiment", hidden=frozenset({"version", "preset"}))
_NARROW = 76 * SPACE  # below this width the list of sections is hidden
_SLICE, _PAUSE = 0.008, 4  # rows are created for 8 ms at a time, with pauses of 4 ms for other events


class ConfigForm(QWidget):
    """The form and its search box. F8 goes to the next error; Ctrl+F is an action of the window."""

    changed = Signal()  # a field was edited by the user
    row_menu_requested = Signal(str, object)  # a field was right-clicked: its path, position on the screen
    updated = Signal()  # the shown values or rows have changed

    def __init__(self, parent: QWidget | None = None, sections: Collection[str] = ()) -> None:
        """``sections``: the top sections that are shown (``views``); none means all."""
        super().__init__(parent)
        self._state = FormState(_GROUPS)
        groups = [group for group in _GROUPS if not sections or group.path in sections]
        self._choices: dict[str, tuple[Sequence[str], Sequence[str]]] = {}
        self._companions: dict[str, Callable[[FormRow], QWidget]] = {}
        self._area = QScrollArea(self)
        # each widget is created in its final parent: reparenting would style it again with all its children
        self._page = FormPage(self._area.viewport())
        self._sections = [FormSection(group, self._state, self._on_row_created, self._page) for group in groups]
        self._section_of: dict[str, FormSection] = {
            spec.path: section
            for part in self._sections
            for section in part.all_sections()
            for spec in section.group.fields
        }
        self._search = QLineEdit(self)
        self._problems = QPushButton(self)
        self._differences = QPushButton(self)
        self._list = QListWidget(self)
        self._nothing = PlainLabel("No matching setting.", self._page, role="muted")
        self._help = ElidedLabel("", self)
        self._row_timer = QTimer(self, singleShot=True, interval=_PAUSE)
        self._top = 0  # y of the rows in the window, at the last change
        self._build()
        self._connect()
        self._show()
        self._list.setCurrentRow(0)

    def _build(self) -> None:
        self._search.setPlaceholderText("Search settings")
        self._search.setAccessibleName("Search settings")
        self._search.setClearButtonEnabled(True)
        set_role(self._problems, "danger")
        self._problems.setToolTip("Go to the next problem (F8)")
        self._differences.setCheckable(True)
        self._differences.setToolTip("Show only differences from the preset")
        top = hbox((self._search, 1), self._differences, self._problems)
        self._list.setProperty("role", "plain")
        self._list.setAccessibleName("Sections")
        self._list.setFixedWidth(18 * SPACE)
        for section in self._sections:
            self._list.addItem(QListWidgetItem(section.group.title))
        set_role(self._help, "small")
        self._list.setIconSize(QSize(12, 12))
        self._nothing.hide()
        self._nothing.setAlignment(Qt.AlignmentFlag.AlignCenter)
        self._page.setProperty("role", "page")
        margins = (SPACE, 0, SPACE, 0)
        vbox(self._nothing, *self._sections, None, into=self._page, spacing=STYLE_SPACING, margins=margins)
        self._area.setWidget(self._page)
        self._area.setWidgetResizable(True)
        self._area.setFrameShape(QFrame.Shape.NoFrame)
        self._area.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        body = hbox(self._list, (self._area, 1), spacing=STYLE_SPACING)
        vbox(top, (body, 1), self._help, into=self)

    def _connect(self) -> None:
        self._row_timer.timeout.connect(self._create_some_rows)
        self._search.textChanged.connect(self._filter)
        self._differences.toggled.connect(self._filter)
        self._problems.clicked.connect(self.focus_next_error)
        self._list.itemClicked.connect(lambda item: self._scroll_to(self._list.row(item)))
        self._area.verticalScrollBar().valueChanged.connect(self._follow_scroll)
        theme().changed.connect(self._show_counts)
        shortcut = QShortcut(QKeySequence("F8"), self)
        shortcut.setContext(Qt.ShortcutContext.WidgetWithChildrenShortcut)
        shortcut.activated.connect(self.focus_next_error)

    # --- the config

    def config(self) -> RunConfig | None:
        """The config in the form; None if a field is invalid or fields contradict each other."""
        return self._state.config

    def set_config(self, config: RunConfig, base: RunConfig | None = None) -> None:
        """Show ``config``; fields that differ from ``base`` (the preset; default: ``config`` itself) are marked."""
        self._state.set_config(config, base or config)
        for section in self._sections:
            section.reset_fold()
        self._show()

    def errors(self) -> dict[str, str]:
        """The errors that prevent ``config()``, by dotted field name, in the form's order."""
        return {path: self._state.errors[path] for path in self._section_of if path in self._state.errors}

    def changes(self) -> dict[str, tuple[Any, Any]]:
        """Valid fields that differ, by dotted name: (value of the base, value in the form)."""
        return dict(self._state.changes)

    def differences(self) -> dict[str, tuple[Any, Any]]:
        """``changes`` without the name: the differences that are counted and listed."""
        return {path: pair for path, pair in self._state.changes.items() if path != _NAME}

    def draft(self) -> dict[str, str]:
        """Every field's text as typed, valid or not, to survive a restart."""
        return dict(self._state.texts)

    def set_draft(self, draft: Mapping[str, str]) -> None:
        """Restore what ``draft`` returned, except fields that no longer exist."""
        self._set_texts({path: text for path, text in draft.items() if path in self._section_of})

    def set_value(self, field: str, value: Any) -> None:
        """Set one field, as if typed. Raises KeyError for an unknown one."""
        self.set_values({field: value})

    def set_values(self, values: Mapping[str, Any]) -> None:
        """Set fields, as if typed. Raises KeyError for an unknown one."""
        for field in values:
            self._section_of[field]
        self._set_texts({field: text_of(value) for field, value in values.items()})
        self.changed.emit()

    def refuse(self, problems: Mapping[str, str]) -> None:
        """Mark fields whose valid values cannot be used, until they are edited; {} clears the marks."""
        self._state.refuse(problems)
        self._show()

    def set_read_only(self, read_only: bool) -> None:
        """Show without editing (a launched run's config)."""
        self._state.read_only = read_only
        for section in self._all():
            for row in section.rows.values():
                row.set_read_only(read_only)

    def set_choices(self, field: str, choices: Sequence[str], notes: Sequence[str] = ()) -> None:
        """Set suggestions for a text field such as ``towers.architecture``; ``notes`` describes each."""
        self._choices[field] = (choices, notes)
        row = self._section_of[field].rows.get(field)
        if row is not None:
            row.editor.set_choices(list(choices), list(notes))

    def set_companions(self, fields: Iterable[str], make: Callable[[FormRow], QWidget]) -> None:
        """Call ``make`` for a widget below the row of each of ``fields``, when that row is created."""
        self._companions |= dict.fromkeys(fields, make)

    @property
    def read_only(self) -> bool:
        """Whether the shown config cannot be edited."""
        return self._state.read_only

    # --- finding things

    def row(self, field: str) -> FormRow:
        """The row of a field, created if needed. Raises KeyError for an unknown field."""
        return self._section_of[field].row(field)

    def finish(self) -> None:
        """Create all missing visible rows now."""
        for make in self._pending():
            make()

    def focus_field(self, field: str) -> None:
        """Scroll to a field, unfold its group, and focus it. Raises KeyError for an unknown field."""
        home = self._section_of[field]
        self._search.clear()
        self._differences.setChecked(False)
        home.unfold(field)
        self._update()
        self.finish()
        row = home.row(field)
        row.editor.setFocus(Qt.FocusReason.OtherFocusReason)
        # the row's position is known only after the page has been laid out
        QTimer.singleShot(0, row, lambda: self._area.ensureWidgetVisible(row, 0, 10 * SPACE))

    def focus_next_error(self) -> None:
        """Focus the first invalid field after the focused one, wrapping around."""
        order, wrong = list(self._section_of), list(self.errors())
        if not wrong:
            return
        rows = {path: row for section in self._all() for path, row in section.rows.items()}
        focused = (path for path, row in rows.items() if row.editor.control.hasFocus())
        position = next((order.index(path) for path in focused), -1)
        later_errors = [path for path in wrong if order.index(path) > position]
        self.focus_field((later_errors or wrong)[0])

    def focus_search(self) -> None:
        """Put the cursor in the search box."""
        self._search.setFocus()
        self._search.selectAll()

    # --- inside

    def _all(self) -> list[FormSection]:
        return [inner for section in self._sections for inner in section.all_sections()]

    def _on_row_created(self, row: FormRow) -> None:
        if row.spec.path in self._companions:
            row.add_below(self._companions[row.spec.path](row))
        if row.spec.path == custom_settings.FIELD:
            below = custom_settings.CustomSettings(row)
            row.add_below(below)
            self.updated.connect(below.show_rows)
        row.edited.connect(self._on_edited)
        row.focused.connect(self._explain)
        row.menu_requested.connect(self.row_menu_requested)
        if row.spec.path in self._choices:
            choices, notes = self._choices[row.spec.path]
            row.editor.set_choices(list(choices), list(notes))

    def _on_edited(self, path: str) -> None:
        self._set_texts({path: self._section_of[path].rows[path].text()})
        self.changed.emit()

    def _set_texts(self, texts: Mapping[str, str]) -> None:
        self._state.texts.update(texts)
        self._state.validate()
        self._show()

    def _show(self) -> None:
        self._update()
        self._show_counts()

    def _update(self) -> None:
        """Show the visible rows; missing ones are created between other events."""
        has_rows = []
        for index, section in enumerate(self._sections):
            has_rows.append(section.update_rows())
            self._list.setRowHidden(index, not has_rows[-1])
        self._nothing.setVisible(not any(has_rows))
        self.updated.emit()
        self._row_timer.start()

    def _pending(self) -> list[Any]:
        return [make for section in self._sections for make in section.pending()]

    def _create_some_rows(self) -> None:
        end = time.perf_counter() + _SLICE
        for make in self._pending():
            make()
            if time.perf_counter() > end:
                self._row_timer.start()
                return

    def _show_counts(self) -> None:
        state = self._state
        differing = self.differences().keys()
        count = len(state.errors)
        self._problems.setVisible(bool(count))
        self._problems.setText("1 problem" if count == 1 else f"{count} problems")
        self._differences.setText(differences_text(len(differing)))
        self._differences.setEnabled(bool(differing) or self._differences.isChecked())
        blank = QPixmap(12, 12)
        blank.fill(Qt.GlobalColor.transparent)
        for i, section in enumerate(self._sections):
            paths = {spec.path for spec in section.group.all_fields()}
            wrong, changed = len(paths & state.errors.keys()), len(paths & differing)
            item = self._list.item(i)
            problem = theme().icon("ph.warning-circle-fill", "error")
            dot = theme().icon("ph.circle-fill", "accent_text", scale=0.45) if changed else QIcon(blank)
            item.setIcon(problem if wrong else dot)
            parts = [f"{wrong} problem{'s' * (wrong != 1)}"] * bool(wrong) + [differences_text(changed)] * bool(changed)
            item.setToolTip(plain_tip(", ".join(parts)))

    def _explain(self, path: str) -> None:
        spec = self._state.specs[path]
        self._help.setText(f"{spec.title}: {spec.help}" if spec.help else spec.title)

    def _filter(self) -> None:
        words = self._search.text().lower().split()
        for section in self._sections:
            section.filter(words, self._differences.isChecked())
        self._update()

    def _scroll_to(self, index: int) -> None:
        self.finish()  # the rows above need their final height
        self._page.adjustSize()
        bar = self._area.verticalScrollBar()
        bar.setValue(min(bar.maximum(), self._sections[index].y()))
        self._list.setCurrentRow(index)

    def scroll_to_top(self) -> None:
        """Show the first section."""
        self._area.verticalScrollBar().setValue(0)

    def _follow_scroll(self, position: int) -> None:
        visible_indices = [i for i, section in enumerate(self._sections) if section.isVisibleTo(self)]
        above = [i for i in visible_indices if self._sections[i].y() <= position + 4 * SPACE]
        if visible_indices:
            self._list.setCurrentRow(above[-1] if above else visible_indices[0])

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        self._list.setVisible(self.width() >= _NARROW and len(self._sections) > 1)
        QTimer.singleShot(0, self, self._keep_rows_in_place)  # once the rows have their new place

    def _keep_rows_in_place(self) -> None:
        """Scroll as far as a message above has moved the rows, if the mouse is over them."""
        top = self._area.mapTo(self.window(), QPoint()).y()
        moved, self._top = top - self._top, top
        if moved and self._area.underMouse():
            self._area.verticalScrollBar().setValue(self._area.verticalScrollBar().value() + moved)
