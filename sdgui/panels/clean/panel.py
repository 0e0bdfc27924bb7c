"""Clean: finds likely mismatched pairs with a model, to mark, exclude and save as cleaned training data.

Flow: model and data -> worker ``noise_open`` -> ``RankedPairs`` (with the store's marks) -> gallery, table, histogram;
keys (X, Space, U) mark pairs, marks are stored immediately; worker ``noise_save`` -> a table -> a new experiment.
"""

from __future__ import annotations

from itertools import islice
from pathlib import Path

from PySide6.QtCore import QTimer
from PySide6.QtWidgets import QWidget

from core.spec.config import read_config
from core.spec.errors import UserError
from core.spec.run.folder import RunDir
from sdgui.panels.clean.layout import CleanView
from sdgui.panels.clean.model import Key, PairState, RankedPairs
from sdgui.panels.clean.source import newest_training_data, run_folder
from sdgui.panels.clean.table import CAPTION
from sdgui.panels.clean.work import CLEANED_TABLE, CleanWork, source_key
from sdgui.shared.basket import Finding
from sdgui.shared.export.formats import free_path
from sdgui.shared.failures import failure_message
from sdgui.shared.own_data import own_data_config
from sdgui.shared.panel import Panel
from sdgui.shared.services import Services
from sdgui.store.records import StoreError
from sdgui.widgets.drop_target import FileDrop
from sdgui.widgets.file_dialogs import ask_save
from sdgui.widgets.formats import capitalize, count_with_unit
from sdgui.widgets.message import error, info, warning
from sdgui.worker.replies import Failure
from sdgui.worker.verbs import SavedSource

_MAX_UNDO = 100  # undo steps
_ROWS_PER_UPDATE = 200  # rows that are redrawn in one turn of the event loop
_SETTLE_MS = 120  # pause in dragging the threshold after which the images are updated


