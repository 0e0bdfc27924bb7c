"""The basket's dialog: review and remove entries, save the fixed data, retrain on it and compare.

Flow: status bar's button -> **dialog** <- ``Basket.changed``; ``Retraining`` does the slow work. It does not block
the window: panels can add to the basket while it is open.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

from PySide6.QtCore import Qt, QUrl, Signal
from PySide6.QtGui import QCloseEvent, QDesktopServices
from PySide6.QtWidgets import QDialog, QWidget

from sdgui.shared.export.formats import free_path
from sdgui.shared.failures import failure_message
from sdgui.shared.fixing.items import ANY_DATA, counts_line, entries_for, item, sources_of
from sdgui.shared.fixing.retraining import FixedData, PageWritten, Retraining, RunPair, TrainedRun
from sdgui.shared.fixing.view import BasketView
from sdgui.shared.services import Services
from sdgui.store.changes import Changes
from sdgui.store.local.fixes import StoredFix
from sdgui.widgets.file_dialogs import ask_open, ask_save
from sdgui.widgets.formats import capitalize, count
from sdgui.widgets.layouts.boxes import vbox
from sdgui.widgets.message import Remedy, info
from sdgui.widgets.plain_text import plain_tip
from sdgui.widgets.popovers.placing import bring_to_front
from sdgui.worker.replies import Failure


class BasketDialog(QDialog):
    """The dialog of the basket. ``changed``: records that were written to the store."""

    changed = Signal(object)  # Changes

    def __init__(self, services: Services, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setWindowTitle("Basket")
        self.setModal(False)
        self.resize(960, 640)
        self._services, self._basket = services, services.basket
        self.view = BasketView(services, self)
        self.work = Retraining(services, self)
        self.entries: list[StoredFix] = []  # all entries
        self.visible_entries: list[StoredFix] = []  # entries of the selected data, as shown in the gallery
        self._run_to_repeat: TrainedRun | None = None  # retrained when the data has been saved
        self._runs_request = 0  # number of the last request; answers to earlier requests are dropped
        vbox(self.view, into=self)
        self._connect()
        self._show_buttons()

    def _connect(self) -> None:
        view = self.view
        self._basket.changed.connect(lambda _count: self.refresh())
        view.sources.activated.connect(lambda _row: self._on_source_chosen())
        view.gallery.selection_changed.connect(lambda _rows: self._show_buttons())
        view.gallery.remove_requested.connect(self.remove_rows)
        view.remove.clicked.connect(lambda: self.remove_rows(view.gallery.selected()))
        view.clear_all.clicked.connect(lambda: self.remove_rows(list(range(len(self.visible_entries)))))
        view.undo.clicked.connect(self._basket.undo)
        view.save.clicked.connect(self.ask_where)
        view.retrain.clicked.connect(self.retrain)
        view.runs.activated.connect(lambda _row: self._show_buttons())
        view.pairs.activated.connect(lambda _row: self._show_buttons())
        view.page.clicked.connect(self.ask_page)
        view.strip.cancelled.connect(self.work.cancel)
        self.work.progress.connect(lambda activity, done, total: view.strip.advance(done, total, capitalize(activity)))
        self.work.saved.connect(self._on_saved)
        self.work.retrained.connect(self._on_retrained)
        self.work.page_saved.connect(self._on_page_saved)
        self.work.failed.connect(self._on_failed)
        self._services.follower.state_changed.connect(self._on_run_changed)

    # Display
    def open_current(self) -> None:
        """Open the dialog with the current entries of the basket."""
        self.refresh()
        self._read_pairs()
        bring_to_front(self)

    def refresh(self) -> None:
        """Read the entries again."""
        self._basket.read(self._show_entries)

    def _show_entries(self, entries: Sequence[StoredFix]) -> None:
        self.entries = list(entries)
        source_before, box = self.source(), self.view.sources
        box.clear()
        for source, number in sources_of(self.entries):
            box.addItem(f"{Path(source).name or ANY_DATA} ({count(number)})", source)
            box.setItemData(box.count() - 1, plain_tip(source or ANY_DATA), Qt.ItemDataRole.ToolTipRole)
        if box.count() and not box.itemData(0):  # images of an unknown source
            box.addItem("Choose the data…", None)
        box.setCurrentIndex(max(0, box.findData(source_before)) if box.count() else -1)
        self._on_source_chosen(keep=source_before == self.source())

    def source(self) -> str:
        """The data whose entries are shown; "" if none are selected."""
        return str(self.view.sources.currentData() or "")

    def _on_source_chosen(self, keep: bool = False) -> None:
        if self.view.sources.currentIndex() >= 0 and self.view.sources.currentData() is None:
            self._ask_source()
        self.visible_entries = entries_for(self.entries, self.source())
        self.view.gallery.set_items([item(entry, number) for number, entry in enumerate(self.visible_entries, start=1)])
        self.view.counts.setText(counts_line(self.visible_entries))
        self.view.stack.setCurrentWidget(self.view.gallery if self.visible_entries else self.view.empty)
        if not keep or not self.view.runs.count():
            self._read_runs()
        self._show_buttons()

    def _ask_source(self) -> None:
        path, box = ask_open(self, "Choose the data that these images belong to"), self.view.sources
        if path is not None:
            box.insertItem(0, f"{path.name} ({count(len(self.entries))})", str(path))
        box.setCurrentIndex(0)

    def _read_runs(self) -> None:
        self._runs_request += 1
        number, source = self._runs_request, self.source()
        self.view.runs.clear()
        if source:
            self.work.tasks.run(lambda: self.work.trained_on(source), partial(self._show_runs, number))

    def _show_runs(self, number: int, trained_runs: Sequence[TrainedRun]) -> None:
        if number != self._runs_request:
            return
        reporting_runs = {entry.fix.run for entry in self.visible_entries}  # runs that reported these fixes come first
        for trained in sorted(trained_runs, key=lambda trained: str(trained.run.folder) not in reporting_runs):
            self.view.runs.addItem(
                f"{trained.config.name} · run {trained.run.key} · seed {trained.config.seed}", trained
            )
        self.view.runs.setCurrentIndex(0 if trained_runs else -1)  # with a placeholder, Qt selects nothing
        self._show_buttons()

    def _on_run_changed(self, _run_id: int) -> None:
        if self.isVisible():  # otherwise, the pairs are read when the dialog is opened
            self._read_pairs()

    def _read_pairs(self) -> None:
        self.work.tasks.run(self.work.pairs, self._show_pairs)

    def _show_pairs(self, pairs: Sequence[RunPair]) -> None:
        box, title_before = self.view.pairs, self.view.pairs.currentText().split(":")[0]
        box.clear()
        for pair in pairs:
            box.addItem(f"{pair.title}: {pair.state_text()}", pair)
            if pair.title == title_before or not box.currentData():
                box.setCurrentIndex(box.count() - 1)
        self._show_buttons()

    def _show_buttons(self) -> None:
        view, busy = self.view, self.view.strip.isVisible()
        has_entries, has_source = bool(self.visible_entries), bool(self.source())
        view.remove.setEnabled(bool(view.gallery.selected()))
        view.clear_all.setEnabled(has_entries)
        view.undo.setEnabled(self._basket.can_undo)
        can_save = has_source and not busy and any(not entry.unknown_kind for entry in self.visible_entries)
        view.save.setEnabled(can_save)
        view.retrain.setEnabled(can_save and isinstance(view.runs.currentData(), TrainedRun))
        lacks_run = has_source and has_entries and not view.runs.count()
        view.runs.setPlaceholderText("No run on this data: save the data, then define one" if lacks_run else "")
        pair = view.pairs.currentData()
        view.page.setEnabled(isinstance(pair, RunPair) and pair.ready and not busy)

    # Actions
    def remove_rows(self, rows: list[int]) -> None:
        """Remove the entries at these rows; Ctrl+Z restores them."""
        self._basket.remove([self.visible_entries[row].id for row in rows])

    def _free_name(self) -> Path:
        data = Path(self.source())
        folder = data if data.is_dir() else data.parent
        return free_path(folder / f"{data.stem}-fixed.csv")

    def ask_where(self) -> None:
        """Ask for a file and save the fixed data."""
        if file := ask_save(self, "Save the fixed data", self._free_name(), "Tables (*.csv)", ".csv"):
            self._save(file.path, replace=file.replaces)

    def retrain(self) -> None:
        """Save the fixed data in a new folder of the home, then queue the pair of runs."""
        self._run_to_repeat = self.view.runs.currentData()
        name = f"{Path(self.source()).stem}-fixed"
        self._save(free_path(self._services.store.home / "data" / name) / f"{name}.csv", replace=False)

    def _save(self, target: Path, replace: bool) -> None:
        self.view.bar.clear()
        self.view.strip.start("Saving the fixed data")
        self.work.save(
            self.source(), [entry for entry in self.visible_entries if not entry.unknown_kind], target, replace
        )
        self._show_buttons()

    def _on_saved(self, fixed_data: FixedData) -> None:
        self.view.strip.finish()
        run_to_repeat, self._run_to_repeat = self._run_to_repeat, None
        if run_to_repeat is not None:
            self.work.retrain(run_to_repeat, fixed_data["path"], self.view.seeds.value())
        else:
            saved = f"{count(fixed_data['captions'])} pairs saved as {fixed_data['path']}"
            text = f"{saved}; the fixes are in {fixed_data['record']}."
            self.view.bar.show_message(info(text))
        self._show_buttons()

    def _on_retrained(self, changes: Changes) -> None:
        number = len(changes.runs)
        seeds = "" if number == 2 else f", with {number // 2} seeds"
        text = f"{count(number)} runs are queued, before and after the fixes{seeds}. Compare a finished pair below."
        self.view.bar.show_message(info(text))
        self.changed.emit(changes)
        self._read_pairs()

    def ask_page(self) -> None:
        """Ask for a file and save the page of the selected pair."""
        pair = self.view.pairs.currentData()
        if isinstance(pair, RunPair):
            start = free_path(pair.after.folder.parent / "before-and-after.html")
            if file := ask_save(self, "Save the page", start, "Pages (*.html)", ".html"):
                self.save_page(pair, file.path)

    def save_page(self, pair: RunPair, target: Path) -> None:
        """Compare the two runs and write the page."""
        self.view.bar.clear()
        self.view.strip.start("Loading the models")
        self.work.page(pair, target)
        self._show_buttons()

    def _on_page_saved(self, page: PageWritten) -> None:
        self.view.strip.finish()
        url = QUrl.fromLocalFile(page["path"])
        open_page = Remedy("Open the page", lambda: QDesktopServices.openUrl(url))
        self.view.bar.show_message(info(f"The comparison is in {page['path']}.", remedy=open_page))
        self._show_buttons()

    def _on_failed(self, failure: Failure) -> None:
        self.view.strip.finish()
        self._run_to_repeat = None
        self.view.bar.show_message(failure_message(failure))
        self._show_buttons()

    def closeEvent(self, event: QCloseEvent) -> None:
        self.view.bar.clear()
        super().closeEvent(event)
