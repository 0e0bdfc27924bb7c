"""What the Search panel shows: source, messages, tabs, query, filters, the two sides, evaluation and map.

``SearchPanel`` controls it; the layout and its saved sizes are here.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

from PySide6.QtCore import QByteArray, Qt, Signal
from PySide6.QtWidgets import QHBoxLayout, QSplitter, QStackedWidget, QTabBar, QVBoxLayout, QWidget

from sdgui.panels.search.index import IndexSheet
from sdgui.panels.search.jobs import Jobs
from sdgui.panels.search.query.bar import SearchBar
from sdgui.panels.search.query.filters import FilterRow
from sdgui.panels.search.query.history import SearchHistory
from sdgui.panels.search.results import SCORES
from sdgui.panels.search.side import SearchSide
from sdgui.panels.search.source import SourceBar
from sdgui.panels.search.tabs.evaluation import EvaluationPane
from sdgui.panels.search.tabs.map import MapPage
from sdgui.shared.export.menu import ExportMenu
from sdgui.shared.services import Services
from sdgui.widgets.drop_target import DropTarget
from sdgui.widgets.elided_label import ElidedLabel
from sdgui.widgets.empty_state import EmptyState
from sdgui.widgets.gallery.picture_label import PictureLabel
from sdgui.widgets.icon_button import IconButton
from sdgui.widgets.late_parts import is_made, tab_after
from sdgui.widgets.message import Message
from sdgui.widgets.message_bar import MessageBar
from sdgui.widgets.no_wheel_combo_box import NoWheelComboBox
from sdgui.widgets.plain_text import plain_tip
from sdgui.widgets.progress_strip import ProgressStrip
from sdgui.widgets.style.theme import SPACE, set_role

PICTURES_TAB, EVALUATION, MAP = range(3)
LATE = ("sheet", "evaluation", "map")  # parts created after the panel is on screen, or when first used
_TABS = (
    ("&Pictures", "Search pictures by words and pictures (Alt+P)"),
    ("E&valuation", "Rank of every query with a known answer (Alt+V)"),
    ("&Map", "Pictures and captions in two dimensions (Alt+M)"),
)


class SearchView(QWidget):
    """The widgets by name. The signals are those of the parts that are created later."""

    known_chosen = Signal(object)  # Known
    known_activated = Signal(object)  # Known
    compare_asked = Signal(int)  # pairs among the first so many
    like_asked = Signal(str, int)  # path, row of a picture on the map
    map_wanted = Signal(bool)  # with captions or not
    indexing = Signal(str, str, int, int)  # purpose, what is being done, done, total

    def __init__(self, services: Services, history: SearchHistory, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._services = services
        self._cache = services.store.home / "thumbnails"
        self.source = SourceBar(services, self)
        self.strip, self.export_strip = ProgressStrip(self), ProgressStrip(self)
        self.bar = MessageBar(self)
        self.jobs = Jobs(self.strip, self)
        self._export = ExportMenu(self.export_strip, self.show_message, self, lambda: self.query.query().title)
        self._sizes: dict[str, str] = {}  # of the splitters, as they were kept
        self._arrange(history)
        self._link()
        self.show_tab(PICTURES_TAB)

    @cached_property
    def sheet(self) -> IndexSheet:
        """Created when first used."""
        sheet = IndexSheet(self._services, lambda: self.source.pickers[0].choice(), self)
        sheet.hide()
        if isinstance(column := self.layout(), QVBoxLayout):
            column.insertWidget(1, sheet)
        tab_after(self.source.sheet, sheet)
        sheet.working.connect(self.indexing)
        sheet.finished.connect(lambda: self.jobs.end("index"))
        sheet.message_requested.connect(self.show_message)
        sheet.ended.connect(lambda folder: self.source.show_index(0, folder))
        return sheet

    @cached_property
    def evaluation(self) -> EvaluationPane:
        """Created when first used."""
        pane = EvaluationPane(self)
        if (layout := self._left.layout()) is not None:
            layout.addWidget(pane)
        self._restore_size("curve", pane.split)
        pane.chosen.connect(self.known_chosen)
        pane.activated.connect(self.known_activated)
        pane.compare_asked.connect(self.compare_asked)
        return pane

    @cached_property
    def map(self) -> MapPage:
        """Created when first used."""
        page = MapPage(self._cache, self._export, self)
        self._pages.addWidget(page)
        self._restore_size("map", page.split)
        page.like_asked.connect(self.like_asked)
        page.wanted.connect(self.map_wanted)
        return page

    def _arrange(self, history: SearchHistory) -> None:
        """From the outside to the inside: a widget with a new parent is styled again with all its children."""
        layout = QVBoxLayout(self)
        layout.setContentsMargins(2 * SPACE, SPACE, 2 * SPACE, SPACE)
        layout.setSpacing(SPACE)
        for widget in (self.source, self.strip, self.export_strip, self.bar):
            layout.addWidget(widget)
        self._stack = QStackedWidget(self)
        layout.addWidget(self._stack, 1)
        self.empty = EmptyState("ph.magnifying-glass", "No model to search with yet", "", parent=self._stack)
        self.drop = DropTarget(self._services.store.home / "pasted", "Search with these pictures", self._stack)
        self._stack.addWidget(self.empty)
        self._stack.addWidget(self.drop)
        work = QWidget(self.drop)
        self.drop.set_content(work)
        column = QVBoxLayout(work)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(SPACE)
        tools = self._tool_row(work)
        column.addLayout(tools)
        self._pages = QStackedWidget(work)
        column.addWidget(self._pages, 1)
        self._arrange_results(history, work)
        self._tools = (self.query.wanted, self.query.prompts, self.score, self.filter_button)
        for tool in self._tools:
            tools.addWidget(tool)
        for hidden in (self.filters, self.note, self.belongs):
            hidden.hide()

    def _tool_row(self, work: QWidget) -> QHBoxLayout:
        self.tabs = QTabBar(work)
        self.score = NoWheelComboBox(work)
        self.filter_button = IconButton("ph.funnel", "Filter the pictures", "Ctrl+Shift+F", "Filters", True, work)
        for text, tip in _TABS:
            self.tabs.setTabToolTip(self.tabs.addTab(text), plain_tip(tip))
        self.tabs.setDrawBase(False)
        self.tabs.setExpanding(False)
        self.tabs.setAccessibleName("View")
        for score, (name, meaning) in SCORES.items():
            self.score.addItem(f"Score: {name.lower()}", score)
            self.score.setItemData(self.score.count() - 1, plain_tip(meaning), Qt.ItemDataRole.ToolTipRole)
        self.score.setAccessibleName("Displayed score")
        self.score.setToolTip(plain_tip("\n\n".join(f"{name}: {meaning}" for name, meaning in SCORES.values())))
        tools = QHBoxLayout()
        tools.setSpacing(SPACE)
        tools.addWidget(self.tabs)
        tools.addStretch(1)
        return tools

    def _arrange_results(self, history: SearchHistory, work: QWidget) -> None:
        self.split = QSplitter(Qt.Orientation.Horizontal, self._pages)
        self._pages.addWidget(self.split)
        self.split.setChildrenCollapsible(False)
        self._left, right = QWidget(self.split), QWidget(self.split)
        QVBoxLayout(self._left).setContentsMargins(0, 0, 0, 0)  # for the evaluation, once it is made
        self.split.setStretchFactor(1, 1)
        self.split.setSizes([360, 560])
        self.query = SearchBar(history, work, right)
        self.filters = FilterRow(right)
        self.note = ElidedLabel("", right)
        set_role(self.note, "small")
        self.belongs = QWidget(right)  # what belongs to a known caption or picture
        self.true_picture = PictureLabel(5 * SPACE, self.belongs)
        self.true_words = ElidedLabel("", self.belongs)
        column = QVBoxLayout(right)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(SPACE)
        for widget in (self.query, self.filters, self.note, self.belongs):
            column.addWidget(widget)
        belongs = QHBoxLayout(self.belongs)
        belongs.setContentsMargins(0, 0, 0, 0)
        belongs.setSpacing(SPACE)
        belongs.addWidget(self.true_picture)
        belongs.addWidget(self.true_words, 1)
        self.pair = QSplitter(Qt.Orientation.Horizontal, right)
        column.addWidget(self.pair, 1)
        self.pair.setChildrenCollapsible(False)
        one, two = (SearchSide(self._cache, self._export, self.pair) for _ in range(2))
        self.sides = (one, two)

    def _link(self) -> None:
        one, two = (side.gallery for side in self.sides)
        for first, second in ((one, two), (two, one)):
            first.scrolled.connect(second.scroll_to_share)
            first.thumbnail_size_changed.connect(second.set_thumbnail_size)
        self.filter_button.toggled.connect(self.filters.setVisible)
        self.source.sheet_asked.connect(lambda shown: self.sheet.setVisible(shown))

    # What is shown
    def show_empty(self, title: str, text: str) -> None:
        """Show what the panel is for instead of results."""
        self.empty.set_content(title, text)
        self._stack.setCurrentIndex(0)

    def show_work(self) -> None:
        """Show the query and the results."""
        self._stack.setCurrentIndex(1)

    def show_tab(self, tab: int) -> None:
        """Show the widgets of this tab: pictures, evaluation or map."""
        if tab == EVALUATION:
            self.evaluation.show()
        self._left.setVisible(tab == EVALUATION)
        self._pages.setCurrentWidget(self.map if tab == MAP else self.split)
        for tool in self._tools:
            tool.setVisible(tab != MAP)

    def show_filters_count(self, number: int) -> None:
        """Show the number of active filters on the button, also while the filters are hidden."""
        self.filter_button.setText(f"Filters ({number})" if number else "Filters")

    def show_relocate(self, index: str, folder: str) -> None:
        """Open the fields that relocate the pictures of ``index``, with the old folder filled in."""
        self.sheet.folder.setText(index)
        self.sheet.old.setText(folder)
        self.source.sheet.setChecked(True)
        self.sheet.new.setFocus()

    def show_known(self, path: str, words: str) -> None:
        """Show the correct picture of a query with a known answer; "" hides it."""
        self.belongs.setVisible(bool(path))
        if path:
            self.true_picture.show_picture(Path(path))
            self.true_words.setText(words)

    # Messages
    def show_message(self, message: Message) -> None:
        """Show ``message`` in the panel's message bar."""
        self.bar.show_message(message)

    # Remembering
    def layout_state(self) -> dict[str, Any]:
        """Tab, score, filters and sizes, as JSON."""
        sizes = {name: split.saveState().toBase64().toStdString() for name, split in self._splits().items()}
        return {
            "tab": self.tabs.currentIndex(),
            "score": self.score.currentData(),
            "filters": self.filters.filters(),
            "group": self.filters.group.isChecked(),
            "filters_shown": self.filter_button.isChecked(),
            "prompts": self.query.prompts.currentData(),
            "size": self.sides[0].gallery.thumbnail_size(),
            "splits": {**self._sizes, **sizes},
        }

    def restore_layout(self, state: Mapping[str, Any]) -> None:
        """Restore what ``layout_state`` returned; invalid values are ignored."""
        self.score.setCurrentIndex(max(0, self.score.findData(state.get("score"))))
        filters = state.get("filters")
        self.filters.set_filters(filters if isinstance(filters, dict) else {}, bool(state.get("group", True)))
        self.query.set_filters(self.filters.filters(), self.filters.group.isChecked())
        self.show_filters_count(len(self.filters.filters()))
        self.filter_button.setChecked(bool(state.get("filters_shown")))
        self.query.prompts.setCurrentIndex(max(0, self.query.prompts.findData(state.get("prompts"))))
        size = state.get("size")
        for side in self.sides:
            side.gallery.set_thumbnail_size(size if isinstance(size, int) else 100)
        saved = state.get("splits")
        kept = saved.items() if isinstance(saved, dict) else ()
        self._sizes = {name: size for name, size in kept if isinstance(size, str)}
        for name, split in self._splits().items():
            self._restore_size(name, split)
        tab = state.get("tab")
        self.tabs.setCurrentIndex(tab if tab in (PICTURES_TAB, EVALUATION, MAP) else PICTURES_TAB)

    def _splits(self) -> dict[str, QSplitter]:
        """The splitters created so far, by name."""
        there = {"split": self.split, "pair": self.pair}
        if is_made(self, "map"):
            there["map"] = self.map.split
        if is_made(self, "evaluation"):
            there["curve"] = self.evaluation.split
        return there

    def _restore_size(self, name: str, split: QSplitter) -> None:
        if name in self._sizes:
            split.restoreState(QByteArray.fromBase64(self._sizes[name].encode()))
