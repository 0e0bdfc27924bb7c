"""What an action may ask of the window."""

from __future__ import annotations

from typing import Protocol

from PySide6.QtWidgets import QStatusBar

from sdgui.experiments.commands import ExperimentCommands
from sdgui.experiments.panel import ExperimentsPanel
from sdgui.experiments.run_commands import RunCommands
from sdgui.shared.panel import Panel
from sdgui.shared.services import Selection, Services
from sdgui.store.records import Run


class Window(Protocol):
    """What the actions need of the main window."""

    services: Services
    panels: dict[str, Panel]
    selection: Selection
    experiments: ExperimentsPanel
    run_commands: RunCommands
    experiment_commands: ExperimentCommands

    @property
    def status(self) -> QStatusBar: ...
    @property
    def panel(self) -> str: ...
    def show_panel(self, name: str) -> Panel: ...
    def current_run(self) -> Run | None: ...
    def save_definition(self) -> None: ...
    def start_demo(self) -> None: ...
    def close(self) -> bool: ...
