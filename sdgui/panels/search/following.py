"""Search follows the tree: the run that is chosen there is searched, once it has a checkpoint.

Flow: selection, news of runs -> a moment's rest -> ``RunFollowing.follow`` -> the place's source bar -> opened.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from PySide6.QtCore import QObject, QTimer

from core.spec.run.status import RunState
from sdgui.shared.services import Services
from sdgui.store.records import Run, StoreError
from sdgui.widgets.message import Message

if TYPE_CHECKING:
    from sdgui.panels.search.panel import SearchPanel

_SETTLE = 250  # ms before a newly chosen run is opened, so that walking through the tree opens none


class RunFollowing(QObject):
    """``run_id``: the run that was followed last. What the user picks instead stays until the tree chooses anew."""

    def __init__(self, panel: SearchPanel, services: Services) -> None:
        super().__init__(panel)
        self._panel, self._services = panel, services
        self._run: Run | None = None
        self.run_id: int | None = None
        self._settle = QTimer(self, singleShot=True, interval=_SETTLE)
        self._settle.timeout.connect(self.follow)
        services.tailer.state_changed.connect(lambda run, _state: self._news(run))
        services.tailer.progress_changed.connect(lambda run, _progress: self._news(run))

    def select(self, run_id: int | None) -> None:
        """The tree's current run, None for none."""
        try:
            self._run = self._services.store.run(run_id) if run_id is not None else None
        except StoreError as error:
            self._run = None
            self._panel.message_requested.emit(Message("error", str(error)))
        if self._panel.isVisible():
            self._settle.start()

    def stop(self) -> None:
        """The place is left."""
        self._settle.stop()

    def follow(self) -> None:
        """The tree's run is searched when it is another one than before and has a checkpoint; else what was."""
        run, panel = self._run, self._panel
        if run is not None and run.id != self.run_id:
            state = self._services.tailer.state(run.id) or run.state
            title = self._services.store.experiment(run.experiment_id).name
            if panel.source.show_run(run.id, Path(run.folder), title, state.alive):
                self.run_id = run.id
        panel.open(-1)
        if all(panel.source.target(side) is None for side in (0, 1)) and panel.source.pickers[0].choice() is None:
            panel.show_empty("No model to search with yet", self._why_nothing())

    def _why_nothing(self) -> str:
        if self._run is None:
            return (
                "Launch a run; when it has saved its first checkpoint, what it learnt is searched here. Or choose a "
                "model and pictures above."
            )
        state = self._services.tailer.state(self._run.id) or self._run.state
        if state == RunState.QUEUED:
            return "The run is queued. It can be searched here once it has a checkpoint; or choose a model above."
        if state.alive:
            return "The run has not saved a checkpoint yet. It opens here as soon as it has."
        return "This run ended before its first checkpoint. Choose another model above, or resume the run."

    def _news(self, run_id: int) -> None:
        waits = self._run is not None and run_id == self._run.id and run_id != self.run_id
        if waits and self._panel.isVisible() and not self._settle.isActive():
            self._settle.start()
