"""Searches with the selected run as soon as it has a checkpoint.

Flow: *Search with this run*, changes of that run -> ``RunFollowing.follow`` -> source bar -> ``open_requested``.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from PySide6.QtCore import QObject, QTimer, Signal
from PySide6.QtWidgets import QWidget

from core.spec.run.status import RunState
from sdgui.panels.search.source import SourceBar
from sdgui.shared.services import Services
from sdgui.store.records import Run, StoreError
from sdgui.widgets.message import error, warning

_BATCH_MS = 250  # changes of the run within this time are combined


class RunFollowing(QObject):
    """Selects a run in the source bar once it has a checkpoint.

    ``selected_run_id``: the run last selected in this way. It is not selected again until ``use``, so that a model that
    the user chooses afterwards stays.
    """

    open_requested = Signal()  # open the target in the source bar
    nothing_to_open = Signal(str)  # the reason
    message_requested = Signal(object)  # Message

    def __init__(self, services: Services, source: SourceBar, panel: QWidget) -> None:
        """``panel``: the parent; while the panel is hidden, nothing is opened."""
        super().__init__(panel)
        self._services, self._source, self._panel = services, source, panel
        self._run: Run | None = None
        self.selected_run_id: int | None = None
        self._batch_timer = QTimer(self, singleShot=True, interval=_BATCH_MS)
        self._batch_timer.timeout.connect(self.follow)
        services.follower.state_changed.connect(self._on_run_changed)
        services.follower.progress_changed.connect(self._on_run_changed)

    def use(self, run_id: int) -> None:
        """Search with this run instead of the selected source."""
        self._read_run(lambda: self._services.store.run(run_id))
        self.selected_run_id = None
        self.follow()
        if self._run is not None and self.selected_run_id is None and self._has_model():
            search = "Until then, Search" if self._opens_later() else "Search still"
            text = f"{self._why_nothing()} {search} uses {self._source.name(0)}."
            self.message_requested.emit(warning(text))

    def begin(self) -> None:
        """If no model is selected, await the newest run, which ``follow`` selects.

        Without runs, select the included model.
        """
        if self.selected_run_id is None and not self._has_model():
            self._read_run(self._services.store.newest_run)
            if self._run is None:
                self._source.choose_included()

    def _read_run(self, read_run: Callable[[], Run | None]) -> None:
        try:
            self._run = read_run()
        except StoreError as problem:
            self._run = None
            self.message_requested.emit(error(str(problem)))

    def stop(self) -> None:
        """Stop following while another panel is shown."""
        self._batch_timer.stop()

    def follow(self) -> None:
        """Select a new run in the source bar once it has a checkpoint, and request to open it."""
        run, source = self._run, self._source
        if run is not None and run.id != self.selected_run_id:
            try:
                title = self._services.store.experiment(run.experiment_id).name
            except StoreError as problem:
                self.message_requested.emit(error(str(problem)))
            else:
                if source.show_run(run.id, Path(run.folder), title, self._state(run).alive):
                    self.selected_run_id = run.id
        self.open_requested.emit()
        if not self._has_model() and all(source.target(side) is None for side in (0, 1)):
            self.nothing_to_open.emit(self._why_nothing())

    def _has_model(self) -> bool:
        """Whether a model is chosen for the first of the two sides that can be compared."""
        return self._source.pickers[0].choice() is not None

    def _opens_later(self) -> bool:
        """Whether the run is expected to save a checkpoint."""
        return self._run is not None and self._state(self._run).alive and not self._run.folder_missing

    def _state(self, run: Run) -> RunState:
        return self._services.follower.state(run.id) or run.state

    def _why_nothing(self) -> str:
        if self._run is None:
            return "Launch a run to search with it after its first checkpoint, or choose a model and images above."
        if self._run.folder_missing:
            return f"The folder of this run, {self._run.folder}, no longer exists. Choose another model above."
        state = self._state(self._run)
        if state == RunState.QUEUED:
            return (
                "The run is queued. It opens here after its first checkpoint. You can also choose another model above."
            )
        if state.alive:
            return "The run has not saved a checkpoint yet. It opens here after its first checkpoint."
        return "This run ended before its first checkpoint. Choose another model above, or resume the run."

    def _on_run_changed(self, run_id: int) -> None:
        is_awaited = self._run is not None and run_id == self._run.id and run_id != self.selected_run_id
        if is_awaited and self._panel.isVisible() and not self._batch_timer.isActive():
            self._batch_timer.start()
