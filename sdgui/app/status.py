"""The status bar: progress of the active runs and of the panels' tasks, and state of the workers."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from PySide6.QtCore import Qt, QTimer, Signal
from PySide6.QtWidgets import QSizePolicy, QStatusBar, QWidget

from core.spec.run.model_names import run_and_checkpoint
from core.spec.run.status import RunState
from sdgui.experiments.tree_model import ExperimentModel
from sdgui.shared.services import Services
from sdgui.widgets.elided_label import ElidedLabel
from sdgui.widgets.formats import count, duration, percent_done
from sdgui.widgets.icon_button import IconButton
from sdgui.widgets.plain_text import plain_tip
from sdgui.widgets.progress_strip import ProgressStrip
from sdgui.widgets.style.theme import SPACE
from sdgui.worker.pool import WorkerState

_BASKET = "Data fixes"
_MAX_LISTED = 4  # active runs that are listed by name
_MAX_WORKERS = 2  # listed workers, most recently used first; the tooltip lists all


class Status(QStatusBar):
    """Shows runs, workers and the basket's button. Status tips temporarily replace the first label."""

    basket_requested = Signal()

    def __init__(self, services: Services, model: ExperimentModel, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._services, self._model = services, model
        self._worker_runs: dict[str, int | None] = {}  # key of a worker -> id of the run that it opened
        self.runs = ElidedLabel("", self)
        self.worker = ElidedLabel("", self, role="small")
        self.worker.setAlignment(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
        self.setSizeGripEnabled(False)
        self.setContentsMargins(SPACE, 0, SPACE, 0)
        policy = self.runs.sizePolicy()
        policy.setRetainSizeWhenHidden(True)  # a status tip is shown in its place, and moves nothing
        self.runs.setSizePolicy(policy)
        # fixed shares, so that no text moves a cancel button
        self.addWidget(self.runs, 3)
        self.addPermanentWidget(self.worker, 3)
        self.basket = IconButton("ph.shopping-bag", _BASKET, "", "Basket", parent=self)
        self.basket.setFocusPolicy(Qt.FocusPolicy.NoFocus)  # not a Tab stop; it has a shortcut
        self.basket.clicked.connect(self.basket_requested)
        self.addPermanentWidget(self.basket)
        services.basket.changed.connect(self._show_basket)
        services.basket.read_count()
        services.follower.progress_changed.connect(self._schedule_update)
        services.follower.state_changed.connect(self._schedule_update)
        services.launcher.queue_changed.connect(self._schedule_update)
        services.studies.changed.connect(self._schedule_update)
        services.pool.state_changed.connect(self._show_workers)
        self._update_timer = QTimer(self, singleShot=True, interval=100)
        self._update_timer.timeout.connect(self.show_runs)
        self._show_workers()
        self.show_runs()

    def add_progress(self, strips: Iterable[ProgressStrip]) -> None:
        """Show the progress of a panel, whichever panel is current."""
        self.clearMessage()  # else Qt shows the hidden runs again, over the message
        for strip in strips:
            is_hidden = strip.isHidden()
            strip.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Preferred)  # never widens the window
            self.insertPermanentWidget(1, strip, 5)  # after the runs
            strip.setHidden(is_hidden)

    def _schedule_update(self) -> None:
        if not self._update_timer.isActive():
            self._update_timer.start()

    def show_runs(self) -> None:
        """Show active runs, such as ``2 running · clip · run 1: 62 %, 1 min 10 s left · clip · run 2: 5 %``."""
        parts, queued, running = [], 0, 0
        for run in self._model.runs():
            progress = self._services.follower.progress(run.id)
            state = progress.state if progress is not None else run.state
            queued += state == RunState.QUEUED
            if not state.alive or progress is None:
                continue
            remaining = f", {duration(progress.seconds_left)} left" if progress.seconds_left is not None else ""
            percent = f"{percent_done(progress.step, progress.total_steps)} %"
            position = percent if progress.total_steps else str(state)
            running += 1
            if running <= _MAX_LISTED:
                parts.append(f"{self._model.name(run.id)}: {position}{remaining}")
        texts = [f"{running} running", *parts] if running > 1 else parts
        texts += self._studies()
        self.runs.setText(" · ".join([*(texts or ["No active runs"]), *([f"{queued} queued"] if queued else [])]))

    def _studies(self) -> list[str]:
        """Texts such as ``study noise: 3 of 12 runs, 20 min left``, for each running study."""
        programs, texts = self._services.studies, []
        for study_id in programs.alive():
            snapshot = programs.snapshot(study_id)
            if snapshot is not None and snapshot.study is not None:
                remaining = f", {duration(snapshot.seconds_left)} left" if snapshot.seconds_left is not None else ""
                texts.append(f"study {snapshot.study.name}: {snapshot.done} of {len(snapshot.runs)} runs{remaining}")
        return texts

    def _show_basket(self, number: int) -> None:
        self.basket.setText(f"Basket · {count(number)}" if number else "Basket")
        fixes = "1 fix" if number == 1 else f"{count(number)} fixes"
        self.basket.set_tip(f"{_BASKET}: {fixes} (Ctrl+Shift+B)")

    def _worker_title(self, worker: WorkerState) -> str:
        """A run's name instead of the name of its folder, which contains its id."""
        if worker.key not in self._worker_runs:  # thousands of runs are searched once
            folder = run_and_checkpoint(worker.key)[0]
            ids = (run.id for run in self._model.runs() if folder and str(run.folder) == folder)
            self._worker_runs[worker.key] = next(ids, None)
        run_id = self._worker_runs[worker.key]
        return worker.title if run_id is None or self._model.run(run_id) is None else self._model.name(run_id)

    def _show_workers(self) -> None:
        """Show workers, such as ``worker: sd-clip demo · run 1 ready``; the tooltip lists all and why some crashed."""
        states = [replace(state, title=self._worker_title(state)) for state in self._services.pool.states()]
        listed = [state for number, state in enumerate(states) if number < _MAX_WORKERS or state.trouble]
        texts = [state.text for state in listed]
        self.worker.setText(f"worker: {' · '.join(texts)}" if texts else "worker: not started")
        details = [
            f"{state.text}\n{state.trouble}\n{state.details}" if state.trouble else state.text for state in states
        ]
        self.worker.setToolTip(plain_tip("\n".join(details)))
