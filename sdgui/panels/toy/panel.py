"""A panel in miniature: the id of the current run."""

from __future__ import annotations

from PySide6.QtWidgets import QVBoxLayout, QWidget

from sdgui.shared.panel import Panel
from sdgui.shared.services import Selection, Services
from sdgui.widgets.plain_text import PlainLabel


class ToyPanel(Panel):
    """Shows the current run."""

    def __init__(self, services: Services, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.label = PlainLabel("No run", self)
        layout = QVBoxLayout(self)
        layout.addWidget(self.label)

    def select(self, selection: Selection) -> None:
        self.label.setText("No run" if selection.current_run is None else f"Run {selection.current_run}")
