"""The interface of the main window for actions, and the state that enables them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from PySide6.QtWidgets import QStatusBar

from core.spec.run.status import RunState
from sdgui.actions.dialogs import Dialogs
from sdgui.experiments.commands import ExperimentCommands
from sdgui.experiments.panel import ExperimentsPanel
from sdgui.experiments.run_commands import RunCommands
from sdgui.runs.stopping import Stopping
from sdgui.shared.panel import Panel
from sdgui.shared.services import Selection, Services
from sdgui.store.records import Run
from sdgui.widgets.message_bar import MessageBar


@dataclass(frozen=True)
class Target:
    """What the actions apply to: the current state of the selected experiment and its run."""

    experiment_id: int | None = None
    run: Run | None = None
    state: RunState | None = None  # state of the run
    stopping: Stopping | None = None  # progress of stopping the run
    waiting_for_data: bool = False  # a launch of the experiment waits for the demo data
    study_id: int | None = None  # id of the selected study
    folder_missing: bool = False

    @classmethod
    def of(cls, selection: Selection, run: Run | None, services: Services, commands: RunCommands) -> Target:
        """The state of the selection, without reading the disk."""
        experiment_id = selection.experiment_id
        progress = services.follower.progress(run.id) if run is not None else None
        return cls(
            experiment_id,
            run,
            (services.follower.state(run.id) or run.state) if run is not None else None,
            services.launcher.stops().get(run.id) if run is not None else None,
            experiment_id is not None and commands.is_waiting(experiment_id),
            selection.study_id if experiment_id is None else None,
            progress is not None and progress.folder_missing,
        )


class Window(Protocol):
    """The part of the main window that actions use."""

    services: Services
    panels: dict[str, Panel]
    selection: Selection
    experiments: ExperimentsPanel
    run_commands: RunCommands
    experiment_commands: ExperimentCommands
    dialogs: Dialogs
    bar: MessageBar
    target: Target

    @property
    def status(self) -> QStatusBar: ...
    @property
    def panel_name(self) -> str: ...
    def show_panel(self, name: str) -> Panel: ...
    def use_run(self, name: str, run_id: int) -> None: ...
    def ensure_tree(self) -> None: ...
    def save_config(self) -> None: ...
    def refresh(self) -> None: ...
    def close(self) -> bool: ...


def has_experiment(window: Window) -> bool:
    """Whether an experiment is selected."""
    return window.target.experiment_id is not None


def has_run(window: Window) -> bool:
    """Whether there is a run to act on."""
    return window.target.run is not None
