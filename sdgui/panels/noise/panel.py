"""Noise: the pairs that a trained run doubts, to be marked by hand, left out, and saved as cleaned training data.

Flow: run and data -> worker ``noise_open`` -> ``RankedPairs`` (with the store's marks) -> gallery, table, histogram;
keys mark pairs, and marks go to the store at once; worker ``noise_save`` -> a manifest -> a new experiment.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

from PySide6.QtCore import QTimer
from PySide6.QtWidgets import QFileDialog, QWidget

from core.spec.config import ConfigError, expand_user, read_config
from core.spec.run.folder import RunDir
from sdgui.panels.noise.layout import NoiseLayout
from sdgui.panels.noise.model import Key, Pair, RankedPairs
from sdgui.shared.background_tasks import BackgroundTasks
from sdgui.shared.export.pictures import free_path
from sdgui.shared.services import Selection, Services
from sdgui.store.records import StoreError
from sdgui.widgets.formats import count
from sdgui.widgets.message import Remedy, error, info, warning
from sdgui.worker.calls import WorkerCalls
from sdgui.worker.replies import Cancelled, Failure
from sdgui.worker.verbs import NOISE_OPEN, NOISE_SAVE, Ranking, SavedPairs

LISTED = 3000  # the least believed, as pictures and in the table; counts and cuts are of all
_UNDO = 100
_AT_ONCE = 200  # rows shown anew in one turn of the event loop
_CUT_SETTLES = 120  # ms


@dataclass(frozen=True)
class _Asker:
    """Who ranked, or is ranking: the run's folder, and the requests to its worker."""

    run: str
    calls: WorkerCalls