class CleanPanel(Panel):
    """Controls ``view``. ``ranked``: the shown ranking, None before the first; kept if a later ranking fails."""

    def __init__(self, services: Services, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._services = services
        self.view = CleanView(services, self)
        self.set_view(self.view)
        self.progress = (self.view.strip,)
        self.ranked: RankedPairs | None = None
        self.visible_indices: list[int] = []  # index in ``ranked.pairs`` of each shown row
        self._entered = False
        self.work = CleanWork(services.pool, services.store, self)
        self._recalled_source: tuple[str, str] | None = None  # model and data whose last ranking was requested
        self._other_source = ""  # the ranking's model and data if they differ from the current choice
        self._saved = self._saved_by = ""  # path of the data saved last, and the model that ranked it
        self._earlier_states: list[dict[Key, PairState]] = []  # before each change, for undo
        self._line_row = -1  # first row at or above the threshold
        self._stale: dict[int, None] = {}  # rows with outdated images, in order
        self._redraw_timer = QTimer(self, singleShot=True, interval=0)
        self._redraw_timer.timeout.connect(self._redraw_some)
        self._settle_timer = QTimer(self, singleShot=True, interval=_SETTLE_MS)
        self._settle_timer.timeout.connect(self._on_threshold_settled)
        self._connect()
        self._update()

    def _connect(self) -> None:
        FileDrop(self, "Rank the pairs of this folder or table").dropped.connect(self.view.source.data.set_source)
        self.view.source.rank_requested.connect(self.rank)
        self.view.source.changed.connect(self._on_source_changed)
        self.view.source.refused.connect(lambda sentence: self.view.bar.show_message(warning(sentence)))
        self.view.empty.activated.connect(self.rank)
        self.view.strip.cancelled.connect(self.work.cancel)
        self.work.progress.connect(
            lambda activity, done, total: self.view.strip.advance(done, total, capitalize(activity))
        )
        self.work.ranked.connect(self._show)
        self.work.rank_failed.connect(self._on_rank_failed)
        self.work.saved.connect(self._on_saved)
        self.work.save_failed.connect(self._on_save_failed)
        self.work.mark_failed.connect(lambda sentence: self.message_requested.emit(error(sentence)))
        self.view.histogram.threshold_moved.connect(self._on_threshold_moved)
        self.view.filters.activated.connect(lambda _row: self.show_pairs())
        self.view.filter_box.textChanged.connect(lambda _text: self.show_pairs())
        self.view.table.sort_requested.connect(lambda *_order: self.show_pairs())
        self.view.table.rows_selected.connect(self._follow_rows)
        self.view.gallery.selection_changed.connect(
            lambda rows: self.view.table.select_rows(rows, self.view.gallery.current())
        )
        self.view.table.doubleClicked.connect(lambda index: self.view.gallery.preview(index.row()))
        self.view.exclude_below.toggled.connect(self._exclude_below)
        self.view.marked.connect(self.mark)
        self.view.undo_requested.connect(self.undo)
        self.view.suggestion_requested.connect(self.use_suggestions)
        self.view.edit_requested.connect(self.edit_caption)
        self.view.table.pairs.corrected.connect(self.correct)
        self.view.basket_button.clicked.connect(self.add_to_basket)
        self.view.save_button.clicked.connect(self.ask_where)
        self.view.use_button.clicked.connect(self.use_in_experiment)

    # Panel
    def use_run(self, run_id: int) -> None:
        """Rank with this run."""
        try:
            run = self._services.store.run(run_id)
        except StoreError as problem:
            self.view.bar.show_message(error(str(problem)))
            return
        self.view.source.show_run(run.id, run.folder)

    def ask_model(self) -> None:
        self.view.source.model.setFocus()

    def on_enter(self) -> None:
        if not self._entered:
            self._entered = True
            settings = self._services.settings
            self.view.source.restore(str(settings.value("clean/source") or ""))
            if self.view.source.model.choice() is None:
                self.view.source.model.choose_default()
            store = self._services.store
            self.work.background.run(lambda: newest_training_data(store), self.view.source.suggest_data)
        self._update()

    def on_leave(self) -> None:
        if self._entered:
            self._services.settings.setValue("clean/source", self.view.source.state())
            self.view.save_layout()

    def refresh(self) -> None:
        self.view.source.model.refresh()

    def focus_search(self) -> None:
        self.view.filter_box.setFocus()
        self.view.filter_box.selectAll()

    def _on_source_changed(self) -> None:
        """Show the last ranking by the chosen model on the chosen data."""
        request = self.view.source.request()
        key = (request["model"], request["data"]) if request is not None else None
        if key is not None and key != self._recalled_source:
            self.work.recall(*key)
        self._recalled_source = key
        self._update()

    # Ranking
    def rank(self) -> None:
        """Rank the pairs with the chosen model."""
        request, choice = self.view.source.request(), self.view.source.model.choice()
        if request is None or choice is None:
            return
        self.view.bar.clear()
        self.view.strip.start("Loading the model")
        self.work.rank(choice, request)
        self._update()

    def _end_progress(self) -> None:
        if not self.work.is_busy:
            self.view.strip.finish()

    def _on_rank_failed(self, failure: Failure) -> None:
        self._end_progress()
        message = failure_message(failure, "Ranking was cancelled.", self.rank, "Rank the pairs")
        self.view.bar.show_message(message)
        self._update()

    def _show(self, ranked_pairs: RankedPairs) -> None:
        self._end_progress()
        self.view.table.commit_edit()
        if self.ranked is not None and source_key(self.ranked.data) == source_key(ranked_pairs.data):
            ranked_pairs.marks, ranked_pairs.corrections = self.ranked.marks, self.ranked.corrections
        self.ranked = ranked_pairs
        self._earlier_states.clear()
        self._saved = ""
        ranked_pairs.exclude_below = self.view.exclude_below.isChecked()
        self.view.histogram.set_bins(ranked_pairs.bins, ranked_pairs.shuffled_bins)
        self.view.histogram.set_threshold(ranked_pairs.threshold)
        self.view.offer_shuffled(ranked_pairs.shuffled is not None)
        self.show_pairs()
        self.view.stack.setCurrentWidget(self.view.body)
        self.view.gallery.view.setFocus()

    # Display
    def show_pairs(self) -> None:
        """Filter and sort; gallery and table show the same pairs."""
        if self.ranked is None:
            return
        previous_rows = self.selected_rows()
        current = self.visible_indices[previous_rows[0]] if previous_rows else -1
        words, sorting = self.view.filter_box.text(), self.view.table.sorting()
        self.visible_indices = self.ranked.filtered(self.view.filters.currentData(), words, *sorting)
        self._stale.clear()
        self.view.table.pairs.show_pairs(self.ranked, self.visible_indices)
        self._line_row = self._threshold_row()
        rows = enumerate(self.visible_indices)
        items = [self.view.item(self.ranked, index, row == self._line_row) for row, index in rows]
        self.view.gallery.set_items(items)
        if self.visible_indices:
            self._choose(self.visible_indices.index(current) if current in self.visible_indices else 0)
        self._update()

    def _choose(self, row: int) -> None:
        """Select one pair in gallery and table."""
        self.view.gallery.set_current(row)
        self.view.table.select_rows([row], row)

    def _threshold_row(self) -> int:
        """The row before which the threshold line is drawn: the first at or above the threshold; -1 for no line."""
        if self.ranked is None or self.view.table.sorting() != ("rank", False):
            return -1
        pairs, threshold = self.ranked.pairs, self.ranked.threshold
        rows = (row for row, index in enumerate(self.visible_indices) if pairs[index].bin >= threshold)
        first_row = next(rows, -1)
        return first_row if first_row > 0 else -1  # before row 0, there is nothing to separate

    def _follow_rows(self, rows: list[int]) -> None:
        current = self.view.table.currentIndex().row()
        if rows:
            self.view.gallery.set_current(current if current in rows else rows[0])
            self.view.gallery.set_selected(rows)

    def _redraw(self, rows: list[int]) -> None:
        """Redraw rows: visible ones immediately, the others in batches between other events."""
        seen = self.view.gallery.visible_rows()
        self._stale.update(dict.fromkeys(rows))
        self._redraw_rows([row for row in rows if row in seen])
        self._redraw_some()
        self.view.table.pairs.refresh_rows(rows)
        self._update()

    def _redraw_some(self) -> None:
        self._redraw_rows(list(islice(self._stale, _ROWS_PER_UPDATE)))
        if self._stale:
            self._redraw_timer.start()

    def _redraw_rows(self, rows: list[int]) -> None:
        assert self.ranked is not None
        for row in rows:
            del self._stale[row]
            item = self.view.item(self.ranked, self.visible_indices[row], row == self._line_row)
            self.view.gallery.replace(row, item)

    # The threshold
    def _on_threshold_moved(self, threshold: int) -> None:
        if self.ranked is not None:
            self.ranked.threshold = threshold
            self._show_counts()
            self._settle_timer.start()

    def _on_threshold_settled(self) -> None:
        """Update the images once dragging has stopped."""
        if self.view.filters.currentData() == "below" or (self.ranked is not None and self.ranked.exclude_below):
            self.show_pairs()
        elif self.ranked is not None:
            previous_row, self._line_row = self._line_row, self._threshold_row()
            self._redraw([row for row in {previous_row, self._line_row} if 0 <= row < len(self.visible_indices)])

    def _exclude_below(self, on: bool) -> None:
        if self.ranked is not None:
            self.ranked.exclude_below = on
            self.show_pairs()

    # Marks
    def selected_rows(self) -> list[int]:
        """Rows of the selected pairs, or the current row."""
        selected = self.view.gallery.selected()
        current = self.view.table.currentIndex().row() if self.view.table.hasFocus() else self.view.gallery.current()
        return selected or ([current] if 0 <= current < len(self.visible_indices) else [])

    def mark(self, mismatched: bool | None) -> None:
        """Toggle the mark of the selected pairs; after marking a single pair, select the next one."""
        ranked_pairs, rows = self.ranked, self.selected_rows()
        if ranked_pairs is None or not rows:
            return
        keys = [ranked_pairs.pairs[self.visible_indices[row]].key for row in rows]
        is_repeated = mismatched is not None and all(ranked_pairs.marks.get(key) is mismatched for key in keys)
        self._change(ranked_pairs, dict.fromkeys(keys, PairState(None if is_repeated else mismatched)))
        self._redraw(rows)
        if len(rows) == 1 and not is_repeated and rows[0] + 1 < len(self.visible_indices):
            self._choose(rows[0] + 1)

    def undo(self) -> None:
        """Undo the last marking or correction."""
        if self.ranked is None or not self._earlier_states:
            return
        states = self._earlier_states.pop()
        self.work.set_states(self.ranked, states, self._services.basket)
        pairs = self.ranked.pairs
        rows = [row for row, index in enumerate(self.visible_indices) if pairs[index].key in states]
        self._redraw(rows)
        if rows:
            self._choose(rows[0])

    def _change(self, ranked_pairs: RankedPairs, states: dict[Key, PairState]) -> None:
        self._earlier_states.append(self.work.set_states(ranked_pairs, states, self._services.basket))
        del self._earlier_states[:-_MAX_UNDO]

    # Corrections
    def edit_caption(self) -> None:
        """Edit the caption of the current pair in the table."""
        if rows := self.selected_rows():
            self.view.table.edit(self.view.table.pairs.index(rows[0], CAPTION))

    def use_suggestions(self) -> None:
        """Replace the captions of the selected pairs by the suggested captions."""
        for row in self.selected_rows():
            self.correct(row, self.view.table.pairs.pair(row).suggestion)

    def correct(self, row: int, text: str) -> None:
        """Add a corrected caption to the basket; the pair counts as mismatched until the basket is applied.

        The original caption takes the correction and the mark back.
        """
        ranked_pairs, pair, caption = self.ranked, self.view.table.pairs.pair(row), " ".join(text.split())
        if ranked_pairs is None or caption in ("", ranked_pairs.caption(pair)):
            return
        state = PairState(None) if caption == pair.caption else PairState(True, caption)
        self._change(ranked_pairs, {pair.key: state})
        self._redraw([row])

    # Saving
    def add_to_basket(self) -> None:
        """Add the excluded pairs to the basket as mismatched."""
        ranked_pairs = self.ranked
        pairs = ranked_pairs.excluded_pairs() if ranked_pairs is not None else []
        if ranked_pairs is None or not pairs:
            return
        self._services.basket.add(Finding(ranked_pairs.data, tuple(self.work.fix(pair.key) for pair in pairs)))
        text = f"{count_with_unit(len(pairs), 'pair')} {'is' if len(pairs) == 1 else 'are'} in the basket."
        if (unlisted_count := ranked_pairs.excluded_count() - len(pairs) - len(ranked_pairs.corrections)) > 0:
            unlisted = count_with_unit(unlisted_count, "unlisted pair")
            text += f" Only “Save as new data” also excludes {unlisted}."
        self.view.bar.show_message(info(text))

    def ask_where(self) -> None:
        """Choose a file and save the remaining pairs; the dialog asks before it overwrites a file."""
        if self.ranked is None:
            return
        data = Path(self.ranked.data)
        folder = data if data.is_dir() else data.parent
        start = free_path(folder / f"{data.stem}-{CLEANED_TABLE.file_name}")
        if file := ask_save(self, CLEANED_TABLE.title, start, CLEANED_TABLE.filter, CLEANED_TABLE.suffix):
            self.save(file.path, replace=file.replaces)

    def save(self, path: Path, replace: bool = False) -> None:
        """Save the pairs that are not excluded to ``path``."""
        if self.ranked is None:
            return
        self.view.bar.clear()
        self.view.strip.start("Saving the pairs")
        self.work.save(self.ranked, path, replace)

    def _on_saved(self, answer: SavedSource, model: str) -> None:
        self._end_progress()
        self._saved, self._saved_by = str(answer["path"]), model
        pairs = count_with_unit(answer["captions"], "pair")
        text = f"{pairs} saved as {self._saved}. You can use them in a new experiment."
        self.view.bar.show_message(info(text))
        self._update()

    def _on_save_failed(self, failure: Failure) -> None:
        self._end_progress()
        self.view.bar.show_message(failure_message(failure, "Saving was cancelled."))

    def use_in_experiment(self) -> None:
        """Create an experiment that trains on the saved data: like the ranking run's, if a run ranked it."""
        if not self._saved:
            return
        run = run_folder(self._saved_by)
        try:
            config = own_data_config(Path(self._saved)) if run is None else read_config(RunDir(run).config)
        except UserError as problem:
            self.view.bar.show_message(error(f"No experiment can be created: {problem}"))
            return
        data = config.data.model_copy(update={"train": self._saved})
        name = config.name if run is None else f"{config.name} cleaned"[:100]
        self.new_experiment_requested.emit(config.model_copy(update={"data": data, "name": name}))

    def _update(self) -> None:
        """Update the counts and the enabled state of the buttons."""
        request, ranking, ranked_pairs = self.view.source.request(), self.work.is_ranking, self.ranked
        self.view.source.rank_button.setEnabled(request is not None and not ranking)
        self.view.use_button.setEnabled(bool(self._saved))
        if ranked_pairs is None:
            self.view.show_empty(request is not None, ranking)
        elif request is not None and self.work.model:
            is_current = self.work.is_by(request) and source_key(request["data"]) == source_key(ranked_pairs.data)
            self._other_source = "" if is_current else f"{self.work.title} on {ranked_pairs.data}"
        else:
            self._other_source = ""
        self._show_counts()

    def _show_counts(self) -> None:
        self.view.show_counts(self.ranked, len(self.visible_indices), self._other_source)
