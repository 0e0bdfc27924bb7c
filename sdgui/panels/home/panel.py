"""Home: active, paused, finished and failed runs, and three ways to start.

Flow: store (in a thread) -> ``list_runs`` -> cards; the follower's progress -> the live cards; each run's events (in a
thread, every few seconds during training) -> ``RunPreview`` -> curve and images.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from PySide6.QtCore import QTimer
from PySide6.QtWidgets import QWidget

from core.spec.errors import UserError
from sdgui.panels.home.cards import RunCard
from sdgui.panels.home.model import HomeRuns, RunPreview, list_runs, spans
from sdgui.panels.home.view import HomeView
from sdgui.runs.background_tasks import BackgroundTasks
from sdgui.runs.live import RunProgress
from sdgui.runs.machines.remote_access import shown_samples
from sdgui.shared.own_data import own_data_config
from sdgui.shared.panel import Panel
from sdgui.shared.services import Services
from sdgui.shared.stored_json import parse_stored
from sdgui.store.records import Run
from sdgui.widgets.actions import Actions
from sdgui.widgets.drop_target import FileDrop
from sdgui.widgets.message import error

_BATCH_MS = 150  # changes within this time cause one update
_READ_INTERVAL_MS = 3000  # interval of reading the events of training runs
_DISMISSED = "home/dismissed"
_MAX_DISMISSED = 200  # dismissed failures that are remembered


class HomePanel(Panel):
    """Connects the cards with the store, the follower and the window."""

    def __init__(self, services: Services, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._services = services
        self._tasks = BackgroundTasks(self)
        self._listed = HomeRuns()
        self._listing = False  # a thread reads the store
        self._list_again = False  # something changed since that thread started
        self._reading = False  # a thread reads events
        self._previews: dict[int, RunPreview] = {}  # run id -> curve and images
        FileDrop(self, "Train on this folder or table").dropped.connect(self._define_from_data)
        self.view = HomeView(self)
        self.set_view(self.view)
        self._update_timer = QTimer(self, singleShot=True, interval=_BATCH_MS)
        self._update_timer.timeout.connect(self._list)
        self._read_timer = QTimer(self, interval=_READ_INTERVAL_MS)
        self._read_timer.timeout.connect(lambda: self._read(self._listed.live))
        self.view.card_made.connect(self._connect_card)
        follower = services.follower
        follower.state_changed.connect(self._schedule_update)
        follower.progress_changed.connect(self._on_progressed)
        services.launcher.queue_changed.connect(self._schedule_update)

    # The panel
    def set_actions(self, actions: Actions) -> None:
        self.view.set_actions(actions)

    def on_enter(self) -> None:
        self._read_timer.start()
        self._list()

    def on_leave(self) -> None:
        self._read_timer.stop()

    def refresh(self) -> None:
        self._schedule_update()

    def _define_from_data(self, path: str) -> None:
        """Create an experiment that trains on a folder or table of pairs."""
        try:
            self.new_experiment_requested.emit(own_data_config(Path(path)))
        except UserError as problem:
            self.message_requested.emit(error(str(problem)))

    # Listing
    def _schedule_update(self) -> None:
        if self.isVisible() and not self._update_timer.isActive():
            self._update_timer.start()

    def _list(self) -> None:
        """Read the store in a thread, and once more if something changes in the meantime."""
        self._list_again = self._listing
        if self._listing:
            return
        self._listing = True
        store, dismissed = self._services.store, self._dismissed()
        self._tasks.run(lambda: list_runs(store, dismissed), self._show, self._on_list_failed)

    def _on_list_failed(self, sentence: str) -> None:
        self._listing = False
        self.message_requested.emit(error(sentence))

    def _show(self, runs: HomeRuns) -> None:
        self._listing = False
        self._listed = runs
        self.view.show_runs(runs)
        for run_id, card in self.view.cards().items():
            card.show_progress(self._services.follower.progress(run_id))
        run_ids = {run.id for run in (*runs.live, *runs.done)}
        self._previews = {run_id: preview for run_id, preview in self._previews.items() if run_id in run_ids}
        self._show_previews()
        self._read((*runs.live, *runs.done))
        if self._list_again:
            self._list()

    def _on_progressed(self, run_id: int, progress: RunProgress) -> None:
        card = self.view.cards().get(run_id)
        if card is not None and self.isVisible():
            card.show_progress(progress)

    def _connect_card(self, card: RunCard) -> None:
        card.opened.connect(self.run_requested)
        card.search_requested.connect(lambda run_id: self.use_requested.emit("search", run_id))
        card.resume_requested.connect(self.resume_requested)
        card.edit_requested.connect(self.experiment_requested)
        card.dismissed.connect(self._dismiss)
        card.show_progress(self._services.follower.progress(card.run.id))
        if (preview := self._previews.get(card.run.id)) is not None:
            self._show_previews({card.run.id: preview})

    # Curves and images
    def _read(self, runs: Sequence[Run]) -> None:
        """Read the new events of these runs, in the thread."""
        if self._reading or not self.isVisible():
            return
        previous = self._previews
        previews = {run.id: previous.get(run.id) or self._make_preview(run) for run in runs if run.is_local}
        if not previews:
            return
        self._reading = True

        def read() -> dict[int, RunPreview]:
            return {run_id: preview for run_id, preview in previews.items() if preview.read()}

        self._tasks.run(read, lambda changed: self._on_read(previews, changed), lambda _: self._on_read({}, {}))

    def _make_preview(self, run: Run) -> RunPreview:
        home = self._services.store.home
        return RunPreview(run, lambda sample: shown_samples(home, run.dir, (sample,))[0])

    def _on_read(self, previews: dict[int, RunPreview], changed: dict[int, RunPreview]) -> None:
        self._reading = False
        self._previews |= previews
        self._show_previews(changed)

    def _show_previews(self, changed: dict[int, RunPreview] | None = None) -> None:
        for run_id, preview in (self._previews if changed is None else changed).items():
            card = self.view.live.get(run_id) or self.view.done.get(run_id)
            label = self._listed.labels.get(run_id)
            if card is not None and label is not None:
                card.show_preview(preview, label.color)
        for run_id, span in spans(self._previews).items():
            card = self.view.live.get(run_id) or self.view.done.get(run_id)
            if card is not None:
                card.curve.set_span(*span)

    # Dismissed failures
    def _dismissed(self) -> list[int]:
        run_ids = parse_stored(self._services.settings.value(_DISMISSED), list)
        return [run_id for run_id in run_ids if isinstance(run_id, int)]

    def _dismiss(self, run_id: int) -> None:
        run_ids = [*self._dismissed(), run_id][-_MAX_DISMISSED:]
        self._services.settings.setValue(_DISMISSED, json.dumps(run_ids))
        self._list()
