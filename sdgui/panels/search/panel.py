"""Search by words, pictures or both; two models side by side; the evaluation; the map.

Flow: source bar -> ``SearchSession`` per model -> worker; query bar and filters -> ``SearchQueries`` -> both sides,
with the changes in rank between them.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial

from PySide6.QtCore import Qt, QTimer
from PySide6.QtWidgets import QApplication, QWidget

from sdgui.panels.search.collection import DATA, HELD_OUT, INDEX
from sdgui.panels.search.following import RunFollowing
from sdgui.panels.search.layout import EVALUATION, LATE, MAP, PICTURES_TAB, SearchView
from sdgui.panels.search.model import Part, Query
from sdgui.panels.search.opening import OpeningMessages
from sdgui.panels.search.queries import SearchQueries
from sdgui.panels.search.query.history import SearchHistory
from sdgui.panels.search.tab_results import TabResults
from sdgui.panels.search.tabs.known_queries import Known
from sdgui.panels.search.travel import AHEAD, SearchTravel
from sdgui.panels.search.why.following import WhyFollowing
from sdgui.panels.search.work import ABOUT_TARGET, WHY, SearchSession, Target, same_collection
from sdgui.shared.panel import Panel
from sdgui.shared.services import Services
from sdgui.widgets.formats import count
from sdgui.widgets.late_parts import make_in_turns
from sdgui.widgets.message import Message, Remedy, error, info, warning
from sdgui.worker.replies import Cancelled, Failure
from sdgui.worker.verbs import SEARCH_FACETS, SearchOpened

_STATE = "search/state"


class SearchPanel(Panel):
    """Controls ``view``. ``sessions`` are the models being searched; ``view.sides`` show their results."""

    def __init__(self, services: Services, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.view = SearchView(services, SearchHistory(services.settings), self)
        self.set_view(self.view)
        self._services = services
        self._entered = False
        self._empty: Callable[[], object] | None = None  # what the button of the empty page does
        kept = services.store.home / "searched"
        self.sessions = (SearchSession(services.pool, kept, self), SearchSession(services.pool, kept, self))
        self.opening = OpeningMessages(self.view.bar, self.view.source.name)
        self.queries = SearchQueries(self.view, self.sessions)
        self.tab_results = TabResults(services, self.view, self.sessions)
        self.travel = SearchTravel(services, self.view, self.sessions, self.queries, self)
        self.why = WhyFollowing(self.view.query, self.view.sides, self.sessions, self.view.jobs, self._selected_picture)
        self.following = RunFollowing(services, self.view.source, self)
        self._connect()

    def _connect(self) -> None:
        for side, session in enumerate(self.sessions):
            session.working.connect(lambda *work, side=side: self._working(side, *work))
            session.opened.connect(lambda facts, side=side: self._opened(side, facts))
            session.failed.connect(lambda failure, side=side: self._open_failed(side, failure))
            widget = self.view.sides[side]
            row_of = partial(self.queries.row_of, side)
            widget.like_asked.connect(lambda path, row, at=row_of: self.search_like(path, at(row)))
            widget.part_asked.connect(
                lambda path, row, weight, at=row_of: self.view.query.add_picture(path, weight, at(row))
            )
            widget.captions_asked.connect(lambda path, row, at=row_of: self.search_captions(path, at(row)))
            widget.current_changed.connect(lambda what, side=side: self._selected(side, what))
        self.view.source.changed.connect(self.open)
        self.view.source.renewed.connect(lambda side: self.open(side, anew=True))
        self.view.source.compared.connect(self._compared)
        self.view.source.refused.connect(lambda sentence: self.view.show_message(warning(sentence)))
        self.view.source.collection.folder_chosen.connect(self.view.query.line.setFocus)
        self.view.query.past_chosen.connect(self.search_again)
        self.view.query.left_downwards.connect(self._into_results)
        self.view.query.paste_asked.connect(self.view.drop.paste)
        self.view.tabs.currentChanged.connect(self._tab_changed)
        self.view.drop.dropped.connect(self._dropped)
        self.view.drop.folder_dropped.connect(self.view.source.collection.search_folder)
        self.view.drop.refused.connect(self._not_taken)
        self.view.known_chosen.connect(self.look_up)
        self.view.known_activated.connect(lambda _known: self._into_results())
        self.view.like_asked.connect(self.search_like)
        self.view.indexing.connect(self._indexing)
        self.following.open_asked.connect(lambda: self.open(-1))
        self.following.nothing_to_open.connect(self._show_nothing)
        self.view.empty.activated.connect(self._next_step)
        self.following.message_requested.connect(self.message_requested)

    # Panel
    def use_run(self, run_id: int) -> None:
        """Search with this run, as soon as it has a checkpoint."""
        self.following.use(run_id)

    def show_source(self, source: str) -> None:
        """Search in these data, with the models that are chosen."""
        self.view.source.collection.search_folder(source)

    def ask_model(self) -> None:
        self.view.source.pickers[0].open()

    def entered(self) -> None:
        if not self._entered:
            self._entered = True
            self._restore()
            make_in_turns(self.view, LATE)
            QTimer.singleShot(0, self, self._begin)  # a turn of its own: the panel was just built
        else:
            self.following.follow()
        focused = QApplication.focusWidget()
        if focused is None or not self.isAncestorOf(focused):  # what is typed while the models open is a query
            self.view.query.line.setFocus()

    def _begin(self) -> None:
        self.following.begin()
        self.following.follow()

    def focus_search(self) -> None:
        if self.view.tabs.currentIndex() == MAP:
            self.view.tabs.setCurrentIndex(PICTURES_TAB)
        self.view.query.line.setFocus()
        self.view.query.line.selectAll()

    def left(self) -> None:
        self.following.stop()
        if self._entered:
            state = {"source": self.view.source.state(), "followed": self.following.run_id, **self.view.layout_state()}
            self._services.settings.setValue(_STATE, json.dumps(state))

    def refresh(self) -> None:
        """Runs were added, removed or renamed."""
        for picker in self.view.source.pickers:
            picker.refresh()

    def _restore(self) -> None:
        try:
            state = json.loads(str(self._services.settings.value(_STATE) or "{}"))
        except ValueError:
            state = {}
        if not isinstance(state, dict) or not state:
            return
        self.view.restore_layout(state)
        source = state.get("source")
        self.view.source.restore(source if isinstance(source, dict) else {})
        followed = state.get("followed")
        self.following.run_id = followed if isinstance(followed, int) else None

    # Opening
    def open(self, side: int, anew: bool = False) -> None:
        """Open the selected source of ``side`` (-1: both) unless it is open already; ``anew`` opens it again."""
        for one in (0, 1) if side < 0 else (side,):
            target, session = self.view.source.target(one), self.sessions[one]
            self.view.sides[one].setVisible(one == 0 or self.view.source.comparing)
            if target is None:
                session.close()
                self.opening.set(one, None)
                self._forget(one, "open", *ABOUT_TARGET)
                self.why.forget(one, other_data=True)
            elif anew or target != session.target or (session.facts is None and not session.opening):
                self.opening.set(one, None)
                stepped = target.stepped_from(session.target)
                if target == session.target or stepped:  # its results stay until the newer ones are there
                    self.queries.forget(one)
                    self._end_jobs(one, *ABOUT_TARGET)
                else:
                    self._leave_collection(one, target)
                    self._forget(one, *ABOUT_TARGET)
                session.open(target)
        self._retitle()
        self._show_hint()
        self.tab_results.changed()
        self.travel.follow()

    def _compared(self, _on: bool) -> None:
        self.open(1)
        self.queries.show()

    def _forget(self, side: int, *purposes: str) -> None:
        """What is shown of a side is of another model or other pictures: nothing of it stays under a new heading."""
        self.queries.forget(side)
        self.tab_results.forget(side)
        self._end_jobs(side, *purposes)
        source = self.view.source
        lacks = "Choose an index of the second model, or build one." if source.kind == INDEX else ""
        self.view.sides[side].clear("Opening …" if source.target(side) is not None else lacks)

    def _leave_collection(self, side: int, target: Target) -> None:
        """Numbers of captions mean nothing in other pictures, nor does a picture's place in them."""
        before = self.sessions[side].target
        other_data = before is None or before.collection != target.collection
        if side == 0 and before is not None and other_data:
            self.view.query.forget_known()
        self.why.forget(side, other_data)

    def _end_jobs(self, side: int, *purposes: str) -> None:
        """End cancelled jobs of a side without a message."""
        for purpose in purposes:
            self.view.jobs.end(f"{purpose}{side}")

    def _show_hint(self) -> None:
        """Show what has to be chosen before anything can be searched."""
        source = self.view.source
        if source.target(0) is None and self.sessions[0].facts is None:
            source.show_facts(None)
            if source.kind == INDEX:
                self._empty = source.popover.open
                text = "Choose an index, or build one under Index …"
                self.view.show_empty("No index is chosen", text, "What is searched …")
            elif source.pickers[0].choice() is None:
                self._show_nothing("Choose a run or a pretrained model; then search its held-out data or any folder.")
            elif source.kind == DATA:
                self._empty = source.collection.ask_folder
                text = "Choose a folder of pictures, or drop one here."
                self.view.show_empty("No pictures are chosen", text, "Search a folder …", "Ctrl+Alt+O")
        elif self.sessions[0].facts is None:
            source.show_facts(None)
            self._empty = None
            text = "Every picture is encoded once; an index on disk opens at once. What you type is searched then."
            what = "the held-out data" if source.kind == HELD_OUT else source.collection.title()
            self.view.show_empty(f"Opening {what}", text)

    def _show_nothing(self, why: str) -> None:
        self._empty = self.view.source.pickers[0].open
        self.view.show_empty("No model to search with yet", why, "Choose a model …")

    def _next_step(self) -> None:
        if self._empty is not None:
            self._empty()

    def _opened(self, side: int, facts: SearchOpened) -> None:
        self.view.jobs.end(f"open{side}")
        session = self.sessions[side]
        if session.target is not None and session.target.index:
            self.view.source.follow_model(side, str(facts["model"]), str(facts["weights"]))
        self._retitle()
        self.view.show_work()
        if side == 0:
            self.view.source.show_facts(facts)
            session.ask("facets", SEARCH_FACETS, lambda found: self.view.filters.set_facets(found), lambda *_: None)
            self._note_index(facts)
        self.opening.set(side, self._notes(side, facts["notes"]))
        self.tab_results.opened(side)
        self.queries.run()
        self.travel.opened()

    def _notes(self, side: int, notes: list[str]) -> Message | None:
        """The worker's notes on a collection, such as that its index is stale; else what is amiss beside it."""
        target = self.sessions[side].target
        if not notes:
            return self._beside()
        if target is None or not target.index:
            return warning(" ".join(notes))
        return warning(" ".join(notes), remedy=Remedy("Refresh the index", self.view.sheet.start_refresh))

    def _beside(self) -> Message | None:
        """Why the two sides show nothing to compare."""
        source = self.view.source
        if not source.comparing:
            return None
        if source.same_model():
            both = len(source.pickers[0].networks()) > 1
            remedy = Remedy("Student against teacher", source.student_against_teacher) if both else None
            return warning(f"Both sides are the same model: {source.pickers[0].text()}.", remedy=remedy)
        first, second = (session.facts for session in self.sessions)
        if first is not None and second is not None and not same_collection(self.sessions):
            return warning(
                f"The two sides search different data ({first['title']}, {count(first['pictures'])} pictures; "
                f"{second['title']}, {count(second['pictures'])} pictures): their ranks and recall are not compared."
            )
        return None

    def _note_index(self, facts: SearchOpened) -> None:
        target = self.sessions[0].target
        if target is not None and target.index:
            self.view.sheet.folder.setText(target.index)
            self.view.sheet.source.set_source(str(facts["source"]))

    def _open_failed(self, side: int, failure: Failure) -> None:
        self.view.jobs.end(f"open{side}")
        self.queries.forget(side)
        if side == 0:
            self.view.show_empty("Nothing is open", "Choose another model or other pictures above, or try again.")
        self._empty = None
        self.view.sides[side].clear()
        if isinstance(failure, Cancelled):
            remedy = Remedy("Open", lambda: self.open(side, anew=True))
            self.opening.set(side, info("Opening was cancelled.", remedy=remedy))
        else:
            remedy = Remedy("Try again", lambda: self.open(side, anew=True))
            self.opening.set(side, error(failure.text, failure.details, remedy))

    def _retitle(self) -> None:
        for side, widget in enumerate(self.view.sides):
            session, facts = self.sessions[side], self.sessions[side].facts
            if session.opening and widget.answer is not None:  # of the step before, until this one is there
                continue
            about = f"{facts['model']}\n{facts['title']}, {facts['how']}" if facts is not None else ""
            widget.set_name(self.view.source.name(side), about)

    def _working(self, side: int, purpose: str, doing: str, done: int, total: int) -> None:
        if purpose == AHEAD:  # nobody waits for it
            return
        quiet = purpose in ("query", "facets", "evaluate", "compare", WHY) and doing == "starting"
        if doing == "starting":
            doing = {"map": "computing the map", "open": "opening"}.get(purpose, doing)
        if not quiet:
            name = self.view.source.name(side) if self.view.source.comparing else ""
            self.view.jobs.advance(
                f"{purpose}{side}",
                f"{name}: {doing}" if name else doing,
                done,
                total,
                lambda: self.sessions[side].cancel(purpose),
            )

    def _indexing(self, _purpose: str, doing: str, done: int, total: int) -> None:
        self.view.jobs.advance("index", doing, done, total, self.view.sheet.cancel)

    def _selected(self, side: int, what: str) -> None:
        self.view.sides[1 - side].choose(what)
        self.why.selected()

    def _selected_picture(self) -> str:
        return next(filter(None, (side.chosen_path() for side in self.view.sides)), "")

    # Other ways to ask
    def search_again(self, query: Query) -> None:
        """Search again for a query from the history or the saved searches, with its filters."""
        self.view.choose_filters(query.filters, query.group)
        self.view.query.set_query(query)

    def search_like(self, path: str, row: int) -> None:
        """Search for pictures like this one."""
        self.view.query.remember()
        self.view.tabs.setCurrentIndex(PICTURES_TAB)
        self.view.query.set_query(Query(parts=(Part(image=path, row=row),), prompts=self.view.query.query().prompts))

    def search_captions(self, path: str, row: int) -> None:
        """Search for captions of this picture."""
        self.view.query.set_query(Query(parts=(Part(image=path, row=row),), find="captions", true_path=path))

    def look_up(self, known: Known) -> None:
        """Search for a query with a known answer: the correct picture or caption is marked and its rank is shown."""
        if known.text < 0:
            self.search_captions(known.path, known.row)
        else:
            self.view.query.set_query(Query(known.title, caption=known.text, true_path=known.path, true_row=known.row))

    def _dropped(self, paths: list[str]) -> None:
        for path in paths[:8]:
            self.view.query.add_picture(path)
        if len(paths) > 8:
            self.view.show_message(info(f"{len(paths)} pictures were dropped; the first 8 are used."))

    def _not_taken(self, refused: list[tuple[str, str]]) -> None:
        what, why = refused[0]
        details = "\n".join(f"{one}: {reason}" for one, reason in refused)
        self.view.show_message(warning(f"{what} was not added: {why}.", details))

    def _into_results(self) -> None:
        gallery = self.view.sides[0].gallery
        gallery.view.setFocus(Qt.FocusReason.OtherFocusReason)
        if gallery.current() < 0 and gallery.items():
            gallery.view.setCurrentIndex(gallery.model.index(0))

    def _tab_changed(self, tab: int) -> None:
        self.view.show_tab(tab)
        self.queries.invite()
        self.tab_results.changed()
        if tab == EVALUATION and QApplication.focusWidget() is self.view.tabs:
            self.view.evaluation.filter_box.setFocus()
