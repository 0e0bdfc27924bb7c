"""The evaluation and the map of Search: computed by the worker when they are first shown, once per collection.

Evaluations are kept in the store: after a restart the last one is shown while its pictures are still being encoded.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from PySide6.QtCore import QObject

from sdgui.panels.search.layout import EVALUATION, SearchView
from sdgui.panels.search.tabs.map import SHOWN
from sdgui.panels.search.work import SearchSession, Target, same_collection
from sdgui.shared.run_texts import when
from sdgui.shared.services import Services
from sdgui.store.own.panel_results import PanelResult
from sdgui.widgets.late_parts import is_made
from sdgui.widgets.message import Remedy, error, warning
from sdgui.worker.map_verbs import SEARCH_MAP, SEARCH_POINTS, Map
from sdgui.worker.replies import Cancelled, Failure
from sdgui.worker.verbs import SEARCH_COMPARE, SEARCH_EVALUATE, Comparison, Evaluation

_PANEL = "search"
_KEPT = 200  # queries each way


def _names(target: Target) -> tuple[str, str]:
    """What an evaluation is kept under: the model, and the pictures."""
    return f"{target.model} {target.weights}".strip(), target.index or target.data or "held-out"


class TabResults(QObject):
    """Fills the evaluation and the map of ``view``; call ``changed`` when another tab is shown or models are opened."""

    def __init__(self, services: Services, view: SearchView, sessions: tuple[SearchSession, SearchSession]) -> None:
        super().__init__(view)
        self._services, self._view, self._sessions = services, view, sessions
        self._evaluations: list[Mapping[str, Any] | None] = [None, None]
        self._kept: list[PanelResult | None] = [None, None]  # of earlier times, until there is a new one
        view.compare_asked.connect(self.compare)
        view.map_wanted.connect(self._make_map)
        view.map_names_wanted.connect(self._name_points)

    def forget(self, side: int) -> None:
        """This side is of another model or other pictures: nothing that was found of those before stays."""
        self._evaluations[side] = self._kept[side] = None
        if is_made(self._view, "evaluation"):
            self._show()
        if side == 0 and is_made(self._view, "map"):
            self._view.map.clear()

    def opened(self, side: int) -> None:
        """This side is open, perhaps at a newer checkpoint."""
        self._evaluations[side] = None
        if side == 0 and is_made(self._view, "map"):
            self._view.map.clear()
        self.changed()

    def changed(self) -> None:
        """Ask for the evaluation while it is shown; the map asks by itself."""
        view = self._view
        if view.tabs.currentIndex() == EVALUATION:
            for side, session in enumerate(self._sessions):
                if session.facts is None:
                    self._evaluations[side] = None
                    self._recall(side)
                elif self._evaluations[side] is None:
                    self._evaluate(side)
            self._show()

    # The evaluation
    def _evaluate(self, side: int) -> None:
        def done(answer: Evaluation) -> None:
            self._view.jobs.end(f"evaluate{side}")
            self._evaluations[side], self._kept[side] = answer, None
            self._keep(side, answer)
            self._show(choose=True)

        self._sessions[side].ask(
            "evaluate", SEARCH_EVALUATE, done, self._failed(f"evaluate{side}", partial(self._evaluate, side))
        )

    def _show(self, choose: bool = False) -> None:
        """The first side, and beside it the second one where it is over the same data."""
        view = self._view
        kept = self._kept[0] is not None and self._evaluations[0] is None
        found = [one.content for one in self._kept if one is not None] if kept else list(self._evaluations)
        comparable = kept or same_collection(self._sessions)
        sides = [one for side, one in enumerate(found) if one is not None and (side == 0 or comparable)]
        if found[0] is None:
            sides = []
        names = [view.source.short_name(side) for side in range(len(sides))]
        made = when(self._kept[0].made) if kept and self._kept[0] is not None else ""
        view.evaluation.show_sides(sides, names, made)
        if not sides:
            return
        if kept:
            view.show_work()
        if choose and view.query.query().empty and view.evaluation.current() is None:
            view.evaluation.choose_first()

    # Keeping
    def _keep(self, side: int, answer: Evaluation) -> None:
        if (target := self._sessions[side].target) is not None:
            subject, data = _names(target)
            hardest = {
                "text_to_image": answer["text_to_image"][:_KEPT],
                "image_to_text": answer["image_to_text"][:_KEPT],
            }
            content = {**answer, **hardest}
            store = self._services.store
            self._services.writer.submit(lambda: store.keep_result(_PANEL, subject, data, content))

    def _recall(self, side: int) -> None:
        """The last evaluation of what is being opened; both sides' only where they are of one run or one source."""
        target, first = self._sessions[side].target, self._sessions[0].target
        if target is None or first is None or self._kept[side] is not None:
            return
        if side == 1 and (target.collection != first.collection or (not target.data and target.model != first.model)):
            return
        subject, data = _names(target)
        store = self._services.store

        def read() -> PanelResult | None:
            found = store.last_result(_PANEL, subject, data)
            return found if found is not None and not SEARCH_EVALUATE.problem(found.content) else None

        def recalled(found: PanelResult | None) -> None:
            session = self._sessions[side]
            if found is not None and session.target == target and session.facts is None:
                self._kept[side] = found
                self._show()

        self._services.writer.submit(read, recalled)

    def compare(self, at: int) -> None:
        """The pairs that one model finds among its first ``at`` and the other misses."""
        view = self._view

        def done(answer: Comparison) -> None:
            view.jobs.end("compare0")
            view.evaluation.show_pairs(answer)

        first, second = self._sessions
        if first.facts is not None and second.facts is not None:
            first.ask_plain(
                "compare",
                SEARCH_COMPARE,
                done,
                self._failed("compare0", partial(self.compare, at)),
                a=first.key,
                b=second.key,
                at=at,
            )

    # The map
    def _make_map(self, captions: bool) -> None:
        view = self._view

        def done(answer: Map) -> None:
            view.jobs.end("map0")
            view.map.show_map(answer)

        self._sessions[0].ask(
            "map",
            SEARCH_MAP,
            done,
            self._failed("map0", partial(self._make_map, captions)),
            view.map.show_map,
            shown=SHOWN,
            captions=captions,
            packed=True,
        )

    def _name_points(self, rows: list[int], texts: list[int]) -> None:
        """Of a large map, what the points under the mouse or in the lasso are."""
        page = self._view.map
        self._sessions[0].ask(
            "point" if len(rows) == 1 else "points",  # the mouse moves on while a lasso is answered
            SEARCH_POINTS,
            page.show_names,
            self._failed("points0", lambda: page.names_wanted.emit(rows, texts)),
            rows=rows,
            texts=texts,
        )

    def _failed(self, job: str, again: Callable[[], None]) -> Callable[[Failure], None]:
        def failed(failure: Failure) -> None:
            self._view.jobs.end(job)
            if not isinstance(failure, Cancelled):
                remedy = Remedy("Try again", again)
                self._view.show_message((error if failure.details else warning)(failure.text, failure.details, remedy))

        return failed
