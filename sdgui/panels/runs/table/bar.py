"""The row above the table: filter, grouping, columns, views, *Only differences*, and the number of runs."""

from __future__ import annotations

import re

from PySide6.QtCore import QPoint, QStringListModel, Qt, QTimer, Signal
from PySide6.QtGui import QKeyEvent, QPainter, QPaintEvent, QPen
from PySide6.QtWidgets import QCompleter, QLineEdit, QMenu, QStyle, QStyleOptionFrame, QToolButton, QWidget

from core.spec.reading import excerpt
from core.spec.run.status import RunState
from sdgui.panels.runs.table.cells import title_of
from sdgui.panels.runs.table.layout import TableLayout, Values, fields_of
from sdgui.store.run_table.expressions import ExpressionError
from sdgui.store.run_table.fields import Catalogue
from sdgui.widgets.formats import count, count_with_unit
from sdgui.widgets.icon_button import IconButton
from sdgui.widgets.layouts.boxes import hbox
from sdgui.widgets.plain_text import PlainLabel, plain_tip
from sdgui.widgets.style.theme import SPACE, theme

RECIPE = "recipe"  # field with equal values for runs that differ only in their seed
_MAX_REASON_LENGTH = 90  # of the reason why a filter is not applied
_USUAL_GROUPS = (RECIPE, "experiment", "preset", "state", "machine", "tag")


