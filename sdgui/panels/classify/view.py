"""The widgets of the Classify panel and their layout; ``ClassifyPanel`` connects them."""

from __future__ import annotations

from functools import cached_property
from typing import TypeVar

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import QSplitter, QStackedWidget, QTabWidget, QWidget

from sdgui.panels.classify.model import EvaluationResult
from sdgui.panels.classify.notes import Notes
from sdgui.panels.classify.results import ResultList
from sdgui.panels.classify.source import ClassifySource
from sdgui.panels.classify.tabs.accuracy import AccuracyTab
from sdgui.panels.classify.tabs.compare import CompareTab
from sdgui.panels.classify.tabs.confusion import MatrixTab
from sdgui.panels.classify.tabs.curves import CurvesTab
from sdgui.panels.classify.tabs.mistakes import MistakesTab
from sdgui.panels.classify.tabs.try_it import TryTab
from sdgui.shared.services import Services
from sdgui.shared.stored_json import parse_number
from sdgui.widgets.drop_target import FileDrop
from sdgui.widgets.empty_state import EmptyState
from sdgui.widgets.gallery.gallery import Gallery
from sdgui.widgets.late_parts import is_made, page_parent, replace_page
from sdgui.widgets.layouts.boxes import vbox
from sdgui.widgets.layouts.over import lay_over
from sdgui.widgets.layouts.splits import remember_sizes
from sdgui.widgets.message_bar import MessageBar
from sdgui.widgets.plain_text import plain_tip
from sdgui.widgets.progress_strip import ProgressStrip
from sdgui.widgets.style.theme import SPACE

_Tab = TypeVar("_Tab", bound=QWidget)
TAB_NAMES = ("accuracy", "matrix", "mistakes", "curves", "compare", "trying")  # in the order of their tabs
_PURPOSE = (
    "Evaluate a model on labelled images: accuracy with its interval, per-class accuracy, the confusion matrix and "
    "the most confident mistakes. Choose a model and labelled data above, or drop a folder with one subfolder per "
    "class here."
)


