"""Search: searches images and captions by words or images, with one or two models; evaluation and map.

Flow: source bar -> ``SearchSession`` per model -> worker; query bar and filters -> ``SearchQueries`` -> both sides,
with the changes in rank between the models.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial

from PySide6.QtCore import Qt, QTimer
from PySide6.QtWidgets import QApplication, QWidget

from sdgui.panels.search.collection import DATA, HELD_OUT, INDEX
from sdgui.panels.search.explanations import Explanations
from sdgui.panels.search.following import RunFollowing
from sdgui.panels.search.layout import EVALUATION, IMAGES_TAB, LATE_WIDGETS, MAP, SearchView
from sdgui.panels.search.model import Part, Query
from sdgui.panels.search.queries import SearchQueries
from sdgui.panels.search.query.history import SearchHistory
from sdgui.panels.search.reporting import COMPARISON, OpeningMessages
from sdgui.panels.search.tab_results import TabResults
from sdgui.panels.search.tabs.known_queries import KnownQuery
from sdgui.panels.search.travel import OPEN_AHEAD, SearchTravel
from sdgui.panels.search.work import COLLECTION_REQUESTS, WHY, SearchSession, Target, same_collection
from sdgui.shared.failures import failure_message
from sdgui.shared.panel import Panel
from sdgui.shared.pickers.entries import ModelChoice
from sdgui.shared.services import Services
from sdgui.shared.stored_json import parse_stored
from sdgui.widgets.dropped_files import not_added_text, refusal_lines
from sdgui.widgets.formats import count
from sdgui.widgets.late_parts import make_in_turns
from sdgui.widgets.message import Message, Remedy, info, warning
from sdgui.worker.replies import Failure
from sdgui.worker.verbs import SEARCH_FACETS, SearchOpened

_STATE = "search/state"


class SearchPanel(Panel):
    """Controls ``view``. ``sessions``: the open models; ``view.sides``: their results."""

    def __init__(self, services: Services, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.view = SearchView(services, SearchHistory(services.settings), self)
        self.set_view(self.view)
        self.progress = (self.view.strip, self.view.export_strip)
        self._services = services
        self._entered = False
        self._empty_action: Callable[[], object] = self.view.source.pickers[0].open  # of the empty page's button
        cache_dir = services.store.home / "searched"
        self.sessions = (SearchSession(services.pool, cache_dir, self), SearchSession(services.pool, cache_dir, self))
        self.opening = OpeningMessages(self.view.bar, self.view.source.name)
        self.queries = SearchQueries(self.view, self.sessions)
        self.tab_results = TabResults(services, self.view, self.sessions)
        self.travel = SearchTravel(services, self.view, self.sessions, self.queries, self)
        self.why = Explanations(self.view.query, self.view.sides, self.sessions, self.view.jobs, self._selected_image)
        self.following = RunFollowing(services, self.view.source, self)
        self._connect()

    def _connect(self) -> None:
        for side, session in enumerate(self.sessions):
            session.working.connect(lambda *work, side=side: self._show_progress(side, *work))
            session.collection_opened.connect(lambda facts, side=side: self._on_opened(side, facts))
            session.failed.connect(lambda failure, side=side: self._open_failed(side, failure))
            widget, row_of = self.view.sides[side], partial(self.queries.row_of, side)
            widget.like_requested.connect(lambda path, row, row_of=row_of: self.search_like(path, row_of(row)))
            widget.part_requested.connect(
                lambda path, row, weight, row_of=row_of: self.view.query.add_image(path, weight, row_of(row))
            )
            widget.captions_requested.connect(lambda path, row, row_of=row_of: self.search_captions(path, row_of(row)))
            widget.current_changed.connect(lambda result_id, side=side: self._sync_selection(side, result_id))
        self.view.source.changed.connect(self.open)
        self.view.source.renewed.connect(lambda side: self.open(side, reopen=True))
        self.view.source.comparing_changed.connect(self._on_comparing_changed)
        for slider in self.view.source.interpolations:
            slider.save_requested.connect(self.export_requested)
        self.view.source.refused.connect(lambda reason: self.view.bar.show_message(warning(reason)))
        self.view.source.collection.folder_chosen.connect(self.view.query.line.setFocus)
        self.view.query.history_query_chosen.connect(self.search_again)
        self.view.query.results_focus_requested.connect(self._focus_results)
        self.view.query.paste_requested.connect(self.view.drop.paste)
        self.view.tabs.currentChanged.connect(self._on_tab_changed)
        self.view.drop.dropped.connect(self._add_images)
        self.view.drop.folder_dropped.connect(self.view.source.collection.search_folder)
        self.view.drop.refused.connect(self._show_refused)
        self.view.known_chosen.connect(self.look_up)
        self.view.known_activated.connect(lambda _known: self._focus_results())
        self.view.like_requested.connect(self.search_like)
        self.view.indexing.connect(self._show_indexing)
        self.following.open_requested.connect(lambda: self.open(-1))
        self.following.nothing_to_open.connect(self._show_nothing)
        self.view.empty.activated.connect(lambda: self._empty_action())
        self.following.message_requested.connect(self.message_requested)
        demo = self._services.demo
        for signal in (demo.progress, demo.ready, demo.failed, demo.cancelled):
            signal.connect(self._on_demo_changed)

    # Panel
    def use_run(self, run_id: int) -> None:
        """Search with this run as soon as it has a checkpoint."""
        self.following.use(run_id)

    def use_model(self, choice: ModelChoice) -> None:
        self.view.source.show_model(choice)

    def show_source(self, source: str, query: str = "") -> None:
        """Search ``source`` with the selected models."""
        if query:
            self.view.query.set_query(Query(query))
        self.view.source.collection.search_folder(source)

    def ask_model(self) -> None:
        self.view.source.pickers[0].open()

    def on_enter(self) -> None:
        if not self._entered:
            self._entered = True
            self._restore()
            if self._services.demo.making:
                self._on_demo_changed()
            make_in_turns(self.view, LATE_WIDGETS)
            QTimer.singleShot(0, self, self._begin)  # after the new panel is painted
        else:
            self.following.follow()
        focused = QApplication.focusWidget()
        if focused is None or not self.isAncestorOf(focused):  # allows typing a query while the models open
            self.view.query.line.setFocus()

    def _begin(self) -> None:
        self.following.begin()
        self.following.follow()

    def focus_search(self) -> None:
        if self.view.tabs.currentIndex() == MAP:
            self.view.tabs.setCurrentIndex(IMAGES_TAB)
        self.view.query.line.setFocus()
        self.view.query.line.selectAll()

    def on_leave(self) -> None:
        self.following.stop()
        if self._entered:
            state = {
                "source": self.view.source.state(),
                "followed": self.following.selected_run_id,
                **self.view.layout_state(),
            }
            self._services.settings.setValue(_STATE, json.dumps(state))

    def refresh(self) -> None:
        """Update after runs were added, removed or renamed."""
        for picker in self.view.source.pickers:
            picker.refresh()

    def _restore(self) -> None:
        state = parse_stored(self._services.settings.value(_STATE), dict)
        if not state:
            return
        self.view.restore_layout(state)
        source = state.get("source")
        self.view.source.restore(source if isinstance(source, dict) else {})
        followed_run = state.get("followed")
        self.following.selected_run_id = followed_run if isinstance(followed_run, int) else None

    # Opening
    def open(self, side: int, reopen: bool = False) -> None:
        """Open the selected source of ``side`` (-1: both) unless already open; ``reopen`` always opens."""
        for index in (0, 1) if side < 0 else (side,):
            target, session = self.view.source.target(index), self.sessions[index]
            self.view.sides[index].setVisible(index == 0 or self.view.source.comparing)
            if target is None:
                session.close()
                self.opening.forget(index)
                self._forget(index, "open", *COLLECTION_REQUESTS)
                self.why.forget(index, other_data=True)
            elif reopen or target != session.target or (session.facts is None and not session.opening):
                self.opening.forget(index)
                stepped = target.differs_in_step_only(session.target)
                if target == session.target or stepped:  # old results stay until new ones arrive
                    self.queries.forget(index)
                    self._end_jobs(index, *COLLECTION_REQUESTS)
                else:
                    self._leave_collection(index, target)
                    self._forget(index, *COLLECTION_REQUESTS)
                session.open(target)
        self._retitle()
        self._show_hint()
        self.tab_results.request_visible()
        self.travel.follow()

    def _on_comparing_changed(self) -> None:
        self.open(1)
        self.queries.show()

    def _forget(self, side: int, *purposes: str) -> None:
        """Clear a side that changes its model or collection."""
        self.queries.forget(side)
        self.tab_results.forget(side)
        self._end_jobs(side, *purposes)
        source = self.view.source
        missing = "an index for the second model, or build one" if source.kind == INDEX else "a second model"
        self.view.sides[side].clear("Opening…" if source.target(side) is not None else f"Choose {missing}.")

    def _leave_collection(self, side: int, target: Target) -> None:
        """Clear explanations, and in another collection also a query that refers to rows of the old one."""
        previous_target = self.sessions[side].target
        other_data = previous_target is None or previous_target.collection != target.collection
        if side == 0 and previous_target is not None and other_data:
            self.view.query.clear_known_query()
        self.why.forget(side, other_data)

    def _end_jobs(self, side: int, *purposes: str) -> None:
        """End cancelled jobs of a side without a message."""
        for purpose in purposes:
            self.view.jobs.end(f"{purpose}{side}")

    def _show_hint(self) -> None:
        """Show what to select before a search."""
        source = self.view.source
        if source.target(0) is None and self.sessions[0].facts is None:
            source.show_facts(None)
            if self._services.demo.making and source.kind != INDEX:
                self._empty_action = source.collection.ask_folder
                text = "The demo images can be searched when they are finished. Or search a folder of images now."
                self.view.show_empty("Creating the demo images", text, "Search a folder…", "Ctrl+Alt+O")
            elif source.kind == INDEX:
                self._empty_action = source.popover.open
                text = "Choose an index, or build one under Index…"
                self.view.show_empty("No index is chosen", text, "Search in…")
            elif source.pickers[0].choice() is None:
                self._show_nothing(
                    "Choose a run or a pretrained model, then search its validation split or any folder of images."
                )
            elif source.kind == DATA:
                self._empty_action = source.collection.ask_folder
                text = "Choose or drop a folder of images. Then describe an image, such as “red car in the rain”."
                self.view.show_empty("No images are chosen", text, "Search a folder…", "Ctrl+Alt+O", offers_demo=True)
        elif self.sessions[0].facts is None:
            source.show_facts(None)
            text = "Every image is encoded once; an index on disk needs no encoding. Then you can search."
            name = "the validation split" if source.kind == HELD_OUT else source.collection.title()
            self.view.show_empty(f"Opening {name}", text)

    def _on_demo_changed(self, *_: object) -> None:
        if self.view.source.target(0) is None and self.sessions[0].facts is None:
            self._show_hint()

    def _show_nothing(self, reason: str) -> None:
        self._empty_action = self.view.source.pickers[0].open
        self.view.show_empty("No model to search with yet", reason, "Choose a model…", offers_demo=True)

    def _on_opened(self, side: int, facts: SearchOpened) -> None:
        self.view.jobs.end(f"open{side}")
        session = self.sessions[side]
        if session.target is not None and session.target.index:
            self.view.source.show_index_model(side, str(facts["model"]), str(facts["weights"]))
        self._retitle()
        self.view.show_work()
        if side == 0:
            self.view.source.show_facts(facts)
        if session.partial:  # the complete collection follows
            self.queries.run()
            return
        if side == 0:
            session.ask("facets", SEARCH_FACETS, lambda facets: self.view.filters.set_facets(facets), lambda *_: None)
            self._fill_index_sheet(facts)
        self.opening.set(side, self._opening_message(side, facts["notes"]))
        self.opening.set(COMPARISON, self._comparison_problem())
        self.tab_results.drop_outdated(side)
        self.queries.run()
        self.travel.open_neighbours()

    def _opening_message(self, side: int, notes: list[str]) -> Message | None:
        """The worker's notes on a collection, such as a stale index."""
        target = self.sessions[side].target
        if not notes:
            return None
        if target is None or not target.index:
            return warning(" ".join(notes))
        return warning(" ".join(notes), remedy=Remedy("Refresh the index", self.view.sheet.refresh))

    def _comparison_problem(self) -> Message | None:
        """Why the two sides cannot be compared; None if they can."""
        source = self.view.source
        if not source.comparing:
            return None
        if source.same_model():
            has_both_networks = len(source.pickers[0].networks()) > 1
            remedy = Remedy("Student against teacher", source.student_against_teacher) if has_both_networks else None
            return warning(f"Both sides use the same model: {source.pickers[0].text()}.", remedy=remedy)
        first, second = (session.facts for session in self.sessions)
        if first is not None and second is not None and not same_collection(self.sessions):
            return warning(
                f"The two sides search different data ({first['title']}, {count(first['images'])} images; "
                f"{second['title']}, {count(second['images'])} images), so ranks and recall are not compared."
            )
        return None

    def _fill_index_sheet(self, facts: SearchOpened) -> None:
        target = self.sessions[0].target
        if target is not None and target.index:
            self.view.sheet.index_folder.setText(target.index)
            self.view.sheet.images.set_source(str(facts["source"]))

    def _open_failed(self, side: int, failure: Failure) -> None:
        self.view.jobs.end(f"open{side}")
        self.queries.forget(side)
        if side == 0:
            text = "Choose another model or other images above, or try again."
            self.view.show_empty("Nothing is open", text, "Search a folder…", "Ctrl+Alt+O")
        self._empty_action = self.view.source.collection.ask_folder
        self.view.sides[side].clear("Nothing is open.")
        cancelled, retry = "The model was not opened: you cancelled it.", partial(self.open, side, reopen=True)
        self.opening.set(side, failure_message(failure, cancelled, retry, "Open"))

    def _retitle(self) -> None:
        for side, widget in enumerate(self.view.sides):
            session, facts = self.sessions[side], self.sessions[side].facts
            # results of the previous step stay until this step is open
            if session.opening and widget.answer is not None:
                continue
            about = f"{facts['model']}\n{facts['title']}, {facts['search_method']}" if facts is not None else ""
            widget.set_name(self.view.source.short_name(side), f"{self.view.source.name(side)}\n{about}".strip())

    def _show_progress(self, side: int, purpose: str, activity: str, completed: int, total: int) -> None:
        if purpose == OPEN_AHEAD:
            return
        # these requests are mostly short: progress is shown only once the worker reports some
        is_quiet = purpose in ("query", "facets", "evaluate", "compare", WHY) and activity == "starting"
        if activity == "starting":
            activity = {"map": "computing the map", "open": "opening"}.get(purpose, activity)
        if not is_quiet:
            name = self.view.source.short_name(side) if self.view.source.comparing else ""
            self.view.jobs.advance(
                f"{purpose}{side}",
                f"{activity}: {name}" if name else activity,
                completed,
                total,
                lambda: self.sessions[side].cancel(purpose),
            )

    def _show_indexing(self, _purpose: str, activity: str, completed: int, total: int) -> None:
        self.view.jobs.advance("index", activity, completed, total, self.view.sheet.cancel)

    def _sync_selection(self, side: int, result_id: str) -> None:
        self.view.sides[1 - side].select(result_id)
        self.why.explain_selected()

    def _selected_image(self) -> str:
        return next(filter(None, (side.selected_path() for side in self.view.sides)), "")

    # Other kinds of queries
    def search_again(self, query: Query) -> None:
        """Repeat a query from the history or the saved searches, with its filters."""
        self.view.choose_filters(query.filters, query.group)
        self.view.query.set_query(query)

    def search_like(self, path: str, row: int) -> None:
        """Search for images like this one."""
        self.view.query.remember()
        self.view.tabs.setCurrentIndex(IMAGES_TAB)
        self.view.query.set_query(Query(parts=(Part(image=path, row=row),), prompts=self.view.query.query().prompts))

    def search_captions(self, path: str, row: int) -> None:
        """Search for captions of this image."""
        self.view.query.set_query(Query(parts=(Part(image=path, row=row),), find="captions", true_path=path))

    def look_up(self, query: KnownQuery) -> None:
        """Search for a query with a known answer; marks the correct image or caption and shows its rank."""
        if query.caption_number < 0:
            self.search_captions(query.path, query.row)
        else:
            self.view.query.set_query(
                Query(query.title, caption=query.caption_number, true_path=query.path, true_row=query.row)
            )

    def _add_images(self, paths: list[str]) -> None:
        for path in paths[:8]:
            self.view.query.add_image(path)
        if len(paths) > 8:
            self.view.bar.show_message(info(f"You dropped {len(paths)} images; only the first 8 are used."))

    def _show_refused(self, refusals: list[tuple[str, str]]) -> None:
        self.view.bar.show_message(warning(not_added_text(refusals), refusal_lines(refusals)))

    def _focus_results(self) -> None:
        gallery = self.view.sides[0].gallery
        gallery.view.setFocus(Qt.FocusReason.OtherFocusReason)
        if gallery.current() < 0 and gallery.items():
            gallery.view.setCurrentIndex(gallery.model.index(0))

    def _on_tab_changed(self, tab: int) -> None:
        self.view.show_tab(tab)
        self.queries.invite()
        self.tab_results.request_visible()
        if tab == EVALUATION and QApplication.focusWidget() is self.view.tabs:
            self.view.evaluation.filter_box.setFocus()