class NoisePanel(NoiseLayout):
    """The place. ``ranked`` is what is shown, None before the first ranking; it stays when a further one fails."""

    def __init__(self, services: Services, parent: QWidget | None = None) -> None:
        super().__init__(services, parent)
        self.ranked: RankedPairs | None = None
        self.shown: list[int] = []
        self._run_id: int | None = None
        self._followed: int | None = None
        self._entered = False
        self._asking: _Asker | None = None  # the ranking asked for last
        self._ranker: _Asker | None = None  # whose ranking is shown
        self._saved = ""  # of the ranking that is shown
        self._undo: list[dict[Key, bool | None]] = []
        self._tasks = BackgroundTasks(self)
        self._stale: dict[int, None] = {}  # rows whose pictures are still to be shown anew, in order
        self._later = QTimer(self, singleShot=True, interval=0)
        self._later.timeout.connect(self._show_some)
        self._settle = QTimer(self, singleShot=True, interval=_CUT_SETTLES)
        self._settle.timeout.connect(self._cut_settled)
        self._connect()
        self._tell()

    def _connect(self) -> None:
        self.source.rank_asked.connect(self.rank)
        self.source.changed.connect(self._tell)
        self.source.refused.connect(lambda sentence: self.bar.show_message(warning(sentence)))
        self.empty.activated.connect(self.rank)
        self.strip.cancelled.connect(self._cancel)
        self.histogram.cut_moved.connect(self._cut_moved)
        self.filters.activated.connect(lambda _row: self.show_pairs())
        self.words.textChanged.connect(lambda _text: self.show_pairs())
        self.table.sort_asked.connect(lambda *_order: self.show_pairs())
        self.table.chosen.connect(lambda rows: self._follow_rows(rows, self.table.currentIndex().row()))
        self.gallery.selection_changed.connect(lambda rows: self.table.set_chosen(rows, self.gallery.current()))
        self.gallery.activated.connect(self.gallery.preview)
        self.table.doubleClicked.connect(lambda index: self.gallery.preview(index.row()))
        self.below_too.toggled.connect(self._below_too)
        self.marked.connect(self.mark)
        self.undo_asked.connect(self.undo)
        self.save_button.clicked.connect(self.ask_where)
        self.use_button.clicked.connect(self.use)

    # The place
    def select(self, selection: Selection) -> None:
        """Judge by the current run, unless another was ranked already."""
        self._run_id = selection.current_run
        if self.isVisible():
            self._follow()

    def entered(self) -> None:
        if not self._entered:
            self._entered = True
            settings = self._services.settings
            self.source.restore(str(settings.value("noise/source") or ""))
            followed = settings.value("noise/followed")
            self._followed = int(str(followed)) if str(followed or "").isdecimal() else None
        self._follow()

    def left(self) -> None:
        if self._entered:
            settings = self._services.settings
            settings.setValue("noise/source", self.source.state())
            settings.setValue("noise/followed", "" if self._followed is None else str(self._followed))
            self.keep_layout()

    def refresh(self) -> None:
        self.source.model.refresh()

    def focus_search(self) -> None:
        self.words.setFocus()
        self.words.selectAll()

    def _follow(self) -> None:
        """The tree's run is asked when it is another one than before and has a checkpoint."""
        if self._run_id is None or self._run_id == self._followed:
            return
        try:
            run = self._services.store.run(self._run_id)
        except StoreError:
            return
        if self.source.show_run(run.id, run.folder):
            self._followed = run.id
        self._tell()

    # Ranking
    def rank(self) -> None:
        """Ask the run's worker for the ranking."""
        request, choice = self.source.request(), self.source.model.choice()
        if request is None or choice is None:
            return
        self._forget_asking()
        calls = WorkerCalls(self._services.pool.client(choice.model, choice.title), self)
        asker = self._asking = _Asker(request["run"], calls)
        calls.progress.connect(self._progress)
        self.bar.clear()
        self.strip.start("Loading the model")
        calls.ask("rank", NOISE_OPEN, partial(self._came, asker), self._failed, partial=None, most=LISTED, **request)
        self._tell()

    def _forget_asking(self) -> None:
        """Nothing more is wanted of the last request, unless its ranking is shown."""
        if self._asking is not None and self._asking is not self._ranker:
            self._asking.calls.close()
        self._asking = None

    def _progress(self, _purpose: str, doing: str, done: int, total: int) -> None:
        self.strip.advance(done, total, doing[:1].upper() + doing[1:])

    def _cancel(self) -> None:
        for asker in (self._asking, self._ranker):
            if asker is not None:
                for purpose in ("rank", "save"):
                    asker.calls.cancel(purpose)

    def _came(self, asker: _Asker, answer: Ranking) -> None:
        """The marks of these data are read beside; then everything is shown."""
        key = source_key(str(answer["data"]))
        store = self._services.store
        self._tasks.run(
            lambda: RankedPairs(answer, store.pair_marks(key)),
            partial(self._take, asker),
            lambda sentence: self._failed(Failure(sentence)),
        )

    def _failed(self, failure: Failure) -> None:
        self.strip.finish()
        if isinstance(failure, Cancelled):
            self.bar.show_message(info(failure.text, remedy=Remedy("Rank the pairs", self.rank)))
        else:
            self.bar.show_message(error(failure.text, failure.details, Remedy("Try again", self.rank)))
        self._tell()

    def _take(self, asker: _Asker, ranked: RankedPairs) -> None:
        if asker is not self._asking:
            return  # another ranking was asked for meanwhile
        if self._ranker is not None and self._ranker is not asker:
            self._ranker.calls.close()
        self._ranker = asker
        self._show(ranked)

    def _show(self, ranked: RankedPairs) -> None:
        self.strip.finish()
        self.ranked = ranked
        self._made.clear()
        self._undo.clear()
        self._saved = ""
        ranked.below_too = self.below_too.isChecked()
        self.histogram.set_bins(ranked.bins, ranked.shuffled_bins)
        self.histogram.set_cut(ranked.cut)
        self.offer_shuffled(ranked.shuffled is not None)
        self.show_pairs()
        self.stack.setCurrentWidget(self.body)
        self.gallery.view.setFocus()

    # What is shown
    def show_pairs(self) -> None:
        """Filter and sort anew; gallery and table show the same."""
        if self.ranked is None:
            return
        before = self.chosen_rows()
        chosen = self.shown[before[0]] if before else -1
        sorting, descending = self.sorting()
        self.shown = self.ranked.shown(self.which(), self.words.text(), sorting, descending)
        self._stale.clear()
        self.table.pairs.show_pairs(self.ranked, self.shown)
        self.gallery.set_items(self._mark_cut([self.item(self.ranked, place) for place in self.shown]))
        if self.shown:
            self._choose(self.shown.index(chosen) if chosen in self.shown else 0)
        self._tell()

    def _choose(self, row: int) -> None:
        """One pair, in pictures and table."""
        self.gallery.set_current(row)
        self.table.set_chosen([row], row)

    def _mark_cut(self, items: list[Any]) -> list[Any]:
        """A line stands before the first pair that is not below the cut."""
        self._line_row = self.line_row(self.ranked, self.shown) if self.sorting() == ("rank", False) else -1
        if self._line_row > 0:
            items[self._line_row] = self.with_line(items[self._line_row], True)
        return items

    def _follow_rows(self, rows: list[int], current: int) -> None:
        if rows:
            self.gallery.set_current(current if current in rows else rows[0])
            self.gallery.set_selected(rows)

    def _redraw(self, rows: list[int]) -> None:
        """Show these rows anew: those in view at once, the others some at a time between other events."""
        seen = self.gallery.visible_rows()
        self._stale.update(dict.fromkeys(rows))
        self._show_anew([row for row in rows if row in seen])
        self._show_some()
        self.table.pairs.marked(rows)
        self._tell()

    def _show_some(self) -> None:
        self._show_anew(list(islice(self._stale, _AT_ONCE)))
        if self._stale:
            self._later.start()

    def _show_anew(self, rows: list[int]) -> None:
        assert self.ranked is not None
        for row in rows:
            del self._stale[row]
            item = self.item(self.ranked, self.shown[row])
            self.gallery.replace(row, self.with_line(item, row == self._line_row))

    # The cut
    def _cut_moved(self, cut: int) -> None:
        if self.ranked is not None:
            self.ranked.cut = cut
            self._tell()
            self._settle.start()

    def _cut_settled(self) -> None:
        """Where the dragging stopped, pictures change."""
        if self.which() == "below" or (self.ranked is not None and self.ranked.below_too):
            self.show_pairs()
        elif self.ranked is not None:
            before, self._line_row = self._line_row, self.line_row(self.ranked, self.shown)
            if self.sorting() != ("rank", False):
                self._line_row = -1
            self._redraw([row for row in {before, self._line_row} if 0 <= row < len(self.shown)])

    def _below_too(self, on: bool) -> None:
        if self.ranked is not None:
            self.ranked.below_too = on
            self.show_pairs()

    # Marks
    def chosen_rows(self) -> list[int]:
        """Rows of the selected pairs, else the current one."""
        selected = self.gallery.selected()
        current = self.table.currentIndex().row() if self.table.hasFocus() else self.gallery.current()
        return selected or ([current] if 0 <= current < len(self.shown) else [])

    def mark(self, wrong: bool | None) -> None:
        """Mark the selected pairs; the same mark again takes it back; after a single one the next is chosen."""
        ranked, rows = self.ranked, self.chosen_rows()
        if ranked is None or not rows:
            return
        pairs = [ranked.pairs[self.shown[row]] for row in rows]
        again = wrong is not None and all(ranked.marks.get(pair.key) is wrong for pair in pairs)
        self._remember_marks(ranked.mark(pairs, None if again else wrong), pairs)
        self._redraw(rows)
        if len(rows) == 1 and not again and rows[0] + 1 < len(self.shown):
            self._choose(rows[0] + 1)

    def undo(self) -> None:
        """Take the last marking back."""
        if self.ranked is None or not self._undo:
            return
        before = self._undo.pop()
        places = {pair.key: place for place, pair in enumerate(self.ranked.pairs)}
        for key, mark in before.items():
            if key in places:
                self.ranked.mark([self.ranked.pairs[places[key]]], mark)
        self._keep(before)
        wanted = {places[key] for key in before if key in places}
        rows = [row for row, place in enumerate(self.shown) if place in wanted]
        self._redraw(rows)
        if rows:
            self._choose(rows[0])

    def _remember_marks(self, before: dict[Key, bool | None], pairs: list[Pair]) -> None:
        assert self.ranked is not None
        self._undo.append(before)
        del self._undo[:-_UNDO]
        self._keep({pair.key: self.ranked.marks.get(pair.key) for pair in pairs})

    def _keep(self, marks: dict[Key, bool | None]) -> None:
        assert self.ranked is not None
        store, source = self._services.store, source_key(self.ranked.data)
        self._tasks.run(lambda: store.mark_pairs(source, marks), None, self._not_kept)

    def _not_kept(self, sentence: str) -> None:
        self.message_requested.emit(error(sentence))

    # Saving
    def ask_where(self) -> None:
        """Choose a file, and save; a file that is there already is asked about."""
        if self.ranked is None:
            return
        data = Path(self.ranked.data)
        folder = data.parent if data.is_file() else data
        start = free_path(folder / f"{data.stem}-cleaned.csv")
        found, _ = QFileDialog.getSaveFileName(self, "Save the cleaned pairs", str(start), "Tables (*.csv)")
        if found:
            path = Path(found if found.lower().endswith(".csv") else f"{found}.csv")
            # The dialog asked about the name that was typed, not about the one with an ending.
            self.save(path, replace=str(path) == found and path.exists())

    def save(self, path: Path, replace: bool = False) -> None:
        """Write the pairs that are not left out to ``path``."""
        if self.ranked is None or self._ranker is None:
            return
        self.bar.clear()
        self.strip.start("Saving the pairs")
        arguments = self.ranked.saving() | {"data": self.ranked.data, "to": str(path), "excluded": []}
        self._ranker.calls.ask("save", NOISE_SAVE, self._was_saved, self._not_saved, replace=replace, **arguments)

    def _was_saved(self, answer: SavedPairs) -> None:
        self.strip.finish()
        self._saved = str(answer["path"])
        kept = answer["captions"]
        text = f"{count(kept)} pairs are saved as {self._saved}. Use them in a new experiment."
        self.bar.show_message(info(text))
        self._tell()

    def _not_saved(self, failure: Failure) -> None:
        self.strip.finish()
        if isinstance(failure, Cancelled):
            self.bar.show_message(info("Saving was cancelled."))
        else:
            self.bar.show_message(error(failure.text, failure.details))

    def use(self) -> None:
        """A new experiment like the ranking run's, trained on what was saved."""
        if not self._saved or self._ranker is None:
            return
        try:
            config = read_config(RunDir(self._ranker.run).config)
        except ConfigError as problem:
            self.bar.show_message(error(f"The run's definition cannot be read: {problem}"))
            return
        data = config.data.model_copy(update={"train": self._saved})
        self.define_asked.emit(config.model_copy(update={"data": data, "name": f"{config.name} cleaned"[:100]}))

    def _tell(self) -> None:
        """Counts, and what can be done now."""
        ranking = self._asking is not None and self._asking.calls.busy("rank")
        self.source.rank.setEnabled(self.source.request() is not None and not ranking)
        self.tell_counts(self.ranked, len(self.shown))
        self.use_button.setEnabled(bool(self._saved))
        if self.ranked is None:
            self.show_empty(self.source.request() is not None, ranking)


def source_key(data: str) -> str:
    """By what marks of a data source are kept."""
    return str(expand_user(data).resolve())