class TableBar(QWidget):
    """The controls of the layout. Changes are requested with signals; ``show_layout`` shows the current layout."""

    group_requested = Signal(tuple)  # field names
    differing_requested = Signal(bool)  # whether only differing columns are shown
    columns_requested = Signal(QPoint)  # position on the screen
    views_requested = Signal(QPoint)  # position on the screen

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.filter = FilterBox(self)
        self.group = IconButton(
            "ph.stack", "Group runs by a setting, with means and 95 % intervals", text="Group", parent=self
        )
        self.differing = IconButton(
            "ph.intersect",
            "Only settings that differ between the selected runs, or between all listed runs if none is selected",
            text="Only differences",
            checkable=True,
            parent=self,
        )
        self.columns = IconButton("ph.columns", "Choose and order columns", text="Columns", parent=self)
        self.views = IconButton("ph.bookmark-simple", "Saved table views", text="Views", parent=self)
        self.number = PlainLabel("", self, role="muted")
        self._layout = TableLayout()
        self._catalogue = Catalogue()
        self._runs, self._unread = "", 0
        buttons = (self.group, self.differing, self.columns, self.views)
        hbox((self.filter, 1), self.number, *buttons, into=self, spacing=SPACE // 2)
        self.differing.clicked.connect(self.differing_requested)
        self.columns.clicked.connect(lambda: self.columns_requested.emit(_below(self.columns)))
        self.views.clicked.connect(lambda: self.views_requested.emit(_below(self.views)))
        self.group.clicked.connect(lambda: self._open(self.group_menu()))

    def show_layout(self, layout: TableLayout, catalogue: Catalogue, typed: bool = False) -> None:
        """Show the current filter and grouping; ``typed`` keeps text in the filter box that is not applied yet."""
        self._layout, self._catalogue = layout, catalogue
        self.filter.catalogue = catalogue
        if not typed:
            self.filter.show_filter(layout.filter)
        self.differing.setChecked(layout.only_differing)
        names = [title_of(field) for field in fields_of(layout.group_by, catalogue)]
        self.group.setText(f"By {names[0] if len(names) == 1 else f'{len(names)} fields'}" if names else "Group")
        self.group.setToolTip(plain_tip(f"Grouped by {', '.join(names)}" if names else "Group runs by a setting"))

    def show_number(self, total: int, groups: int | None) -> None:
        """Show the number of runs that pass the filter."""
        runs = count_with_unit(total, "run")
        self._runs = runs if groups is None else f"{count(groups)} groups, {runs}"
        self.show_unread(self._unread)

    def show_unread(self, runs: int) -> None:
        """Show for how many runs metrics at a step are still being read."""
        self._unread = runs
        self.number.setText(f"{self._runs} · reading {count(runs)}" if runs else self._runs)
        self.number.setToolTip("Metrics at a step are read from the run folders" if runs else "")

    def show_filter_error(self, reason: str) -> None:
        """Show why the filter is not applied, instead of the number of runs; the rows do not change."""
        self.number.setText(excerpt(f"Filter not applied: {reason}", _MAX_REASON_LENGTH))
        self.number.setToolTip(plain_tip(reason))

    def group_menu(self) -> QMenu:
        """The menu of fields to group by: common fields and shown settings; several can be ticked."""
        menu = QMenu(self)
        menu.setToolTipsVisible(True)
        names = dict.fromkeys([*_USUAL_GROUPS, *self._layout.group_by, *self._layout.columns])
        for field in fields_of(names, self._catalogue):
            if field.aggregate not in ("", "at") or field.key in ("note", "metric", "progress", "duration", "created"):
                continue
            title = "Same settings, any seed" if field.name == RECIPE else title_of(field)
            title = f"{title}, in bands" if field.aggregate == "at" else title
            action = menu.addAction(title.replace("&", "&&"))
            action.setCheckable(True)
            action.setChecked(field.name in self._layout.group_by)
            action.triggered.connect(lambda on, name=field.name: self._toggle(name, on))
        menu.addSeparator()
        ungroup = menu.addAction("Do not group")
        ungroup.setEnabled(bool(self._layout.group_by))
        ungroup.triggered.connect(lambda: self.group_requested.emit(()))
        return menu

    def _toggle(self, name: str, on: bool) -> None:
        others = tuple(field for field in self._layout.group_by if field != name)
        self.group_requested.emit((*others, name) if on else others)

    def _open(self, menu: QMenu) -> None:
        menu.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        menu.popup(_below(self.group))


def _below(button: QToolButton) -> QPoint:
    """The screen position of a menu below ``button``."""
    return button.mapToGlobal(QPoint(0, button.height() + 2))


_TYPING_PAUSE_MS = 150  # pause in typing after which the filter is applied
_WORD = re.compile(r"[^\s()<>=!:~,\"']*$")  # start of a name or value, up to the cursor
TIP = (
    "Filter by words and comparisons: night optim.learning_rate < 1e-3 and val/R@1 > 40% tag:paper\n"
    "Combine conditions with and, or, not and parentheses. “state in (done, failed)” matches either state; "
    "“created > 7d” matches the last week."
)


class FilterBox(QLineEdit):
    """``changed``: the current filter; ``leave_requested``: Down was pressed, to move to the table.

    Names of columns, states and tags are completed while typing.
    """

    changed = Signal(str)  # text of the filter
    leave_requested = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setPlaceholderText("Filter: words, or optim.learning_rate < 1e-3 and val/R@1 > 40%")
        self.setAccessibleName("Filter runs")
        self.setToolTip(plain_tip(TIP))
        self.setClearButtonEnabled(True)
        self.catalogue = Catalogue()
        self.values: Values = {}
        self._error: ExpressionError | None = None
        self._applied_text = ""
        self._pause = QTimer(self, singleShot=True, interval=_TYPING_PAUSE_MS)
        self._pause.timeout.connect(self.apply)
        self.textEdited.connect(self._on_edited)
        self.textChanged.connect(lambda _text: self._pause.start())
        self._names = QStringListModel(self)
        self.completer_of_words = QCompleter(self._names, self)
        self.completer_of_words.setWidget(self)
        self.completer_of_words.setCaseSensitivity(Qt.CaseSensitivity.CaseInsensitive)
        self.completer_of_words.setFilterMode(Qt.MatchFlag.MatchContains)
        self.completer_of_words.activated.connect(self._complete)

    def apply(self) -> None:
        self._pause.stop()
        if self.text() != self._applied_text:
            self._applied_text = self.text()
            self.changed.emit(self._applied_text)

    def show_filter(self, text: str) -> None:
        """Set the text of the filter without emitting ``changed``."""
        self._applied_text = text
        if text != self.text():
            self.setText(text)
        self._pause.stop()

    # Errors
    def show_error(self, error: ExpressionError | None) -> None:
        """Mark the invalid part of the filter and show why it is invalid; None removes the mark."""
        self._error = error
        self.setProperty("invalid", "true" if error is not None else "false")
        self.style().unpolish(self)
        self.style().polish(self)
        self.setToolTip(plain_tip(f"{error}\n\n{TIP}" if error is not None else TIP))
        self.setAccessibleDescription(str(error) if error is not None else "")
        self.update()

    def paintEvent(self, event: QPaintEvent) -> None:
        super().paintEvent(event)
        if self._error is None:
            return
        option = QStyleOptionFrame()
        self.initStyleOption(option)
        inside = self.style().subElementRect(QStyle.SubElement.SE_LineEditContents, option, self)
        metrics, text = self.fontMetrics(), self.text()
        # Only cursorRect takes the scrolling of the text into account.
        text_start = self.cursorRect().center().x() - metrics.horizontalAdvance(text[: self.cursorPosition()])
        left = text_start + metrics.horizontalAdvance(text[: self._error.start])
        right = text_start + metrics.horizontalAdvance(text[: self._error.end].ljust(self._error.end))
        painter = QPainter(self)
        painter.setClipRect(inside)
        painter.setPen(QPen(theme().color("error"), 2, Qt.PenStyle.DotLine))
        bottom = inside.center().y() + metrics.height() // 2
        painter.drawLine(left, bottom, max(right, left + SPACE), bottom)

    # Completion
    def _on_edited(self) -> None:
        self.show_error(None)
        word, popup = self._word(), self.completer_of_words.popup()
        if popup is None or not popup.isVisible():
            states = [str(state) for state in RunState]
            self._names.setStringList([*self.catalogue.names(), *states, *self.values.get("tag", ())])
        if word:
            self.completer_of_words.setCompletionPrefix(word)
            self.completer_of_words.complete()
        elif popup is not None:
            popup.hide()

    def _word(self) -> str:
        """The start of the name or value before the cursor."""
        match = _WORD.search(self.text()[: self.cursorPosition()])
        return match[0] if match is not None else ""

    def _complete(self, name: str) -> None:
        word, cursor, text = self._word(), self.cursorPosition(), self.text()
        quoted = name if _WORD.fullmatch(name) else f'"{name}"'
        start = cursor - len(word)
        self.setText(text[:start] + quoted + text[cursor:])
        self.setCursorPosition(start + len(quoted))

    def keyPressEvent(self, event: QKeyEvent) -> None:
        if event.key() in (Qt.Key.Key_Return, Qt.Key.Key_Enter):
            self.apply()
        elif event.key() == Qt.Key.Key_Down:
            self.leave_requested.emit()
        else:
            super().keyPressEvent(event)
