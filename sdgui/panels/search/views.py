"""The evaluation and the map of the Search place: asked of the worker when they are shown, once for each collection."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from PySide6.QtCore import QObject

from sdgui.panels.search.layout import EVALUATION, MAP
from sdgui.panels.search.tabs.map import SHOWN
from sdgui.panels.search.work import SearchSession
from sdgui.widgets.late_parts import is_made
from sdgui.widgets.message import Remedy, error, warning
from sdgui.worker.replies import Cancelled, Failure
from sdgui.worker.verbs import SEARCH_COMPARE, SEARCH_EVALUATE, SEARCH_MAP, Comparison, Evaluation, Map

if TYPE_CHECKING:
    from sdgui.panels.search.panel import SearchPanel


class SearchViews(QObject):
    """``changed`` whenever another tab is shown or other models are opened."""

    def __init__(self, panel: SearchPanel, sessions: tuple[SearchSession, SearchSession]) -> None:
        super().__init__(panel)
        self._panel, self._sessions = panel, sessions
        self._judged: list[Mapping[str, Any] | None] = [None, None]
        panel.compare_asked.connect(self.compare)
        panel.map_wanted.connect(self._make_map)

    def opened(self, side: int) -> None:
        """This side has another collection: what was known of the one before is of no use."""
        self._judged[side] = None
        if side == 0 and is_made(self._panel, "map"):
            self._panel.map.clear()
        self.changed()

    def changed(self) -> None:
        """Ask for what the tab that is shown needs."""
        panel = self._panel
        if panel.tabs.currentIndex() == EVALUATION:
            for side, session in enumerate(self._sessions):
                if session.facts is None:
                    self._judged[side] = None
                elif self._judged[side] is None:
                    self._evaluate(side)
            self._show()
        elif panel.tabs.currentIndex() == MAP and panel.map.empty:
            self._make_map(panel.map.captions.isChecked())

    # The evaluation
    def _evaluate(self, side: int) -> None:
        def done(answer: Evaluation) -> None:
            self._panel.jobs.end(f"evaluate{side}")
            self._judged[side] = answer
            self._show(choose=True)

        self._sessions[side].ask(
            "evaluate", SEARCH_EVALUATE, done, self._failed(f"evaluate{side}", partial(self._evaluate, side))
        )

    def _show(self, choose: bool = False) -> None:
        panel = self._panel
        if self._judged[0] is None:
            return
        sides = [judged for judged in self._judged if judged is not None]
        panel.evaluation.show_sides(sides, [panel.source.name(side) for side in range(len(sides))])
        if choose and panel.query.query().empty and panel.evaluation.current() is None:
            panel.evaluation.choose_first()

    def compare(self, at: int) -> None:
        """The pairs that one model finds among its first ``at`` and the other misses."""
        panel = self._panel

        def done(answer: Comparison) -> None:
            panel.jobs.end("compare0")
            panel.evaluation.show_pairs(answer)

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
        panel = self._panel

        def done(answer: Map) -> None:
            panel.jobs.end("map0")
            panel.map.show_map(answer)

        self._sessions[0].ask(
            "map",
            SEARCH_MAP,
            done,
            self._failed("map0", partial(self._make_map, captions)),
            panel.map.show_map,
            shown=SHOWN,
            captions=captions,
        )

    def _failed(self, job: str, again: Callable[[], None]) -> Callable[[Failure], None]:
        def failed(failure: Failure) -> None:
            self._panel.jobs.end(job)
            if not isinstance(failure, Cancelled):
                remedy = Remedy("Try again", again)
                self._panel.show_message((error if failure.details else warning)(failure.text, failure.details, remedy))

        return failed
