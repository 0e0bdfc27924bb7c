"""The Search panel's widgets: two rows of controls above images, evaluation or map.

Less common settings are in popovers (*Filters*, *More*, *Search in*); messages overlay the lower edge, so that the
layout does not move. ``SearchPanel`` controls the view; the view saves its own layout.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Any

from PySide6.QtCore import Qt, Signal
from PySide6.QtGui import QKeySequence, QShortcut
from PySide6.QtWidgets import QFormLayout, QHBoxLayout, QPushButton, QSplitter, QStackedWidget, QTabBar, QWidget

from sdgui.panels.search.index import IndexSheet
from sdgui.panels.search.model import Query
from sdgui.panels.search.query.bar import SearchBar
from sdgui.panels.search.query.filters import FilterForm
from sdgui.panels.search.query.history import SearchHistory
from sdgui.panels.search.reporting import Jobs
from sdgui.panels.search.results import SCORES
from sdgui.panels.search.side import SearchSide
from sdgui.panels.search.source import SourceBar
from sdgui.panels.search.tabs.evaluation import EvaluationPane
from sdgui.panels.search.tabs.map import MapPage
from sdgui.runs.demo import DEMO_QUERY
from sdgui.shared.export.menu import ExportMenu
from sdgui.shared.services import Services
from sdgui.shared.stored_json import parse_number
from sdgui.shared.time_travel import StepSlider
from sdgui.widgets.drop_target import DropTarget
from sdgui.widgets.empty_state import EmptyState
from sdgui.widgets.icon_button import IconButton
from sdgui.widgets.input_boxes import ListOnlyComboBox
from sdgui.widgets.late_parts import is_made
from sdgui.widgets.layouts.boxes import hbox, vbox
from sdgui.widgets.layouts.form_labels import align_labels
from sdgui.widgets.layouts.over import lay_over
from sdgui.widgets.layouts.splits import remember_sizes
from sdgui.widgets.message_bar import MessageBar
from sdgui.widgets.plain_text import plain_tip
from sdgui.widgets.popovers.popover import Popover
from sdgui.widgets.progress_strip import ProgressStrip
from sdgui.widgets.style.theme import SPACE, set_role

IMAGES_TAB, EVALUATION, MAP = range(3)
LATE_WIDGETS = ("filters", "sheet", "evaluation", "map")  # widgets created after the panel is visible, or on first use
_TABS = (
    ("Ima&ges", "Search images by words and images (Alt+G)"),
    ("E&valuation", "Rank of the correct answer for every known query (Alt+V)"),
    ("&Map", "Images and captions in two dimensions (Alt+M)"),
)


class SearchView(QWidget):
    """The widgets, and the signals of widgets that are created later."""

    known_chosen = Signal(object)  # KnownQuery
    known_activated = Signal(object)  # KnownQuery
    compare_requested = Signal(int)  # k: find the pairs that only one model has among its first k results
    like_requested = Signal(str, int)  # path, row of an image on the map
    map_wanted = Signal(bool)  # whether to include captions
    map_names_wanted = Signal(str, list, list)  # purpose, rows, numbers of captions
    filters_changed = Signal()
    indexing = Signal(str, str, int, int)  # purpose, activity, finished, total

    def __init__(self, services: Services, history: SearchHistory, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._services = services
        self._cache = services.store.home / "thumbnails"
        # Outer widgets first: reparenting a widget restyles all its children.
        self.drop = DropTarget(services.store.home / "pasted", "Search with these images, or search this folder", self)
        self.drop.folders_apart = True
        self._work = QWidget(self.drop)
        self.drop.set_content(self._work)
        self.strip, self.export_strip = (ProgressStrip(self._work) for _ in range(2))
        self.bar = MessageBar(self._work)
        self.jobs = Jobs(self.strip, self)
        self._export = ExportMenu(self.export_strip, self.bar.show_message, self)
        self._arrange(history)
        self._link()
        self.show_tab(IMAGES_TAB)

    @cached_property
    def filters(self) -> FilterForm:
        """The filter form, created on first use."""
        form = FilterForm(self.filter_popover)
        vbox(form, into=self.filter_popover, margins=2 * SPACE)
        self.filter_popover.set_first(form.folder)
        form.changed.connect(self.filters_changed)
        return form

    @cached_property
    def sheet(self) -> IndexSheet:
        """The index sheet, created on first use."""
        sheet = IndexSheet(self._services, lambda: self.source.pickers[0].choice(), self.source.popover)
        sheet.hide()
        if (column := self.source.popover.layout()) is not None:
            column.addWidget(sheet)
        sheet.working.connect(self.indexing)
        sheet.finished.connect(lambda: self.jobs.end("index"))
        sheet.message_requested.connect(self.bar.show_message)
        sheet.succeeded.connect(lambda folder: self.source.collection.show_index(0, folder))
        return sheet

    @cached_property
    def evaluation(self) -> EvaluationPane:
        """The evaluation, created on first use."""
        pane = EvaluationPane(self)
        if (layout := self._evaluation_side.layout()) is not None:
            layout.addWidget(pane)
        remember_sizes(pane.split, self._services.settings, "search/curve")
        pane.query_selected.connect(self.known_chosen)
        pane.activated.connect(self.known_activated)
        pane.compare_requested.connect(self.compare_requested)
        return pane

    @cached_property
    def map(self) -> MapPage:
        """The map, created on first use."""
        page = MapPage(self._cache, self._export, self)
        self._pages.addWidget(page)
        remember_sizes(page.split, self._services.settings, "search/map")
        page.like_requested.connect(self.like_requested)
        page.map_requested.connect(self.map_wanted)
        page.names_wanted.connect(self.map_names_wanted)
        return page

    def _arrange(self, history: SearchHistory) -> None:
        vbox(self.drop, into=self)
        column = vbox(margins=(2 * SPACE, SPACE, 2 * SPACE, SPACE // 2))
        lay_over(self._work, column, self.bar)
        column.addLayout(self._query_row(history))
        column.addLayout(self._source_row())
        self._stack = QStackedWidget(self._work)
        column.addWidget(self._stack, 1)
        self.time = StepSlider(self._work)
        self.time.hide()
        column.addWidget(self.time)
        self.empty = EmptyState("ph.magnifying-glass", "No model to search with yet", "", parent=self._stack)
        self.demo_button = QPushButton(self.empty)
        set_role(self.demo_button, "flat")
        self.demo_button.hide()
        self.demo_button.clicked.connect(self._search_demo)
        self.empty.add_widget(self.demo_button)
        self._pages = QStackedWidget(self._stack)
        self._stack.addWidget(self.empty)
        self._stack.addWidget(self._pages)
        self._arrange_results()

    def _query_row(self, history: SearchHistory) -> QHBoxLayout:
        """The first row: the query, *Filters*, *More*."""
        self.filter_button = IconButton("ph.funnel", "Filter the images", "Ctrl+Shift+F", "Filters", False, self._work)
        self.filter_button.setMinimumWidth(self.fontMetrics().horizontalAdvance("Filters (9)") + 5 * SPACE)
        self.more = IconButton("ph.dots-three", "More: result type, prompts, scores", parent=self._work)
        self.filter_popover = Popover("Filters", self.filter_button, self._work)
        self.more_popover = Popover("More", self.more, self._work)
        self.query = SearchBar(history, self.more_popover, self._work)
        self.filter_popover.setMinimumWidth(52 * SPACE)
        self._fill_more()
        return hbox((self.query, 1), self.filter_button, self.more, spacing=SPACE // 2)

    def _fill_more(self) -> None:
        self.score = ListOnlyComboBox(self.more_popover)
        for score, (name, meaning) in SCORES.items():
            self.score.addItem(name, score)
            self.score.setItemData(self.score.count() - 1, plain_tip(meaning), Qt.ItemDataRole.ToolTipRole)
        self.score.setAccessibleName("Displayed score")
        self.score.setToolTip(plain_tip("\n\n".join(f"{name}: {meaning}" for name, meaning in SCORES.values())))
        form = QFormLayout()
        form.setLabelAlignment(Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter)
        form.setSpacing(SPACE)
        form.addRow("Find", self.query.find_box)
        form.addRow("Prompts", self.query.prompts)
        form.addRow("Score", self.score)
        align_labels(form)
        vbox(form, self.query.add_words, self.query.exclude_words, into=self.more_popover, margins=2 * SPACE)
        self.more_popover.set_first(self.query.find_box)

    def _source_row(self) -> QHBoxLayout:
        """The second row: models, images to search, and the tabs."""
        self.source = SourceBar(self._services, self._work)
        self.tabs = QTabBar(self._work)
        for text, tip in _TABS:
            self.tabs.setTabToolTip(self.tabs.addTab(text), plain_tip(tip))
        self.tabs.setDrawBase(False)
        self.tabs.setExpanding(False)
        self.tabs.setAccessibleName("View")
        return hbox((self.source, 1), self.tabs)

    def _arrange_results(self) -> None:
        self.split = QSplitter(Qt.Orientation.Horizontal, self._pages, childrenCollapsible=False)
        self._pages.addWidget(self.split)
        self._evaluation_side = QWidget(self.split)
        vbox(into=self._evaluation_side)  # filled with the evaluation on first use
        self.pair = QSplitter(Qt.Orientation.Horizontal, self.split, childrenCollapsible=False)
        self.split.setStretchFactor(1, 1)
        self.split.setSizes([360, 560])
        first_side, second_side = (SearchSide(self._cache, self._export, self.pair) for _ in range(2))
        self.sides = (first_side, second_side)
        if (layout := second_side.layout()) is not None:
            layout.setContentsMargins(SPACE, 0, 0, 0)  # away from the handle
        remember_sizes(self.split, self._services.settings, "search/split")
        remember_sizes(self.pair, self._services.settings, "search/pair")

    def _link(self) -> None:
        first_gallery, second_gallery = (side.gallery for side in self.sides)
        for source, target in ((first_gallery, second_gallery), (second_gallery, first_gallery)):
            source.scrolled.connect(target.scroll_to_share)
            source.thumbnail_size_changed.connect(target.set_thumbnail_size)
        self.filter_button.clicked.connect(self._toggle_filters)
        self.more.clicked.connect(self.more_popover.toggle)
        self.query.add_words.clicked.connect(self.more_popover.close_popover)
        self.query.exclude_words.clicked.connect(self.more_popover.close_popover)
        self.source.collection.sheet_toggled.connect(self._show_sheet)
        folder = QShortcut(QKeySequence("Ctrl+Alt+O"), self)
        folder.activated.connect(self.source.collection.ask_folder)

    def _toggle_filters(self) -> None:
        _ = self.filters  # creates the form on first use
        self.filter_popover.toggle()

    def chosen_filters(self) -> tuple[dict[str, Any], bool]:
        """The active filters, and whether near-identical images are grouped."""
        return (self.filters.filters(), self.filters.group.isChecked()) if is_made(self, "filters") else ({}, True)

    def choose_filters(self, filters: Mapping[str, Any], group: bool) -> None:
        """Set the filters and the grouping."""
        if filters or not group or is_made(self, "filters"):
            self.filters.set_filters(filters, group)

    def _show_sheet(self, visible: bool) -> None:
        self.sheet.setVisible(visible)
        self.source.popover.fit()

    # Pages
    def show_empty(
        self, title: str, text: str, button: str = "", shortcut: str = "", *, offers_demo: bool = False
    ) -> None:
        """Show the empty state with the next step; ``offers_demo``: also offer the demo images."""
        self.empty.set_content(title, text, button, shortcut)
        is_complete = offers_demo and self._services.demo.complete
        self.demo_button.setText("Search the demo images" if is_complete else "Create the demo images")
        self.demo_button.setVisible(offers_demo)
        self._stack.setCurrentIndex(0)

    def _search_demo(self) -> None:
        """Search the demo images, without another model with the included one; create them first if necessary."""
        demo = self._services.demo
        if self.source.pickers[0].choice() is None:
            self.source.choose_included()
        if not demo.complete:
            demo.make()
            return
        if self.query.query().empty:
            self.query.set_query(Query(DEMO_QUERY))
        self.source.collection.search_folder(str(demo.search_table))

    def show_work(self) -> None:
        """Show the results."""
        self._stack.setCurrentIndex(1)

    def show_tab(self, tab: int) -> None:
        """Show the widgets of this tab: images, evaluation or map."""
        if tab == EVALUATION:
            self.evaluation.show()
        self._evaluation_side.setVisible(tab == EVALUATION)
        self._pages.setCurrentWidget(self.map if tab == MAP else self.split)

    def show_filters(self) -> None:
        """Pass the active filters to the query and show their number on the button."""
        filters, group = self.chosen_filters()
        self.query.set_filters(filters, group)
        self.filter_button.setText(f"Filters ({len(filters)})" if filters else "Filters")

    def show_relocate(self, index: str, folder: str) -> None:
        """Open the fields that relocate the images of ``index``, with the old folder filled in."""
        self.sheet.index_folder.setText(index)
        self.sheet.old_folder.setText(folder)
        self.source.collection.sheet_button.setChecked(True)
        self.source.popover.open()
        self.sheet.new_folder.setFocus()

    # Saved layout
    def layout_state(self) -> dict[str, Any]:
        """Tab, score, filters and thumbnail size, as JSON-compatible values."""
        filters, group = self.chosen_filters()
        return {
            "tab": self.tabs.currentIndex(),
            "score": self.score.currentData(),
            "filters": filters,
            "group": group,
            "prompts": self.query.prompts.currentData(),
            "size": self.sides[0].gallery.thumbnail_size(),
        }

    def restore_layout(self, state: Mapping[str, Any]) -> None:
        """Restore the layout from ``layout_state()``; invalid values are ignored."""
        self.score.setCurrentIndex(max(0, self.score.findData(str(state.get("score")))))
        filters = state.get("filters")
        self.choose_filters(filters if isinstance(filters, dict) else {}, bool(state.get("group", True)))
        self.show_filters()
        self.query.prompts.setCurrentIndex(max(0, self.query.prompts.findData(str(state.get("prompts")))))
        for side in self.sides:
            side.gallery.set_thumbnail_size(parse_number(state.get("size"), 100))
        tab = state.get("tab")
        self.tabs.setCurrentIndex(tab if tab in (IMAGES_TAB, EVALUATION, MAP) else IMAGES_TAB)
