"""Time travel in Search: the same query, and the map, at every kept step of a run, student beside teacher.

Flow: slider -> ``SourceBar.go_to_step`` -> both sessions open that step (one worker for all steps of a run) -> the
query runs again; then the steps beside it are opened ahead. Another step drops what is not needed any more.
"""

from __future__ import annotations

from pathlib import Path

from PySide6.QtCore import QObject
from PySide6.QtWidgets import QFileDialog

from sdgui.panels.search.layout import SearchView
from sdgui.panels.search.queries import SearchQueries
from sdgui.panels.search.work import SearchSession
from sdgui.shared.export.formats import free_path
from sdgui.shared.services import Services
from sdgui.widgets.message import error, info
from sdgui.worker.calls import WorkerCalls
from sdgui.worker.replies import Cancelled, Failure
from sdgui.worker.verbs import SEARCH_OPEN, SEARCH_TRAVEL, SearchOpened, TravelSaved

AHEAD = "ahead"  # the purpose of opening a step before it is asked for


class SearchTravel(QObject):
    """Controls the slider of ``view``; it is there where the first model is of a run with several checkpoints."""

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
        view.time.moved.connect(self._moved)
        view.time.export_asked.connect(self.ask_where)
        self._travel.moved.connect(self._moved_elsewhere)

    def follow(self) -> None:
        """The chosen model may have changed: offer the steps of its run."""
        source, slider = self._view.source, self._view.time
        run, steps = source.run(), source.pickers[0].steps()
        self._run = run if len(steps) > 1 else None
        slider.setVisible(self._run is not None)
        if self._run is not None:
            chosen = source.pickers[0].step()
            if (slider.steps, slider.step()) != (steps, chosen):
                slider.set_steps(steps, chosen)
        slider.set_busy(any(session.opening for session in self._sessions))

    def opened(self) -> None:
        """A side is open: when both are, open the steps beside this one ahead, nearest first."""
        opening = any(session.opening for session in self._sessions)
        self._view.time.set_busy(opening)
        travelled = [session for session in self._sessions if session.target is not None and session.target.worker]
        if not opening and self._run is not None and travelled:
            self._ahead([(session, step) for step in self._view.time.neighbours() for session in travelled])

    def _ahead(self, left: list[tuple[SearchSession, int]]) -> None:
        """Open the first of ``left``, then the others; a failure ends it, as going there will say why."""
        if not left or self._run is None:
            return
        (session, step), rest = left[0], left[1:]
        target = session.target
        if target is None:
            return

        def done(_facts: SearchOpened) -> None:
            self._ahead(rest)

        def failed(_failure: Failure) -> None:
            return

        model = f"{self._run}@{step}"
        session.ask_plain(
            AHEAD, SEARCH_OPEN, done, failed, model=model, weights=target.weights, data=target.data, index=""
        )

    def _moved(self, step: int) -> None:
        if self._run is not None:
            self._go(step)
            self._travel.go(self._run, step)

    def _moved_elsewhere(self, run: Path, step: int) -> None:
        """Another panel looks at a step of this run."""
        slider = self._view.time
        if run == self._run and slider.steps and slider.step() != step:
            slider.set_steps(slider.steps, step)
            if self._view.isVisible():
                self._go(slider.step())

    def _go(self, step: int) -> None:
        for session in self._sessions:
            session.drop(AHEAD)
        self._view.time.set_busy(True)
        self._view.source.go_to_step(step)

    # Export
    def ask_where(self) -> None:
        """Choose a file, and save what every step finds as an animated picture."""
        if self._run is None:
            return
        if self._queries.asked.empty:
            self._view.show_message(info("Search for something first: what each step finds is saved."))
            return
        start = free_path(self._run.parent / "steps.webp")
        found, _ = QFileDialog.getSaveFileName(self._view, "Save the steps", str(start), "Animated pictures (*.webp)")
        if found:
            self.save(Path(found if found.lower().endswith(".webp") else f"{found}.webp"))

    def save(self, to: Path) -> None:
        """Draw the results of the current query at every step, side by side, into ``to``."""
        first = self._sessions[0]
        if self._run is None or first.target is None:
            return
        self._view.time.play.setChecked(False)
        targets = [session.target for session in self._sessions if session.target is not None]
        own = [one for one in targets if one.model.rpartition("@")[0] == str(self._run)]
        weights = list(dict.fromkeys(one.weights for one in own))
        query = self._queries.asked.request(True)
        if self._saving is not None:
            self._saving.close()
        # Its own calls: those of a session are dropped when it opens another step.
        self._saving = WorkerCalls(self._pool.client(str(self._run)), self)
        self._saving.progress.connect(self._drawing)
        self._saving.ask(
            "travel",
            SEARCH_TRAVEL,
            self._saved,
            self._not_saved,
            None,
            run=str(self._run),
            steps=list(self._view.time.steps),
            weights=weights,
            data=first.target.data,
            query=query,
            title=self._queries.asked.title,
            to=str(to),
        )

    def _drawing(self, purpose: str, doing: str, done: int, total: int) -> None:
        if self._saving is not None:
            calls = self._saving
            self._view.jobs.advance("travel0", doing, done, total, lambda: calls.cancel(purpose))

    def _saved(self, found: TravelSaved) -> None:
        self._view.jobs.end("travel0")
        self._view.show_message(info(f"{found['frames']} steps are saved as {found['path']}."))

    def _not_saved(self, failure: Failure) -> None:
        self._view.jobs.end("travel0")
        told = info("Saving was cancelled.") if isinstance(failure, Cancelled) else error(failure.text, failure.details)
        self._view.show_message(told)
