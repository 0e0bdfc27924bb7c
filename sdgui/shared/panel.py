"""The interface of every panel; the main window knows panels only through it.

Flow: ``__main__`` makes the ``Services``; the tree of experiments makes a ``Selection``, which is passed only to
panels next to the tree. Other panels show their model or data in their header, where the user changes it, or an
explicit action does (*Search with this run* -> ``use_run``). A panel is built when it is first needed, so that the
window opens before heavy libraries are loaded.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Literal

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QWidget

from core.spec.config import RunConfig
from sdgui.shared.pickers.entries import ModelChoice
from sdgui.shared.services import Selection, Services
from sdgui.widgets.actions import Actions, MenuItem
from sdgui.widgets.layouts.boxes import vbox
from sdgui.widgets.progress_strip import ProgressStrip

Group = Literal["Home", "Train", "Use"]  # the sections of the rail, in this order; Home has no heading


class Panel(QWidget):
    """One panel of the rail. ``message_requested`` asks the window's message bar to show a message."""

    message_requested = Signal(object)  # Message
    new_experiment_requested = Signal(object)  # RunConfig: create an experiment from it, and show it
    run_requested = Signal(int)  # run id: choose it, and show it in Runs
    experiment_requested = Signal(int)  # experiment id: choose it, and show it in Define
    resume_requested = Signal(object)  # Run: resume it, and show it in Runs
    use_requested = Signal(str, int)  # a panel's name, run id: show that panel with this run
    model_requested = Signal(str, object)  # a panel's name, ModelChoice: show that panel with this model
    select_requested = Signal(int)  # run id: make it the current run
    export_requested = Signal(object)  # ModelChoice: save it as a model
    ticks_requested = Signal(object)  # frozenset of run ids: tick these runs and no others
    source_requested = Signal(str, str)  # a panel's name, a source: show that panel with this data
    changed = Signal(object)  # Changes that the panel has written to the store
    saved = Signal(bool)  # edits have been processed; True if all were written
    progress: Sequence[ProgressStrip] = ()  # shown in the window's status bar

    def set_view(self, view: QWidget) -> None:
        """Fill the panel with ``view``; the panel itself is the controller."""
        vbox(view, into=self)

    def select(self, selection: Selection) -> None:
        """Apply a changed selection in the tree; called only if ``PanelSpec.shows_tree`` is set."""

    def use_run(self, run_id: int) -> None:
        """Use this run as the panel's model, or show its curves in Runs; called only at the user's request."""

    def use_model(self, choice: ModelChoice) -> None:
        """Use this model; called only at the user's request."""

    def ask_model(self) -> None:
        """Open the panel's choice of a model."""

    def set_actions(self, actions: Actions) -> None:
        """Add buttons for the window's actions that the panel needs."""

    def focus_search(self) -> None:
        """Put the cursor in the panel's search box."""

    def show_source(self, source: str, query: str = "") -> None:
        """Show the data in a file, folder or shards. The Search panel then searches it for ``query``."""

    def on_enter(self) -> None:
        """The panel has become the current one."""

    def on_leave(self) -> None:
        """The user leaves the panel, or the window closes; edits must not be lost."""

    def is_saving(self) -> bool:
        """Whether edits are being written; ``saved`` follows, and the window waits for it before closing."""
        return False

    def refresh(self) -> None:
        """Reload names, tags and runs after a change of the store."""


class DefiningPanel(Panel):
    """The interface of Define for actions and the window."""

    edited = Signal(int)  # experiment id: its config in the store changed

    def save(self) -> bool:
        """Submit the edits; returns whether they were valid."""
        raise NotImplementedError

    def ready_to_launch(self) -> bool:
        """Save; if a field is invalid, show the error, go to it and return False."""
        raise NotImplementedError

    def config(self, experiment_id: int) -> RunConfig | None:
        """The form's config of this experiment; None if another experiment or a run's frozen config is shown."""
        raise NotImplementedError

    def refuse(self, problems: dict[str, str]) -> None:
        """Show at its fields why the experiment cannot be launched, until the fields are edited."""
        raise NotImplementedError


@dataclass(frozen=True)
class PanelSpec:
    """A row of the table of panels: everything known about a panel before it is built."""

    name: str
    title: str
    group: Group
    icon: str
    shortcut: str
    tip: str
    module: str
    panel: str
    menus: tuple[MenuItem, ...] = ()  # context menus that open the panel
    keys: tuple[tuple[str, str], ...] = ()  # keys handled by the panel and their effects, for the shortcut list
    shows_tree: bool = False  # whether the tree of experiments is shown next to the panel
    launches: bool = False  # whether an experiment is launched from it
    use: str = ""  # title of the action that uses the current run in the panel, "" for none

    def build(self, services: Services, parent: QWidget | None = None) -> Panel:
        """Import the panel's code and create it in ``parent``, so that its parts are styled only once."""
        panel = getattr(import_module(self.module), self.panel)(services, parent)
        if not isinstance(panel, Panel):
            raise TypeError(f"{self.module}.{self.panel} is not a Panel")
        return panel
