"""The search bar: text box, chips and buttons.

Flow: typing, dropping or choosing -> ``changed``; Up and Down in the text box go through the search history.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from PySide6.QtCore import QEvent, QObject, Qt, Signal
from PySide6.QtGui import QGuiApplication, QKeyEvent, QKeySequence
from PySide6.QtWidgets import QLineEdit, QMenu, QPushButton, QWidget

from core.spec.resources import resource_folder
from sdgui.panels.search.model import NO_TEMPLATE, Part, Query
from sdgui.panels.search.query.chips import ChipRow
from sdgui.panels.search.query.history import SearchHistory
from sdgui.widgets.dropped_files import IMAGE_FILTER
from sdgui.widgets.file_dialogs import ask_open_several
from sdgui.widgets.formats import capitalize
from sdgui.widgets.gallery.image_label import ImageLabel
from sdgui.widgets.icon_button import IconButton
from sdgui.widgets.input_boxes import ListOnlyComboBox
from sdgui.widgets.layouts.boxes import hbox
from sdgui.widgets.plain_text import plain_tip
from sdgui.widgets.style.theme import SPACE

_PROMPTS = resource_folder("prompts")
_MAX_RECENT = 15  # recent queries in the menu


class SearchBar(QWidget):
    """The search bar in one row. ``query()`` returns the query without filters; ``changed``: any change of the query.

    The owner places ``find_box``, ``prompts``, ``add_words`` and ``exclude_words``.
    """

    changed = Signal()
    history_query_chosen = Signal(object)  # Query with filters, from the history or the saved searches
    paste_requested = Signal()  # the clipboard contains an image or files
    results_focus_requested = Signal()  # Down was pressed at the newest query: focus the results

    def __init__(self, history: SearchHistory, tools: QWidget, parent: QWidget | None = None) -> None:
        """``tools``: the parent of the widgets that the owner places."""
        super().__init__(parent)
        self._history = history
        self._history_index = -1  # -1: not in the history
        self._typed = ""  # the words before the user went back in the history
        self._filters: dict[str, Any] = {}
        self._group = True
        self._evaluation_query = Query()  # a query opened from the evaluation, whose answer is known; else empty
        hint = "Describe an image, or drop or paste one"
        self.line = QLineEdit(self, placeholderText=hint, clearButtonEnabled=True, maxLength=20_000)
        self.line.setAccessibleName("Search images by words")
        self.chips = ChipRow(self)
        self.true_image = ImageLabel(4 * SPACE, self)  # image of a query with a known answer
        self.image_button = IconButton("ph.image", "Search with an image from a file", "Ctrl+Shift+I", parent=self)
        self.add_words = QPushButton("Add these words", tools)
        self.exclude_words = QPushButton("Exclude these words", tools)
        self.save_button = IconButton("ph.star", "Save this search", "Ctrl+S", checkable=True, parent=self)
        self.history_button = IconButton("ph.clock-counter-clockwise", "Search history", "Ctrl+H", parent=self)
        self.find_box = ListOnlyComboBox(tools)
        self.prompts = ListOnlyComboBox(tools)
        self._build()
        self._connect()
        self.update_save_button()  # disabled: there is no query to save yet

    def _build(self) -> None:
        self.find_box.addItem("Images", "images")
        self.find_box.addItem("Captions", "captions")
        self.find_box.setAccessibleName("Search for")
        self.find_box.setToolTip("Search for images or captions; drop an image to find its captions")
        self.prompts.addItem("Words as typed", NO_TEMPLATE)
        for file in sorted(_PROMPTS.glob("*.txt")):
            self.prompts.addItem(file.stem, file.stem)
        self.prompts.setAccessibleName("Prompts for the text query")
        self.prompts.setToolTip("Average the text embeddings over a set of prompts, as in zero-shot classification")
        for box in (self.find_box, self.prompts):
            box.setSizeAdjustPolicy(ListOnlyComboBox.SizeAdjustPolicy.AdjustToContents)
        self.add_words.setToolTip("Add the typed words to the query with their own weight (Alt+Enter)")
        self.exclude_words.setToolTip("Search for images unlike the typed words (Shift+Enter)")
        self.line.setMinimumWidth(24 * SPACE)
        buttons = (self.image_button, self.save_button, self.history_button)
        hbox(self.true_image, self.chips, (self.line, 1), *buttons, into=self, spacing=SPACE // 2)
        self.true_image.hide()

    def _connect(self) -> None:
        self.line.textEdited.connect(self._on_edited)
        self.line.textChanged.connect(self._on_cleared)
        self.line.returnPressed.connect(self.remember)
        self.line.installEventFilter(self)
        self.chips.changed.connect(self._on_parts_changed)
        self.image_button.clicked.connect(self._choose_files)
        self.add_words.clicked.connect(lambda: self._add_typed_part(1.0))
        self.exclude_words.clicked.connect(lambda: self._add_typed_part(-1.0))
        self.save_button.clicked.connect(self._save)
        self.history_button.clicked.connect(self.show_history)
        self.find_box.activated.connect(lambda _row: self._emit_changed())
        self.prompts.activated.connect(lambda _row: self._emit_changed())

    # The query
    def query(self) -> Query:
        """The current query."""
        evaluation_query = self._evaluation_query
        return Query(
            self.line.text() if evaluation_query.caption < 0 else evaluation_query.words,
            self.chips.parts(),
            str(self.prompts.currentData()),
            "captions" if self.find_box.currentData() == "captions" else "images",
            caption=evaluation_query.caption,
            true_path=evaluation_query.true_path,
            true_row=evaluation_query.true_row,
        )

    def set_query(self, query: Query, emit: bool = True) -> None:
        """Replace the query."""
        self._evaluation_query = query if query.true_path or query.caption >= 0 else Query()
        self.line.setText(query.words)
        self.line.setCursorPosition(len(query.words))
        self.chips.set_parts(query.parts)
        self.find_box.setCurrentIndex(max(0, self.find_box.findData(query.find)))
        if self.prompts.findData(query.prompts) < 0:
            self.prompts.addItem(Path(query.prompts).name, query.prompts)
        self.prompts.setCurrentIndex(self.prompts.findData(query.prompts))
        if emit:
            self._emit_changed()

    def show_known_image(self, path: str, words: str) -> None:
        """Show the image of a query with a known answer; "" hides the image."""
        self.true_image.setVisible(bool(path))
        if path:
            self.true_image.show_image(Path(path))
            self.true_image.setToolTip(plain_tip(f"{capitalize(words)}\n{path}"))

    def clear_known_query(self) -> None:
        """Clear a query that refers to rows of the collection, since another collection has other rows."""
        if self._evaluation_query.caption >= 0 or self._evaluation_query.true_path:
            self.set_query(Query(), emit=False)

    def add_image(self, path: str, weight: float = 1.0, row: int = -1) -> None:
        """Add an image to the query."""
        self._evaluation_query = Query()
        self.chips.add(Part(image=path, weight=weight, row=row))

    def _on_edited(self, text: str) -> None:
        self._history_index, self._typed = -1, text
        self._evaluation_query = Query()
        self._emit_changed()

    def _on_cleared(self, text: str) -> None:
        if not text and self._evaluation_query.caption >= 0:  # the user cleared the box
            self._evaluation_query = Query()
            self._emit_changed()

    def _on_parts_changed(self) -> None:
        self._evaluation_query = Query()
        self._emit_changed()

    def _emit_changed(self) -> None:
        self.update_save_button()
        self.changed.emit()

    def _add_typed_part(self, weight: float) -> bool:
        """Turn the typed words into a chip."""
        words = self.line.text().strip()
        self._evaluation_query = Query()
        if words:
            self.line.clear()
            self.chips.add(Part(words, weight=weight))
        self.line.setFocus()
        return True

    def _choose_files(self) -> None:
        for path in ask_open_several(self, "Images to search with", IMAGE_FILTER):
            self.add_image(str(path))

    # History
    def set_filters(self, filters: dict[str, Any], group: bool) -> None:
        """Set the filters and the grouping to record in history and saved searches."""
        self._filters, self._group = filters, group
        self.update_save_button()

    def filtered_query(self) -> Query:
        """The query with its filters."""
        return replace(self.query(), filters=self._filters, group=self._group)

    def remember(self) -> None:
        """Add the query to the history."""
        self._history_index = -1
        self._history.remember(self.filtered_query())

    def update_save_button(self) -> None:
        """Update the star to whether the query is saved."""
        saved = self._history.is_saved(self.filtered_query())
        self.save_button.setChecked(saved)
        self.save_button.setEnabled(not self.query().empty and self.query().caption < 0)
        self.save_button.set_icon("ph.star-fill" if saved else "ph.star")
        self.save_button.set_tip("Remove this saved search" if saved else "Save this search", "Ctrl+S")

    def _save(self) -> None:
        query = self.filtered_query()
        if self._history.is_saved(query):
            self._history.forget(query)
        else:
            self._history.save(query)
        self.update_save_button()

    def history_menu(self) -> QMenu:
        """The menu of saved and recent searches."""
        menu = QMenu(self)
        for title, queries in (("Saved", self._history.saved), ("Recent", self._history.recent[:_MAX_RECENT])):
            menu.addAction(title).setEnabled(False)
            for query in queries:
                text = query.title if len(query.title) < 60 else f"{query.title[:59]}…"
                action = menu.addAction(text.replace("&", "&&") + _marks(query))
                action.triggered.connect(lambda _checked=False, query=query: self.history_query_chosen.emit(query))
            if not queries:
                menu.addAction("    None yet").setEnabled(False)
        menu.addSeparator()
        forget = menu.addAction("Clear recent searches")
        forget.setEnabled(bool(self._history.recent))
        forget.triggered.connect(self._history.clear_recent)
        return menu

    def show_history(self) -> None:
        """Open the menu of saved and recent searches."""
        menu = self.history_menu()
        menu.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        menu.popup(self.history_button.mapToGlobal(self.history_button.rect().bottomLeft()))

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        """Handle Up, Down, Alt+Enter and Shift+Enter in the text box."""
        if watched is self.line and event.type() == QEvent.Type.KeyPress and isinstance(event, QKeyEvent):
            enter = event.key() in (Qt.Key.Key_Return, Qt.Key.Key_Enter)
            if enter and event.modifiers() & Qt.KeyboardModifier.AltModifier:
                return self._add_typed_part(1.0)
            if enter and event.modifiers() & Qt.KeyboardModifier.ShiftModifier:
                return self._add_typed_part(-1.0)
            if event.matches(QKeySequence.StandardKey.Paste) and _holds_images():
                self.paste_requested.emit()
                return True
            if event.key() == Qt.Key.Key_Up:
                return self._walk_history(1)
            if event.key() == Qt.Key.Key_Down:
                return self._walk_history(-1)
        return super().eventFilter(watched, event)

    def _walk_history(self, step: int) -> bool:
        index = self._history_index + step
        if index < -1:
            self.results_focus_requested.emit()
        elif index < len(self._history.recent):
            self._history_index = index
            if index < 0:
                self.set_query(Query(self._typed))
            else:
                self.history_query_chosen.emit(self._history.recent[index])
        return True


def _marks(query: Query) -> str:
    """A suffix that distinguishes queries with the same words in the menu."""
    marks = [mark for mark, on in (("filtered", query.filters), ("ungrouped", not query.group)) if on]
    return f"  ({', '.join(marks)})" if marks else ""


def _holds_images() -> bool:
    data = QGuiApplication.clipboard().mimeData()
    return data.hasImage() or any(url.isLocalFile() for url in data.urls())
