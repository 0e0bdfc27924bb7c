"""What the Classify place is made of, and where it stands; ``ClassifyPanel`` connects it."""

from __future__ import annotations

from PySide6.QtCore import Qt
from PySide6.QtGui import QDragEnterEvent, QDropEvent
from PySide6.QtWidgets import QSplitter, QStackedWidget, QTabWidget, QVBoxLayout

from sdgui.panels.classify_accuracy import AccuracyTab
from sdgui.panels.classify_compare import CompareTab
from sdgui.panels.classify_curves import CurvesTab
from sdgui.panels.classify_matrix import MatrixTab
from sdgui.panels.classify_mistakes import MistakesTab
from sdgui.panels.classify_notes import NotesFold
from sdgui.panels.classify_results import ResultList
from sdgui.panels.classify_source import ClassifySource
from sdgui.panels.classify_try import TryTab
from sdgui.panels.place import Place, Services
from sdgui.widgets.empty_state import EmptyState
from sdgui.widgets.gallery import Gallery
from sdgui.widgets.message_bar import MessageBar
from sdgui.widgets.progress_strip import ProgressStrip
from sdgui.widgets.theme import SPACE


class ClassifyLayout(Place):
    """Choices above, results on the left, tabs on the right."""

    def __init__(self, services: Services) -> None:
        super().__init__()
        self._settings = services.settings
        home = services.store.home
        self.source = ClassifySource(services, self)
        self.strip = ProgressStrip(self)
        self.bar = MessageBar(self)
        self.notes = NotesFold(self)
        self.results = ResultList(self)
        self.empty = EmptyState("ph.chart-bar", "Nothing classified yet", "")
        self.accuracy = AccuracyTab(self)
        self.matrix = MatrixTab(home / "thumbnails", services.settings, self)
        self.mistakes = MistakesTab(home / "thumbnails", self)
        self.curves = CurvesTab(self)
        self.compare = CompareTab(services, self)
        self.trying = TryTab(home, services.settings, self)
        self.tabs = QTabWidget(self)
        self.first = QStackedWidget(self)
        self.split = QSplitter(Qt.Orientation.Horizontal, self)
        self.setAcceptDrops(True)
        self._fill_tabs()
        self._arrange()

    def _fill_tabs(self) -> None:
        self.first.addWidget(self.empty)
        self.first.addWidget(self.accuracy)
        for text, widget, tip in (
            ("&Accuracy", self.first, "The figure with its interval, and every class"),
            ("Con&fusion", self.matrix, "Which classes are taken for which"),
            ("&Mistakes", self.mistakes, "The pictures that the model is most sure about, and wrong"),
            ("C&urves", self.curves, "Accuracy by regularisation, and with few pictures a class"),
            ("C&ompare", self.compare, "Two results on the same pictures"),
            ("&Try it", self.trying, "Your own pictures, by the probe and among typed names"),
        ):
            self.tabs.setTabToolTip(self.tabs.addTab(widget, text), tip)
        self.tabs.tabBar().setAccessibleName("Results in detail")

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
        for widget in (self.source, self.strip, self.bar, self.notes):
            layout.addWidget(widget)
        layout.addWidget(self.split, 1)

    def galleries(self) -> list[Gallery]:
        """Every one; each offers to export its pictures."""
        compared = [self.compare.only_a, self.compare.only_b]
        return [self.matrix.gallery, self.mistakes.gallery, self.trying.gallery, *compared]

    def box_to_search(self) -> None:
        """The cursor into the box of the tab that is shown."""
        boxes = {
            1: self.matrix.find_box,
            4: self.compare.table.filter_box,
            5: self.trying.names,
        }
        boxes.get(self.tabs.currentIndex(), self.accuracy.table.filter_box).setFocus()

    # A folder dropped anywhere in the place is data
    def dragEnterEvent(self, event: QDragEnterEvent) -> None:
        if any(url.isLocalFile() for url in event.mimeData().urls()):
            event.acceptProposedAction()

    def dropEvent(self, event: QDropEvent) -> None:
        path = next(url.toLocalFile() for url in event.mimeData().urls() if url.isLocalFile())
        event.acceptProposedAction()
        self.source.data.set_source(path)
