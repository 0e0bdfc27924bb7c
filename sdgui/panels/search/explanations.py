"""*Why this match?*: explains the selected image's match with the words, for each open model.

Flow: W on an image, a new query, image or model -> ``search_why`` of each session -> the sides' ``WhyView``.
A newer request for a side cancels the older one.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from PySide6.QtCore import QObject, QTimer

from sdgui.panels.search.model import Query
from sdgui.panels.search.query.bar import SearchBar
from sdgui.panels.search.reporting import Jobs
from sdgui.panels.search.side import SearchSide
from sdgui.panels.search.work import WHY, SearchSession
from sdgui.widgets.late_parts import is_made
from sdgui.worker.replies import Cancelled, Failure
from sdgui.worker.verbs import SEARCH_WHY, Why

_TYPING_PAUSE_MS = 60


class Explanations(QObject):
    """Fills the ``why`` of ``sides``. ``selected_path`` returns the selected image; "" if there is none."""

    def __init__(
        self,
        query: SearchBar,
        sides: tuple[SearchSide, SearchSide],
        sessions: tuple[SearchSession, SearchSession],
        jobs: Jobs,
        selected_path: Callable[[], str],
    ) -> None:
        super().__init__(query)
        self._query, self._sides, self._sessions, self._jobs = query, sides, sessions, jobs
        self._selected_path = selected_path
        self._path = ""  # the explained image, kept while the user types
        self.on = False  # whether explanations are shown
        self._typing_timer = QTimer(self, singleShot=True, interval=_TYPING_PAUSE_MS)
        self._typing_timer.timeout.connect(self._ask_all)
        query.changed.connect(self._on_changed)
        for number, (side, session) in enumerate(zip(sides, sessions, strict=True)):
            side.why_requested.connect(self.toggle)
            session.collection_opened.connect(lambda _facts, number=number: self._ask(number))

    def toggle(self) -> None:
        """Show or hide the explanations on both sides; hiding drops open requests."""
        self.on = not self.on
        for number, side in enumerate(self._sides):
            side.show_why(self.on)
            if not self.on:
                self._drop(number)
        if self.on:
            self.explain_selected()
        else:
            self._typing_timer.stop()

    def _drop(self, number: int) -> None:
        self._sessions[number].drop(WHY)
        self._jobs.end(f"{WHY}{number}")

    def explain_selected(self) -> None:
        """Explain the newly selected image."""
        self._path = self._selected_path() or self._path
        self._on_changed()

    def forget(self, number: int, other_data: bool) -> None:
        """Clear a side that opens another model, or with ``other_data`` another collection."""
        if other_data and number == 0:
            self._path = ""
        self._drop(number)
        side = self._sides[number]
        if self.on or is_made(side, "why"):  # a hidden view may be shown again
            view = side.why
            if other_data:
                view.image.show_image(None)
            view.show_message("Opening the model…")

    def _on_changed(self) -> None:
        if self.on:
            self._typing_timer.start()

    def _ask_all(self) -> None:
        for number in (0, 1):
            self._ask(number)

    def _ask(self, number: int) -> None:
        session = self._sessions[number]
        if not self.on or session.facts is None:
            return
        view = self._sides[number].why
        words = words_of(self._query.query())
        if not self._path or not words:
            session.drop(WHY)
            view.show_message(
                "Select an image." if not self._path else "Type words to see which image regions support them."
            )
            return

        def done(answer: Why) -> None:
            self._jobs.end(f"{WHY}{number}")
            view.show_answer(answer)

        def failed(failure: Failure) -> None:
            self._jobs.end(f"{WHY}{number}")
            view.show_message("Cancelled." if isinstance(failure, Cancelled) else failure.text)

        view.show_waiting(Path(self._path))
        session.ask(WHY, SEARCH_WHY, done, failed, path=self._path, text=words)


def words_of(query: Query) -> str:
    """The included words of a query: typed words and parts with a positive weight."""
    parts = [part.words for part in query.parts if part.words and part.weight > 0]
    return " ".join(filter(None, (query.words.strip(), *parts)))
