"""The panels of the window, of which one is shown; each is built when it is first shown.

Flow: the main window passes selections and refreshes to the built panels; it connects a new one on ``built``.
A panel receives the selection once it has been shown for the first time.
"""

from __future__ import annotations

import sys
import time
from contextlib import suppress
from importlib import import_module

from PySide6.QtCore import Signal, SignalInstance
from PySide6.QtWidgets import QSizePolicy, QStackedWidget, QWidget

from core.spec.config import RunConfig
from sdgui.panels.registry import PANELS
from sdgui.runs.models import architectures, pretrained_weights
from sdgui.shared.panel import Panel, PanelSpec
from sdgui.shared.services import Selection, Services
from sdgui.store.records import StoreError
from sdgui.store.store import Store

FIRST_PANEL = PANELS[0].name
FIRST_PANEL_SECONDS = 0.7  # other threads start afterwards, because they would delay the display of the first panel
_SPECS = {spec.name: spec for spec in PANELS}


class PanelStack(QStackedWidget):
    """The stack of panels. ``panels``: panels built so far, by name; ``current``: name of the current panel."""

    built = Signal(str)  # the name of a panel

    def __init__(self, services: Services, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._services = services
        self.panels: dict[str, Panel] = {}
        self._shown_panels: dict[str, Panel] = {}  # built panels that have been shown
        self._selection = Selection()
        self.current = FIRST_PANEL
        self.currentChanged.connect(self._size_to_current)

    def _size_to_current(self, current: int) -> None:
        """Require space only for the current panel: others may be wider."""
        kinds = QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Preferred
        for panel in self.panels.values():
            kind = kinds[panel is self.widget(current)]
            panel.setSizePolicy(kind, kind)

    @property
    def spec(self) -> PanelSpec:
        """The current panel's row in the table of panels."""
        return _SPECS[self.current]

    def restore(self, name: str) -> None:
        """Set the panel to show first; for an unknown name, the first in the table."""
        self.current = name if name in _SPECS else FIRST_PANEL

    def show_panel(self, name: str) -> Panel:
        """Show a panel; build it if needed."""
        previous = self.panels.get(self.current)
        panel = self.panels.get(name) or self._build(name)
        if name not in self._shown_panels:
            self._shown_panels[name] = panel
            if _SPECS[name].shows_tree:
                panel.select(self._selection)
        if previous is not None and previous is not panel:
            previous.on_leave()
        self.current = name
        self.setCurrentWidget(panel)
        panel.on_enter()
        return panel

    def _build(self, name: str) -> Panel:
        panel = self.panels[name] = _SPECS[name].build(self._services, self)
        self.addWidget(panel)
        self.built.emit(name)
        return panel

    def select(self, selection: Selection) -> None:
        """Pass the tree's selection to the panels that show the tree."""
        self._selection = selection
        for name, panel in self._shown_panels.items():
            if _SPECS[name].shows_tree:
                panel.select(selection)

    def refresh(self) -> None:
        """Let every panel reload its data from the store."""
        for panel in self.panels.values():
            panel.refresh()

    def is_saving(self) -> bool:
        """Whether edits are being written."""
        return any(panel.is_saving() for panel in self.panels.values())

    def leave(self) -> None:
        """Let every panel save its edits before the window closes."""
        for panel in self.panels.values():
            panel.on_leave()


def load_panels(first: PanelSpec, store: Store, first_imported: SignalInstance) -> None:
    """Import every panel, ``first`` before the others, and fill the caches of pydantic, SQLAlchemy and open_clip.

    For a thread: panels import numpy, pyqtgraph and more, which would delay their first display.
    """
    import_module(first.module)
    with suppress(RuntimeError):  # the window has been deleted
        first_imported.emit()
    if any(spec.module not in sys.modules for spec in PANELS):
        time.sleep(FIRST_PANEL_SECONDS)
    for spec in PANELS:
        import_module(spec.module)
    RunConfig()  # builds its validators
    with suppress(StoreError):
        store.compile_first_queries()
    architectures()
    pretrained_weights()
