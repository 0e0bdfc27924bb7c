"""The form of an experiment, generated from ``RunConfig``: sections by axis, every value kept as it was typed.

Flow: a panel calls ``set_config`` with a preset's or a former run's definition; the user edits; ``config()`` is the
new definition, or None while ``errors()`` says why not.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from PySide6.QtCore import QSize, Qt, QTimer, Signal
from PySide6.QtGui import QIcon, QKeySequence, QPixmap, QResizeEvent, QShortcut
from PySide6.QtWidgets import (
    QFrame,
    QHBoxLayout,
    QLabel,
    QLineEdit,
    QListWidget,
    QListWidgetItem,
    QPushButton,
    QScrollArea,
    QVBoxLayout,
    QWidget,
)

from core.config import RunConfig
from sdgui.widgets.elided_label import ElidedLabel
from sdgui.widgets.form_fields import groups_of, parse, read, text_of, values_of
from sdgui.widgets.form_row import FormRow
from sdgui.widgets.form_section import FormSection
from sdgui.widgets.theme import SPACE, set_role, theme

_HIDDEN = frozenset({"version", "preset"})
_NARROW = 76 * SPACE  # below this width the list of sections gives way


class ConfigForm(QWidget):
    """The form and its search box. Ctrl+F searches; Ctrl+E goes to the next error."""

    changed = Signal()  # a field was edited by the user
    validity_changed = Signal(bool)  # ``config()`` became available or not

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._base = RunConfig()
        self._kept: dict[str, Any] = {}  # values of fields that the form does not show
        self._config: RunConfig | None = None
        self._errors: dict[str, str] = {}
        self._area = QScrollArea(self)
        # Each widget is born in its place: moving it later would style it and all inside once more.
        self._page = QWidget(self._area.viewport())
        groups = groups_of(RunConfig, "Experiment", _HIDDEN)
        self._sections = [FormSection(group, self._page) for group in groups]
        self._rows: dict[str, FormRow] = {row.spec.path: row for part in self._sections for row in part.all_rows()}
        self._specs = {path: row.spec for path, row in self._rows.items()}
        self._search = QLineEdit(self)
        self._problems = QPushButton(self)
        self._differences = QPushButton(self)
        self._list = QListWidget(self)
        self._nothing = QLabel("No setting matches.", self._page)
        self._help = ElidedLabel("", self)
        self._build()
        self._connect()
        self.set_config(RunConfig())
        self._list.setCurrentRow(0)

    def _build(self) -> None:
        self._search.setPlaceholderText("Search settings")
        self._search.setAccessibleName("Search settings")
        self._search.setClearButtonEnabled(True)
        set_role(self._problems, "danger")
        self._problems.setToolTip("Go to the next problem (Ctrl+E)")
        self._differences.setCheckable(True)
        self._differences.setToolTip("Show only what differs from the preset")
        top = QHBoxLayout()
        top.setSpacing(SPACE)
        top.addWidget(self._search, 1)
        top.addWidget(self._differences)
        top.addWidget(self._problems)
        self._list.setProperty("role", "plain")
        self._list.setAccessibleName("Sections")
        self._list.setFixedWidth(18 * SPACE)
        for section in self._sections:
            self._list.addItem(QListWidgetItem(section.group.title))
        set_role(self._nothing, "muted")
        set_role(self._help, "small")
        self._list.setIconSize(QSize(12, 12))
        self._nothing.hide()
        self._nothing.setAlignment(Qt.AlignmentFlag.AlignCenter)
        self._page.setProperty("role", "page")
        column = QVBoxLayout(self._page)
        column.setContentsMargins(SPACE, 0, SPACE, 0)
        column.addWidget(self._nothing)
        for section in self._sections:
            column.addWidget(section)
        column.addStretch(1)
        self._area.setWidget(self._page)
        self._area.setWidgetResizable(True)
        self._area.setFrameShape(QFrame.Shape.NoFrame)
        self._area.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        body = QHBoxLayout()
        body.addWidget(self._list)
        body.addWidget(self._area, 1)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(SPACE)
        layout.addLayout(top)
        layout.addLayout(body, 1)
        layout.addWidget(self._help)

    def _connect(self) -> None:
        for row in self._rows.values():
            row.edited.connect(self._edited)
            row.focused.connect(self._explain)
        self._search.textChanged.connect(self._filter)
        self._differences.toggled.connect(self._filter)
        self._problems.clicked.connect(self.focus_next_error)
        self._list.itemClicked.connect(lambda item: self._scroll_to(self._list.row(item)))
        self._area.verticalScrollBar().valueChanged.connect(self._follow_scroll)
        theme().changed.connect(self._restyle)
        for keys, slot in ((QKeySequence.StandardKey.Find, self.focus_search), ("Ctrl+E", self.focus_next_error)):
            shortcut = QShortcut(QKeySequence(keys), self)
            shortcut.setContext(Qt.ShortcutContext.WidgetWithChildrenShortcut)
            shortcut.activated.connect(slot)

    # --- the definition

    def config(self) -> RunConfig | None:
        """The definition in the form; None while any field is wrong or two contradict."""
        return self._config

    def set_config(self, config: RunConfig, base: RunConfig | None = None) -> None:
        """Show ``config``; fields that differ from ``base`` (the preset; default: ``config`` itself) are marked."""
        self._base = base or config
        values, base_values = values_of(config), values_of(self._base)
        self._kept = {path: value for path, value in values.items() if path not in self._rows}
        for path, row in self._rows.items():
            row.set_base(text_of(base_values[path]))
            row.set_text(text_of(values[path]))
        self._judge()

    def errors(self) -> dict[str, str]:
        """Dotted field -> sentence, what keeps ``config()`` from being there."""
        return dict(self._errors)

    def changes(self) -> dict[str, tuple[Any, Any]]:
        """Dotted field -> (value of the base, value in the form), of readable fields that differ."""
        base, found = values_of(self._base), {}
        for path, row in self._rows.items():
            if row.differs:
                try:
                    found[path] = (base[path], parse(row.spec, row.text()))
                except ValueError:
                    continue  # it has its error on its field
        return found

    def draft(self) -> dict[str, str]:
        """Every field's text as typed, right or wrong, to be kept over a restart."""
        return {path: row.text() for path, row in self._rows.items()}

    def set_draft(self, draft: Mapping[str, str]) -> None:
        """Put back what ``draft`` returned; fields that there are no more are left out."""
        for path, text in draft.items():
            if path in self._rows:
                self._rows[path].set_text(text)
        self._judge()

    def set_value(self, field: str, value: Any) -> None:
        """Set one field, as if typed; KeyError for an unknown one."""
        self._rows[field].set_text(text_of(value))
        self._edited(field)

    def set_read_only(self, read_only: bool) -> None:
        """Show without editing (a launched run's definition)."""
        for row in self._rows.values():
            row.set_read_only(read_only)

    def set_choices(self, field: str, choices: list[str]) -> None:
        """Suggestions for a text field, e.g. ``towers.architecture`` or recent ``data.train`` paths."""
        self._rows[field].editor.set_choices(choices)

    # --- finding things

    def focus_field(self, field: str) -> None:
        """Scroll to a field, unfold what hides it, and focus it; KeyError for an unknown one."""
        row = self._rows[field]
        self._search.clear()
        self._differences.setChecked(False)
        for section in self._sections:
            section.unfold(field)
        row.editor.setFocus(Qt.FocusReason.OtherFocusReason)
        # The page is laid out anew first; only then is the row's place known.
        QTimer.singleShot(0, row, lambda: self._area.ensureWidgetVisible(row, 0, 10 * SPACE))

    def focus_next_error(self) -> None:
        """Go to the first wrong field after the one that has the focus, around the end."""
        wrong = [path for path in self._rows if path in self._errors]
        if not wrong:
            return
        order = list(self._rows)
        here = next((i for i, path in enumerate(order) if self._rows[path].editor.control.hasFocus()), -1)
        later = [path for path in wrong if order.index(path) > here]
        self.focus_field((later or wrong)[0])

    def focus_search(self) -> None:
        """Put the cursor in the search box."""
        self._search.setFocus()
        self._search.selectAll()

    # --- inside

    def _edited(self, _path: str) -> None:
        self._judge()
        self.changed.emit()

    def _judge(self) -> None:
        was_valid = self._config is not None
        texts = {path: row.text() for path, row in self._rows.items()}
        base = values_of(self._base)
        self._config, self._errors = read(self._specs, texts, base | self._kept)
        for path, row in self._rows.items():
            row.set_error(self._errors.get(path, ""))
            row.set_differs(self._differs(row, base[path]))
        for section in self._sections:
            for part in (section, *section.inner):
                part.update_rows()
        self._tell()
        if (self._config is not None) != was_valid:
            self.validity_changed.emit(self._config is not None)

    @staticmethod
    def _differs(row: FormRow, base: Any) -> bool:
        try:
            return bool(parse(row.spec, row.text()) != base)
        except ValueError:
            return True

    def _tell(self) -> None:
        count, differing = len(self._errors), sum(row.differs for row in self._rows.values())
        self._problems.setVisible(bool(count))
        self._problems.setText("1 problem" if count == 1 else f"{count} problems")
        self._differences.setText("1 change" if differing == 1 else f"{differing} changes")
        self._differences.setEnabled(bool(differing) or self._differences.isChecked())
        look, blank = theme(), QPixmap(12, 12)
        blank.fill(Qt.GlobalColor.transparent)
        for i, section in enumerate(self._sections):
            rows = list(section.all_rows())
            wrong, changed = sum(bool(row.error) for row in rows), sum(row.differs for row in rows)
            item = self._list.item(i)
            icon = ("ph.warning-circle-fill", "error") if wrong else ("mdi6.circle-medium", "accent_text")
            item.setIcon(look.icon(*icon) if wrong or changed else QIcon(blank))
            item.setToolTip(f"{wrong} problems, {changed} changes" if wrong or changed else "")

    def _explain(self, path: str) -> None:
        spec = self._rows[path].spec
        self._help.setText(f"{spec.title}: {spec.help}" if spec.help else spec.title)

    def _filter(self) -> None:
        words = self._search.text().lower().split()
        any_left = False
        for i, section in enumerate(self._sections):
            left = section.show_matching(words, self._differences.isChecked())
            self._list.setRowHidden(i, not left)
            any_left = any_left or left
        self._nothing.setVisible(not any_left)

    def _scroll_to(self, index: int) -> None:
        bar = self._area.verticalScrollBar()
        bar.setValue(min(bar.maximum(), self._sections[index].y()))
        self._list.setCurrentRow(index)

    def _follow_scroll(self, position: int) -> None:
        shown = [i for i, section in enumerate(self._sections) if section.isVisibleTo(self)]
        above = [i for i in shown if self._sections[i].y() <= position + 4 * SPACE]
        if shown:
            self._list.setCurrentRow(above[-1] if above else shown[0])

    def _restyle(self) -> None:
        self._tell()

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        self._list.setVisible(self.width() >= _NARROW)
