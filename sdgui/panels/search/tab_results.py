"""The evaluation and the map of Search, computed by the worker once per collection, when first shown.

Evaluations are saved in the store: after a restart, the last one is shown while the images are still being encoded.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from PySide6.QtCore import QObject

from sdgui.panels.search.layout import EVALUATION, SearchView
from sdgui.panels.search.tabs.map import MAX_POINTS
from sdgui.panels.search.work import SearchSession, Target, same_collection
from sdgui.shared.run_texts import when
from sdgui.shared.services import Services
from sdgui.store.local.panel_results import PanelResult
from sdgui.widgets.late_parts import is_made
from sdgui.widgets.message import Remedy, error, warning
from sdgui.worker.map_verbs import SEARCH_MAP, SEARCH_POINTS, Map
from sdgui.worker.replies import Cancelled, Failure
from sdgui.worker.verbs import SEARCH_COMPARE, SEARCH_EVALUATE, Comparison, Evaluation

_PANEL = "search"
_STORED_QUERIES = 200  # stored queries per direction


def _store_keys(target: Target) -> tuple[str, str]:
    """The keys of an evaluation in the store: model and collection."""
    return f"{target.model} {target.weights}".strip(), target.index or target.data or "held-out"


class TabResults(QObject):
    """Fills the evaluation and the map of ``view``; call ``request_visible`` after switching tabs or opening models."""

    def __init__(self, services: Services, view: SearchView, sessions: tuple[SearchSession, SearchSession]) -> None:
        super().__init__(view)
        self._services, self._view, self._sessions = services, view, sessions
        self._evaluations: list[Mapping[str, Any] | None] = [None, None]
        self._stored: list[PanelResult | None] = [None, None]  # stored evaluations, until new ones are computed
        view.compare_requested.connect(self.compare)
        view.map_wanted.connect(self._request_map)
        view.map_names_wanted.connect(self._request_names)

    def forget(self, side: int) -> None:
        """Drop the results of a side that changes its model or collection."""
        self._evaluations[side] = self._stored[side] = None
        if is_made(self._view, "evaluation"):
            self._show()
        if side == 0 and is_made(self._view, "map"):
            self._view.map.clear()

    def drop_outdated(self, side: int) -> None:
        """Drop outdated results after a side was opened, perhaps at a newer checkpoint."""
        self._evaluations[side] = None
        if side == 0 and is_made(self._view, "map"):
            self._view.map.clear()
        self.request_visible()

    def request_visible(self) -> None:
        """Request the evaluation if it is visible; the map requests its own data."""
        view = self._view
        if view.tabs.currentIndex() == EVALUATION:
            for side, session in enumerate(self._sessions):
                if session.facts is None:
                    self._evaluations[side] = None
                    self._load_stored(side)
                elif self._evaluations[side] is None:
                    self._evaluate(side)
            self._show()

    # The evaluation
    def _evaluate(self, side: int) -> None:
        def done(answer: Evaluation) -> None:
            self._view.jobs.end(f"evaluate{side}")
            self._evaluations[side], self._stored[side] = answer, None
            self._store(side, answer)
            self._show(choose=True)

        self._sessions[side].ask(
            "evaluate", SEARCH_EVALUATE, done, self._failure_handler(f"evaluate{side}", partial(self._evaluate, side))
        )

    def _show(self, choose: bool = False) -> None:
        """Show the evaluations; the second side's only if it searches the same data. ``choose``: select a query."""
        view = self._view
        is_stored = self._stored[0] is not None and self._evaluations[0] is None
        answers = (
            [result.content for result in self._stored if result is not None] if is_stored else list(self._evaluations)
        )
        comparable = is_stored or same_collection(self._sessions)
        shown = [answer for side, answer in enumerate(answers) if answer is not None and (side == 0 or comparable)]
        if answers[0] is None:
            shown = []
        names = [view.source.short_name(side) for side in range(len(shown))]
        evaluated_at = when(self._stored[0].made) if is_stored and self._stored[0] is not None else ""
        view.evaluation.show_sides(shown, names, evaluated_at)
        if not shown:
            return
        if is_stored:
            view.show_work()
        if choose and view.query.query().empty and view.evaluation.current() is None:
            view.evaluation.choose_first()

    # Stored evaluations
    def _store(self, side: int, answer: Evaluation) -> None:
        if (target := self._sessions[side].target) is not None:
            subject, data = _store_keys(target)
            content: dict[str, Any] = {**answer}
            for direction in ("text_to_image", "image_to_text"):
                content[direction] = content[direction][:_STORED_QUERIES]
            store = self._services.store
            self._services.writer.submit(lambda: store.save_result(_PANEL, subject, data, content))

    def _load_stored(self, side: int) -> None:
        """Load the last evaluation of a side that is opening; the second side's only if it has the same data."""
        target, first = self._sessions[side].target, self._sessions[0].target
        if target is None or first is None or self._stored[side] is not None:
            return
        if side == 1 and (target.collection != first.collection or (not target.data and target.model != first.model)):
            return
        subject, data = _store_keys(target)
        store = self._services.store

        def done(result: PanelResult | None) -> None:
            session = self._sessions[side]
            if result is not None and session.target == target and session.facts is None:
                self._stored[side] = result
                self._show()

        problem = SEARCH_EVALUATE.problem
        self._services.writer.submit(lambda: store.last_result(_PANEL, subject, data, problem), done)

    def compare(self, k: int) -> None:
        """Request the pairs that only one model finds within its first ``k`` results."""
        view, (first, second) = self._view, self._sessions
        keys = first.key, second.key

        def done(answer: Comparison) -> None:
            view.jobs.end("compare0")
            if (first.key, second.key) == keys:  # opening the second model does not drop the first one's request
                view.evaluation.show_pairs(answer)

        if first.facts is not None and second.facts is not None:
            first.ask_without_key(
                "compare",
                SEARCH_COMPARE,
                done,
                self._failure_handler("compare0", partial(self.compare, k)),
                a=first.key,
                b=second.key,
                k=k,
            )

    # The map
    def _request_map(self, captions: bool) -> None:
        view = self._view

        def done(answer: Map) -> None:
            view.jobs.end("map0")
            view.map.show_map(answer)

        self._sessions[0].ask(
            "map",
            SEARCH_MAP,
            done,
            self._failure_handler("map0", partial(self._request_map, captions)),
            view.map.show_map,
            shown=MAX_POINTS,
            captions=captions,
            packed=True,
        )

    def _request_names(self, purpose: str, rows: list[int], texts: list[int]) -> None:
        """Request the names of points of a large map."""
        view = self._view

        def done(answer: Mapping[str, Any]) -> None:
            view.jobs.end(f"{purpose}0")
            view.map.show_names(answer)

        self._sessions[0].ask(
            purpose,
            SEARCH_POINTS,
            done,
            self._failure_handler(f"{purpose}0", partial(self._request_names, purpose, rows, texts)),
            rows=rows,
            texts=texts,
        )

    def _failure_handler(self, job: str, retry: Callable[[], None]) -> Callable[[Failure], None]:
        def failed(failure: Failure) -> None:
            self._view.jobs.end(job)
            if not isinstance(failure, Cancelled):
                remedy = Remedy("Try again", retry)
                self._view.bar.show_message(
                    (error if failure.details else warning)(failure.text, failure.details, remedy)
                )

        return failed
