"""The widgets of the Runs panel: the table, and room below it for the tabs, which are made a turn later."""

from __future__ import annotations

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QSplitter, QVBoxLayout, QWidget

from sdgui.panels.runs.table.part import RunTable
from sdgui.panels.runs.tabs_view import TabsView
from sdgui.shared.experiment_head import ExperimentHead
from sdgui.shared.services import Services
from sdgui.widgets.layouts.boxes import vbox
from sdgui.widgets.layouts.over import lay_over
from sdgui.widgets.message_bar import MessageBar
from sdgui.widgets.style.theme import SPACE


class RunsView(QWidget):
    """Built from the outside in: a widget that is given another parent is styled again, with all its children."""

    def __init__(self, services: Services, parent: QWidget) -> None:
        super().__init__(parent)
        self._services = services
        self.head = ExperimentHead(services, self)
        self.bar = MessageBar(self)
        self.split = QSplitter(Qt.Orientation.Vertical, self)
        self.table = RunTable(services.store, services.settings, self.split)
        self._lower = QWidget(self.split)
        self.split.setChildrenCollapsible(True)
        self.split.setStretchFactor(0, 2)
        self.split.setStretchFactor(1, 3)
        self.split.setSizes([280, 440])
        layout = vbox(self.head, (self.split, 1), margins=(2 * SPACE, SPACE, 2 * SPACE, SPACE))
        lay_over(self, layout, self.bar)

    def make_tabs(self) -> TabsView:
        """Fill the lower half."""
        tabs = TabsView(self._services, self.table, self._lower)
        room = QVBoxLayout(self._lower)
        room.setContentsMargins(0, SPACE // 2, 0, 0)
        room.addWidget(tabs)
        return tabs