class ClassifyView(QWidget):
    """Choices above, results on the left, tabs on the right.

    A tab is created on first use. The view repeats the tabs' signals, so that connecting to them creates no tab.
    """

    class_chosen = Signal(int)  # index of the class among all classes
    cell_requested = Signal(int, int, int)  # true class, predicted class, first image
    mistakes_requested = Signal(int)  # index of the first mistake
    stepped = Signal(int)  # show the matrix of this step
    prompts_edited = Signal(str)  # JSON for the worker
    few_shot_requested = Signal(str, int)  # "image" or "fused", draws
    compare_requested = Signal(object, object)  # Evaluation, Evaluation
    evaluation_requested = Signal(object)  # Evaluation
    try_requested = Signal(list, list, bool)  # images, names, whether this is the current image
    try_refused = Signal(list)  # (file, reason)
    menu_opening = Signal(object, object)  # QMenu, Gallery

    def __init__(self, services: Services, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._services = services
        self._tab_to_restore = 0  # the last used tab, restored with the first result
        self._home, self._settings = services.store.home, services.settings
        self.source = ClassifySource(services, self)
        # evaluating and exporting can run at the same time
        self.strip, self.export_strip = ProgressStrip(self), ProgressStrip(self)
        self.bar = MessageBar(self)
        self.notes = Notes(self)
        self.results = ResultList(self)
        self._is_busy, self._next_step = False, ""
        self.empty = EmptyState("ph.chart-bar", "Nothing classified yet", "", primary=False)
        self.tabs = QTabWidget(self)
        self.first_page = QStackedWidget(self)  # page of the first tab: the empty state, or the accuracy
        self.split = QSplitter(Qt.Orientation.Horizontal, self)
        FileDrop(self, "Classify the images of this folder or table").dropped.connect(self.source.data.set_source)
        self._fill_tabs()
        self._arrange()

    def _fill_tabs(self) -> None:
        self.first_page.addWidget(self.empty)
        for text, tip in (
            ("&Accuracy", "Accuracy with its interval, and accuracy by class"),
            ("Con&fusion", "Which classes are confused"),
            ("&Mistakes", "The most confident mistakes"),
            ("C&urves", "Accuracy by regularisation and by number of images per class"),
            ("&Compare", "Two results on the same images"),
            ("&Try it", "Classify your own images with the probe or with typed class names"),
        ):
            page = QWidget(self) if self.tabs.count() else self.first_page
            self.tabs.setTabToolTip(self.tabs.addTab(page, text), plain_tip(tip))
        self.tabs.tabBar().setAccessibleName("Results in detail")
        self.tabs.setCornerWidget(self.notes.button)
        # Reading the property creates the tab; the first one, with the empty state, is created with the first result.
        self.tabs.currentChanged.connect(lambda number: getattr(self, TAB_NAMES[number]) if number else None)

    # The tabs
    @cached_property
    def accuracy(self) -> AccuracyTab:
        tab = AccuracyTab(self.first_page)
        self.first_page.addWidget(tab)
        tab.class_chosen.connect(self.class_chosen)
        return tab

    @cached_property
    def matrix(self) -> MatrixTab:
        tab = MatrixTab(self._home / "thumbnails", self._settings, page_parent(self.tabs))
        tab.cell_requested.connect(self.cell_requested)
        tab.stepped.connect(self.stepped)
        tab.prompts_edited.connect(self.prompts_edited)
        tab.prompts_saved.connect(self.source.options.set_prompts)
        tab.message_requested.connect(self.bar.show_message)
        return self._in_page("matrix", tab, tab.gallery)

    @cached_property
    def mistakes(self) -> MistakesTab:
        tab = MistakesTab(self._home / "thumbnails", self._services.basket, page_parent(self.tabs))
        tab.more_requested.connect(self.mistakes_requested)
        return self._in_page("mistakes", tab, tab.gallery)

    @cached_property
    def curves(self) -> CurvesTab:
        tab = CurvesTab(page_parent(self.tabs))
        tab.few_shot_requested.connect(self.few_shot_requested)
        return self._in_page("curves", tab)

    @cached_property
    def compare(self) -> CompareTab:
        tab = CompareTab(self._services, page_parent(self.tabs))
        tab.compare_requested.connect(self.compare_requested)
        tab.evaluation_requested.connect(self.evaluation_requested)
        tab.other_model.refused.connect(self.source.refused)
        return self._in_page("compare", tab, tab.only_a, tab.only_b)

    @cached_property
    def trying(self) -> TryTab:
        tab = TryTab(self._home, self._settings, page_parent(self.tabs))
        tab.predictions_requested.connect(self.try_requested)
        tab.refused.connect(self.try_refused)
        return self._in_page("trying", tab, tab.gallery)

    def _in_page(self, name: str, tab: _Tab, *galleries: Gallery) -> _Tab:
        """Put ``tab`` into its reserved page; the panel extends the menu of each gallery."""
        replace_page(self.tabs, TAB_NAMES.index(name), tab)
        for gallery in galleries:
            gallery.menu_opening.connect(lambda menu, _rows, gallery=gallery: self.menu_opening.emit(menu, gallery))
        return tab

    def _arrange(self) -> None:
        beside = QWidget(self.split)  # messages lie over the tabs, not over the buttons below the list
        lay_over(beside, vbox(self.tabs), self.bar)
        self.split.addWidget(self.results)
        self.split.addWidget(beside)
        self.split.setStretchFactor(1, 1)
        self.split.setSizes([200, 720])
        remember_sizes(self.split, self._settings, "classify/split")
        margins = (2 * SPACE, SPACE, 2 * SPACE, SPACE)
        vbox(self.source, self.notes, (self.split, 1), into=self, spacing=SPACE // 2, margins=margins)

    def focus_search(self) -> None:
        """Focus the search box of the current tab."""
        match self.tabs.currentIndex():
            case 1:
                self.matrix.find_box.setFocus()
            case 4:
                self.compare.table.filter_box.setFocus()
            case 5:
                self.trying.names.setFocus()
            case _:
                self.accuracy.table.filter_box.setFocus()

    # Settings
    def restore(self) -> None:
        """Restore the last choices and tab; a tab that needs a result is shown with the first result."""
        self.source.restore()
        saved_tab = parse_number(self._settings.value("classify/tab"), 0)
        self._tab_to_restore = saved_tab if saved_tab < self.tabs.count() else 0
        if self.tabs.isTabEnabled(self._tab_to_restore):
            self.tabs.setCurrentIndex(self._tab_to_restore)

    def save(self) -> None:
        """Save the choices for ``restore``."""
        self.source.save()
        if is_made(self, "trying"):
            self.trying.save()
        self._settings.setValue("classify/tab", self.tabs.currentIndex())

    # Display
    def show_next_step(self, button: str) -> None:
        """Offer the next step where there is no result yet; "" for none."""
        self._next_step = button
        self._show_empty()

    def _show_empty(self) -> None:
        if self._is_busy:
            self.empty.set_content("Classifying", "Accuracy, confusion matrix and mistakes follow.")
        elif self.results.results():
            self.empty.set_content(
                "No result selected", "Click Classify to evaluate this model, or select an earlier result on the left."
            )
        else:
            self.empty.set_content("Nothing classified yet", _PURPOSE, self._next_step)

    def set_busy(self, activity: str) -> None:
        """Show the progress of a long request; "" hides the progress."""
        if activity:
            self.strip.start(activity)
        else:
            self.strip.finish()
        self._is_busy = bool(activity)
        self._show_empty()
        self.source.set_busy(self._is_busy)
        self.results.load_probe.setEnabled(not self._is_busy)
        self.curves.set_busy(self._is_busy)

    def show_result(self, result: EvaluationResult | None) -> None:
        """Show a result in every tab; None shows the empty state."""
        has_result = result is not None
        if not has_result:
            self._show_empty()
            if 0 < self.tabs.currentIndex() < self.tabs.count() - 1:
                self._tab_to_restore = self.tabs.currentIndex()  # shown again with the next result
                self.tabs.setCurrentIndex(0)
        self.first_page.setCurrentWidget(self.accuracy if has_result else self.empty)
        for number in range(1, self.tabs.count() - 1):
            self.tabs.setTabEnabled(number, has_result)
        if has_result or is_made(self, "compare"):
            self.compare.set_results(self.results.results(), result)
        if result is None:
            self.notes.show_notes([])
            return
        for tab in (self.accuracy, self.matrix, self.mistakes, self.curves):
            tab.show_result(result)
        self.trying.set_class_names(result.classes)
        restored_tab, self._tab_to_restore = self._tab_to_restore, 0
        if self.tabs.currentIndex() == 0 and restored_tab < self.tabs.count() - 1:
            self.tabs.setCurrentIndex(restored_tab)

    def show_class(self, index: int) -> None:
        """Show a class in the confusion matrix."""
        self.tabs.setCurrentWidget(self.matrix)
        self.matrix.show_class(index)
