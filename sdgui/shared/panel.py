"""The interface of every panel; the main window knows panels only through it.

Flow: ``__main__`` makes the ``Services``; the tree of experiments makes a ``Selection``, which goes to the panels that
have the tree beside them and to no other. What any other panel works with stands in its own head, and is changed there
or by an action that says so (*Search with this run* -> ``use_run``). A panel is built when it is first needed, so that
the window opens before heavy libraries load.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from typing import Literal

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QVBoxLayout, QWidget

from core.spec.config import RunConfig
from sdgui.shared.services import Selection, Services
from sdgui.widgets.actions import Actions, MenuItem

Group = Literal["Home", "Train", "Use"]  # the sections of the rail, in this order; Home has no heading


class Panel(QWidget):
    """One panel of the rail. ``message_requested`` asks the window's message bar to show a message."""

    message_requested = Signal(object)  # Message
    define_requested = Signal(object)  # RunConfig: make an experiment of it and show it
    run_requested = Signal(int)  # run id: choose it, and show it in Runs
    experiment_requested = Signal(int)  # experiment id: choose it, and show it in Define
    resume_requested = Signal(object)  # Run: resume it, and show it in Runs
    use_requested = Signal(str, int)  # a panel's name, run id: show that panel with this run
    select_requested = Signal(int)  # run id: make it the current run
    export_requested = Signal(object)  # ModelChoice: save it as a model
    ticks_requested = Signal(object)  # frozenset of run ids: tick these runs and no others
    source_requested = Signal(str, str)  # a panel's name, a source: show that panel with these data
    changed = Signal(object)  # Changes that the panel has written to the store
    saved = Signal(bool)  # all typed text was processed; True if all of it was written

    def set_view(self, view: QWidget) -> None:
        """Fill the panel with ``view``; the panel itself is the controller."""
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(view)

    def select(self, selection: Selection) -> None:
        """Another experiment, run or set of ticks in the tree; called only where ``PanelSpec.tree`` is set."""

    def use_run(self, run_id: int) -> None:
        """Make this run the panel's model, at the user's request; nothing else calls it."""

    def ask_model(self) -> None:
        """Open the panel's choice of a model."""

    def set_actions(self, actions: Actions) -> None:
        """Take the buttons that the panel needs from the window's actions."""

    def focus_search(self) -> None:
        """Put the cursor into the panel's search box."""

    def show_source(self, source: str, query: str = "") -> None:
        """Show these data: a file, a folder or shards. Search then searches them for ``query``."""

    def on_enter(self) -> None:
        """The panel has become the current one."""

    def on_leave(self) -> None:
        """Another panel is shown, or the window closes; edits must not be lost."""

    def is_saving(self) -> bool:
        """Whether edits are being written; ``saved`` follows, and the window waits for it before closing."""
        return False

    def refresh(self) -> None:
        """Names, tags or the list of runs changed in the store."""


class DefiningPanel(Panel):
    """The panel in which an experiment is defined, as actions and the window know it."""

    edited = Signal(int)  # experiment id: its config in the store changed

    def save(self) -> bool:
        """Submit the edits; returns whether they were valid."""
        raise NotImplementedError

    def ready_to_launch(self) -> bool:
        """Save; when a field is wrong, show why, go to the first one and return False."""
        raise NotImplementedError

    def config(self, experiment_id: int) -> RunConfig | None:
        """The form's config of this experiment; None when another one or a run's frozen config is shown."""
        raise NotImplementedError

    def refuse(self, problems: dict[str, str]) -> None:
        """Show why the experiment cannot be launched, at its fields; they count as problems until they are edited."""
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
    menus: tuple[MenuItem, ...] = ()  # context menus that lead to it
    keys: tuple[tuple[str, str], ...] = ()  # keys that it handles itself and their effects, for the shortcut list
    tree: bool = False  # whether the tree of experiments is shown beside it
    launches: bool = False  # whether an experiment is launched from it
    use: str = ""  # the title of the action that uses the current run there, "" where none does

    def build(self, services: Services, parent: QWidget | None = None) -> Panel:
        """Import the panel's code and create it in ``parent``, so that its parts are styled only once."""
        panel = getattr(import_module(self.module), self.panel)(services, parent)
        if not isinstance(panel, Panel):
            raise TypeError(f"{self.module}.{self.panel} is not a Panel")
        return panel
