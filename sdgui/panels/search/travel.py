"""Time travel in Search: the current query and the map at every saved step of a run, student next to teacher.

Flow: slider -> ``SourceBar.go_to_step`` -> both sessions open that step (one worker for all steps of a run) -> the
query runs again; then the neighbouring steps are opened in advance. Moving to another step drops these requests.
"""

from __future__ import annotations

from pathlib import Path

from PySide6.QtCore import QObject

from core.spec.run.model_names import run_and_checkpoint
from sdgui.panels.search.layout import SearchView
from sdgui.panels.search.queries import SearchQueries
from sdgui.panels.search.work import SearchSession
from sdgui.shared.export.formats import free_path
from sdgui.shared.failures import failure_message
from sdgui.shared.services import Services
from sdgui.widgets.file_dialogs import ask_save
from sdgui.widgets.message import info
from sdgui.worker.calls import WorkerCalls
from sdgui.worker.replies import Failure
from sdgui.worker.verbs import SEARCH_OPEN, SEARCH_TRAVEL, TravelSaved

OPEN_AHEAD = "ahead"  # purpose of requests that open a step in advance


class SearchTravel(QObject):
    """Controls the slider of ``view``, which is shown if the first model's run has several checkpoints."""

    def __init__(
        self,
        services: Services,
        view: SearchView,
        sessions: tuple[SearchSession, SearchSession],
        queries: SearchQueries,
        parent: QObject,
    ) -> None:
        super().__init__(parent)
        self._travel, self._view, self._sessions, self._queries = services.time_travel, view, sessions, queries
        self._pool = services.pool
        self._saving: WorkerCalls | None = None
        self._run: Path | None = None
        view.time.moved.connect(self._follow_slider)
        view.time.export_requested.connect(self.ask_where)
        self._travel.moved.connect(self._follow_other_panel)

    def follow(self) -> None:
        """Offer the steps of the chosen model's run."""
        source, slider = self._view.source, self._view.time
        run, steps = source.run(), source.pickers[0].steps()
        self._run = run if len(steps) > 1 else None
        slider.setVisible(self._run is not None)
        if self._run is not None:
            step = source.pickers[0].step()
            if (slider.steps, slider.step()) != (steps, step):
                slider.set_steps(steps, step)

    def open_neighbours(self) -> None:
        """Open the neighbouring steps in advance, nearest first, once both sides are open."""
        opening = any(session.opening for session in self._sessions)
        travelled = [session for session in self._sessions if session.target is not None and session.target.worker]
        if not opening and self._run is not None and travelled:
            self._open_in_advance([(session, step) for step in self._view.time.neighbours() for session in travelled])

    def _open_in_advance(self, pending: list[tuple[SearchSession, int]]) -> None:
        """Open ``pending`` one after another; stops at a failure, which is reported when the user moves to the step."""
        if not pending or self._run is None:
            return
        (session, step), later = pending[0], pending[1:]
        if (target := session.target) is not None:
            session.ask_without_key(
                OPEN_AHEAD,
                SEARCH_OPEN,
                lambda _facts: self._open_in_advance(later),
                lambda _failure: None,
                model=f"{self._run}@{step}",
                weights=target.weights,
                data=target.data,
                index="",
            )

    def _follow_slider(self, step: int) -> None:
        if self._run is not None:
            self._show_step(step)
            self._travel.go(self._run, step)

    def _follow_other_panel(self, run: Path, step: int) -> None:
        """Go to the step of this run that another panel shows."""
        slider = self._view.time
        if run == self._run and slider.steps and slider.step() != step:
            slider.set_steps(slider.steps, step)
            if self._view.isVisible():
                self._show_step(slider.step())

    def _show_step(self, step: int) -> None:
        for session in self._sessions:
            session.drop(OPEN_AHEAD)
        self._view.source.go_to_step(step)

    # Export
    def ask_where(self) -> None:
        """Choose a file and save the results of every step as an animated image."""
        if self._run is None:
            return
        if self._queries.query.empty:
            self._view.bar.show_message(info("Run a search first. Its results are then saved for each step."))
            return
        start = free_path(self._run.parent / "steps.webp")
        if file := ask_save(self._view, "Save the steps", start, "Animated images (*.webp)", ".webp"):
            self.save(file.path)

    def save(self, path: Path) -> None:
        """Save the results of the current query at every step, both models side by side, to ``path``."""
        first = self._sessions[0]
        if self._run is None or first.target is None:
            return
        targets = [session.target for session in self._sessions if session.target is not None]
        run_targets = [target for target in targets if run_and_checkpoint(target.model)[0] == str(self._run)]
        weights = list(dict.fromkeys(target.weights for target in run_targets))
        query = self._queries.query.request(True)
        if self._saving is not None:
            self._saving.close()
        # Separate calls, since a session drops its calls when it opens another step.
        self._saving = WorkerCalls(self._pool.client(str(self._run)), self)
        self._saving.progress.connect(self._show_progress)
        self._saving.ask(
            "travel",
            SEARCH_TRAVEL,
            self._show_saved,
            self._show_failure,
            None,
            run=str(self._run),
            steps=list(self._view.time.steps),
            weights=weights,
            data=first.target.data,
            query=query,
            title=self._queries.query.title,
            to=str(path),
        )

    def _show_progress(self, purpose: str, activity: str, completed: int, total: int) -> None:
        if self._saving is not None:
            calls = self._saving
            self._view.jobs.advance("travel0", activity, completed, total, lambda: calls.cancel(purpose))

    def _show_saved(self, answer: TravelSaved) -> None:
        self._view.jobs.end("travel0")
        self._view.bar.show_message(info(f"{answer['frames']} steps saved as {answer['path']}."))

    def _show_failure(self, failure: Failure) -> None:
        self._view.jobs.end("travel0")
        self._view.bar.show_message(failure_message(failure, "Saving was cancelled."))
