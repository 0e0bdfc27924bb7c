"""What the Classify place is made of, and where it stands; ``ClassifyPanel`` connects it."""

from __future__ import annotations

from functools import cached_property
from typing import TypeVar

from PySide6.QtCore import Qt, Signal
from PySide6.QtGui import QDragEnterEvent, QDropEvent
from PySide6.QtWidgets import QSplitter, QStackedWidget, QTabWidget, QVBoxLayout, QWidget

from sdgui.panels.classify.notes import NotesFold
from sdgui.panels.classify.results import ResultList
from sdgui.panels.classify.source import ClassifySource
from sdgui.panels.classify.tabs.accuracy import AccuracyTab
from sdgui.panels.classify.tabs.compare import CompareTab
from sdgui.panels.classify.tabs.confusion import MatrixTab
from sdgui.panels.classify.tabs.curves import CurvesTab
from sdgui.panels.classify.tabs.mistakes import MistakesTab
from sdgui.panels.classify.tabs.try_it import TryTab
from sdgui.shared.panel import Panel
from sdgui.shared.services import Services
from sdgui.widgets.empty_state import EmptyState
from sdgui.widgets.gallery.gallery import Gallery
from sdgui.widgets.late_parts import home_of, replace_page
from sdgui.widgets.message_bar import MessageBar
from sdgui.widgets.plain_text import plain_tip
from sdgui.widgets.progress_strip import ProgressStrip
from sdgui.widgets.style.theme import SPACE

_Tab = TypeVar("_Tab", bound=QWidget)
PARTS = ("accuracy", "matrix", "mistakes", "curves", "compare", "trying")  # in the order of their tabs
_PAGES = (AccuracyTab, MatrixTab, MistakesTab, CurvesTab, CompareTab, TryTab)


class ClassifyLayout(Panel):
    """Choices above, results on the left, tabs on the right.

    A tab is made when it is first asked for; the signals are the tabs', so that nobody needs a tab to listen to it.
    """

    class_chosen = Signal(int)  # place of the class among all
    cell_asked = Signal(int, int, int)  # classes: true, predicted; from which picture on
    mistakes_asked = Signal(int)  # from which number on
    few_shot_asked = Signal(str, int)  # "image" or "fused", draws
    compare_asked = Signal(object, object)  # Measure, Measure
    measure_asked = Signal(object)  # Measure
    try_asked = Signal(list, list, bool)  # pictures, names, whether they are the current one
    try_refused = Signal(list)  # (what, why)
    menu_opening = Signal(object, object)  # QMenu, Gallery

    def __init__(self, services: Services, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._services = services
        self._home, self._settings = services.store.home, services.settings
        self.source = ClassifySource(services, self)
        self.strip, self.export_strip = ProgressStrip(self), ProgressStrip(self)  # they may work at once
        self.bar = MessageBar(self)
        self.notes = NotesFold(self)
        self.results = ResultList(self)
        self.empty = EmptyState("ph.chart-bar", "Nothing classified yet", "")
        self.tabs = QTabWidget(self)
        self.first = QStackedWidget(self)
        self.split = QSplitter(Qt.Orientation.Horizontal, self)
        self.setAcceptDrops(True)
        self._fill_tabs()
        self._arrange()

    def _fill_tabs(self) -> None:
        self.first.addWidget(self.empty)
        for text, tip in (
            ("&Accuracy", "The figure with its interval, and every class"),
            ("Con&fusion", "Which classes are confused"),
            ("&Mistakes", "The most confident mistakes"),
            ("C&urves", "Accuracy by regularisation and by number of pictures per class"),
            ("C&ompare", "Two results on the same pictures"),
            ("&Try it", "Classify your own pictures with the probe or by typed class names"),
        ):
            page = QWidget(self) if self.tabs.count() else self.first
            self.tabs.setTabToolTip(self.tabs.addTab(page, text), plain_tip(tip))
        self.tabs.tabBar().setAccessibleName("Results in detail")
        self.tabs.currentChanged.connect(lambda number: getattr(self, PARTS[number]) if number else None)

    # The tabs
    @cached_property
    def accuracy(self) -> AccuracyTab:
        tab = AccuracyTab(self.first)
        self.first.addWidget(tab)
        tab.class_chosen.connect(self.class_chosen)
        return tab

    @cached_property
    def matrix(self) -> MatrixTab:
        tab = MatrixTab(self._home / "thumbnails", self._settings, home_of(self.tabs))
        tab.cell_asked.connect(self.cell_asked)
        return self._placed(tab, tab.gallery)

    @cached_property
    def mistakes(self) -> MistakesTab:
        tab = MistakesTab(self._home / "thumbnails", home_of(self.tabs))
        tab.more_asked.connect(self.mistakes_asked)
        return self._placed(tab, tab.gallery)

    @cached_property
    def curves(self) -> CurvesTab:
        tab = CurvesTab(home_of(self.tabs))
        tab.few_shot_asked.connect(self.few_shot_asked)
        return self._placed(tab)

    @cached_property
    def compare(self) -> CompareTab:
        tab = CompareTab(self._services, home_of(self.tabs))
        tab.compare_asked.connect(self.compare_asked)
        tab.measure_asked.connect(self.measure_asked)
        return self._placed(tab, tab.only_a, tab.only_b)

    @cached_property
    def trying(self) -> TryTab:
        tab = TryTab(self._home, self._settings, home_of(self.tabs))
        tab.asked.connect(self.try_asked)
        tab.refused.connect(self.try_refused)
        return self._placed(tab, tab.gallery)

    def _placed(self, tab: _Tab, *galleries: Gallery) -> _Tab:
        """Put it where an empty page stands for it; each gallery's menu offers more than its own."""
        replace_page(self.tabs, _PAGES.index(type(tab)), tab)
        for gallery in galleries:
            gallery.menu_opening.connect(lambda menu, _rows, gallery=gallery: self.menu_opening.emit(menu, gallery))
        return tab

    def _arrange(self) -> None:
        self.split.addWidget(self.results)
        self.split.addWidget(self.tabs)
        self.split.setStretchFactor(1, 1)
        self.split.setSizes([200, 720])
        state = self._settings.value("classify/split")
        if state is not None:
            self.split.restoreState(state)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(2 * SPACE, SPACE, 2 * SPACE, SPACE)
        layout.setSpacing(SPACE // 2)
        for widget in (self.source, self.strip, self.export_strip, self.bar, self.notes):
            layout.addWidget(widget)
        layout.addWidget(self.split, 1)

    def box_to_search(self) -> None:
        """The cursor into the box of the tab that is shown."""
        match self.tabs.currentIndex():
            case 1:
                self.matrix.find_box.setFocus()
            case 4:
                self.compare.table.filter_box.setFocus()
            case 5:
                self.trying.names.setFocus()
            case _:
                self.accuracy.table.filter_box.setFocus()

    # A folder dropped anywhere in the place is data
    def dragEnterEvent(self, event: QDragEnterEvent) -> None:
        if any(url.isLocalFile() for url in event.mimeData().urls()):
            event.acceptProposedAction()

    def dropEvent(self, event: QDropEvent) -> None:
        path = next(url.toLocalFile() for url in event.mimeData().urls() if url.isLocalFile())
        event.acceptProposedAction()
        self.source.data.set_source(path)
