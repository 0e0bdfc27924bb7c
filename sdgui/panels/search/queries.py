"""Sends the current query to both models while the user types; shows only results of the newest query.

Flow: query bar, filters -> ``schedule`` -> ``run`` -> ``SearchSession.search`` -> results -> both sides' galleries.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from PySide6.QtCore import QObject, QTimer

from sdgui.panels.search.layout import EVALUATION, SearchView
from sdgui.panels.search.model import Query
from sdgui.panels.search.results import Score
from sdgui.panels.search.work import SearchSession, same_collection
from sdgui.widgets.formats import count
from sdgui.widgets.message import Message, Remedy, error, warning
from sdgui.worker.replies import Cancelled, Failure
from sdgui.worker.verbs import Results

_TYPING_PAUSE_MS = 30
_FIRST_RESULTS, _GROWTH = 50, 4  # number of results; factor each time the user scrolls to the end
_MAX_RESULTS = 3200


class SearchQueries(QObject):
    """Runs the query of ``view`` in both ``sessions``. ``query``, ``number``: the last query and its number."""

    def __init__(self, view: SearchView, sessions: tuple[SearchSession, SearchSession]) -> None:
        super().__init__(view)
        self._view, self._sessions = view, sessions
        self.number = 0
        self.query = Query()
        self._k = _FIRST_RESULTS  # number of results to request
        self._answers: list[Results | None] = [None, None]
        self._query_message: Message | None = None  # message about the current query, cleared by the next results
        self._typing = QTimer(self, singleShot=True, interval=_TYPING_PAUSE_MS)
        self._typing.timeout.connect(self.run)
        view.query.changed.connect(self.schedule)
        view.filters_changed.connect(self.schedule)
        view.score.activated.connect(lambda _row: self.show())
        for side, session in enumerate(sessions):
            session.answered.connect(lambda number, answer, side=side: self._take_answer(side, number, answer))
            session.query_failed.connect(lambda number, failure, side=side: self._show_failure(side, number, failure))
            view.sides[side].more_wanted.connect(self._load_more)

    def forget(self, side: int) -> None:
        """Clear the results of a side whose collection is closed or reopened."""
        self._answers[side] = None

    @property
    def answered(self) -> bool:
        """Whether all open models have answered the last query."""
        pairs = zip(self._sessions, self._answers, strict=True)
        return not self._typing.isActive() and all(
            session.facts is None or answer is not None for session, answer in pairs
        )

    def schedule(self) -> None:
        """Run the query after a pause in typing."""
        self._k = _FIRST_RESULTS
        self._view.show_filters()
        self._typing.start()

    def run(self) -> None:
        """Run the current query with both models."""
        self._typing.stop()
        filters, group = self._view.chosen_filters()
        query = replace(self._view.query.query(), filters=filters, group=group)
        self.number += 1
        self.query, self._answers = query, [None, None]
        if query.empty:
            self.invite()
            self._view.query.show_known_image("", "")
            return
        words = "the query image" if query.find == "captions" else "the correct image"
        self._view.query.show_known_image(query.true_path, words)
        for side in (0, 1):
            self._search(side)

    def invite(self) -> None:
        """If there is no query, show in the empty galleries how to enter one."""
        evaluation = self._view.tabs.currentIndex() == EVALUATION
        text = "Choose a query on the left, or type one." if evaluation else "Type a query or drop an image here."
        for widget, session in zip(self._view.sides, self._sessions, strict=True):
            if self.query.empty and session.facts is not None:  # otherwise the gallery shows why it cannot be searched
                widget.clear(text)

    def _search(self, side: int) -> None:
        if self._sessions[side].facts is not None:
            request = self.query.request(side == 0 or self._same_rows())
            self._sessions[side].search(self.number, {**request, "k": self._k})

    def row_of(self, side: int, row: int) -> int:
        """The first side's row of an image on ``side``; -1 if the numbering may differ, so that the file is used."""
        if self._sessions[side].partial:
            return -1
        return row if side == 0 or self._same_rows() else -1

    def _same_rows(self) -> bool:
        """Whether images and captions have the same numbers on both sides; unknown for folders, which may change."""
        first, second = (session.target for session in self._sessions)
        if first is None or second is None or first.is_updated_on_open or second.is_updated_on_open:
            return False
        return first.index == second.index and same_collection(self._sessions)

    def _load_more(self) -> None:
        rows = [answer["rows"] for answer in self._answers if answer is not None]
        if self._k < _MAX_RESULTS and rows and max(map(len, rows)) >= self._k:
            self._k = min(_MAX_RESULTS, self._k * _GROWTH)
            for side in (0, 1):
                self._search(side)

    def _take_answer(self, side: int, number: int, answer: Results) -> None:
        self._view.jobs.end(f"query{side}")
        if number != self.number:
            return
        self._answers[side] = answer
        if self._query_message is not None and self._view.bar.message is self._query_message:
            self._view.bar.clear()
        self.show(side)
        self._show_missing(side)

    def show(self, answered_side: int = -1) -> None:
        """Show both sides with changes in rank; until both have answered, only ``answered_side``."""
        score: Score = self._view.score.currentData()
        all_answered = all(answer is not None for answer in self._answers)
        for side, answer in enumerate(self._answers):
            if answer is not None and (all_answered or answered_side in (-1, side)):
                is_comparable = self._view.source.comparing and same_collection(self._sessions)
                other_answer = self._answers[1 - side] if is_comparable else None
                self._view.sides[side].show_answer(
                    answer, self.query, score, other_answer, self._view.source.name(1 - side)
                )

    def _show_failure(self, side: int, number: int, failure: Failure) -> None:
        self._view.jobs.end(f"query{side}")
        if number == self.number and not isinstance(failure, Cancelled):
            try_again = Remedy("Try again", self.run)
            self._show_query_message((error if failure.details else warning)(failure.text, failure.details, try_again))

    def _show_query_message(self, message: Message) -> None:
        """Show a message that the next results clear."""
        self._query_message = message
        self._view.bar.show_message(message)

    def _show_missing(self, side: int) -> None:
        missing = self._view.sides[side].missing()
        target = self._sessions[side].target
        if not missing:
            return
        several = f"{count(len(missing))} image files are missing, such as {missing[0]}."
        text = several if len(missing) > 1 else f"1 image file is missing: {missing[0]}."
        if target is None or not target.index:
            self._show_query_message(
                warning(f"{text} Missing images are shown in grey. Reconnect the disk, or search other images.")
            )
        else:
            folder, index = str(Path(missing[0]).parent), target.index
            remedy = Remedy("Locate…", lambda: self._view.show_relocate(index, folder))
            files = "files" if len(missing) > 1 else "file"
            self._show_query_message(warning(f"{text} The {files} may have been moved or deleted.", remedy=remedy))
