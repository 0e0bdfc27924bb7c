"""Data: the images of a source with captions and labels, statistics, duplicates, leaks, broken rows and views.

Flow: a source -> worker ``data_open`` -> `SourceRows`, a part at a time -> gallery and statistics; ``data_check`` ->
groups. Exclusions are saved; ``data_save`` writes the remaining rows as a new source.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import cast

from PySide6.QtCore import QTimer
from PySide6.QtWidgets import QWidget

from core.spec.config import ConfigError, read_config
from core.spec.data.fixes import Fix
from core.spec.presets import preset_config
from core.spec.shards import may_exist
from sdgui.panels.data.gallery_rows import GalleryRows
from sdgui.panels.data.groups import problem_rows
from sdgui.panels.data.images import suggested_path
from sdgui.panels.data.layout import IMAGES, VIEWS, DataView
from sdgui.panels.data.model import SourceRows
from sdgui.panels.data.views_page import ViewsPage
from sdgui.panels.data.work import DataWork
from sdgui.shared.basket import Finding
from sdgui.shared.failures import failure_message
from sdgui.shared.panel import Panel
from sdgui.shared.pickers.splits import splits_beside
from sdgui.shared.services import Services
from sdgui.store.records import StoreError
from sdgui.widgets.actions import Actions
from sdgui.widgets.drop_target import FileDrop
from sdgui.widgets.file_dialogs import ask_open, ask_save
from sdgui.widgets.formats import capitalize, count, count_with_unit
from sdgui.widgets.late_parts import is_made
from sdgui.widgets.message import Remedy, error, info
from sdgui.worker.data_verbs import Checked, RowsOpened, RowsPart
from sdgui.worker.replies import Failure
from sdgui.worker.verbs import SavedSource

_TITLE = "Data"
_TYPING_PAUSE_MS = 150
_ACTIVITIES = {"open": "Reading the data", "check": "Checking the images", "save": "Saving"}


class DataPanel(Panel):
    """Controls ``view``. ``rows``: all rows of the open source; ``gallery_rows``: the rows in the gallery."""

    def __init__(self, services: Services, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._services = services
        self.view = DataView(services, self)
        self.set_view(self.view)
        self.progress = (self.view.strip,)
        self.rows = SourceRows()
        self.gallery_rows = GalleryRows(self.view.gallery, self)
        self.facts: RowsOpened | None = None
        self.checked: Checked | None = None
        self._other_splits: dict[str, str] = {}  # split -> source
        self._actions: Actions | None = None
        self._entered = False
        self.work = DataWork(services.pool, services.store.home, self)
        self._filter_timer = QTimer(self, singleShot=True, interval=_TYPING_PAUSE_MS)
        self._filter_timer.timeout.connect(self.show_rows)
        self._parts: deque[RowsPart | RowsOpened] = deque()  # received parts that are not shown yet
        self._part_timer = QTimer(self, interval=0)
        self._part_timer.timeout.connect(self._handle_next_part)
        self._connect()
        self.view.show_controls(False)

    def _connect(self) -> None:
        view, work = self.view, self.work
        FileDrop(self, "Open this folder or table").dropped.connect(self.show_source)
        view.source.changed.connect(self.open)
        view.source.held_out.connect(self._on_held_out)
        view.empty.activated.connect(lambda: view.source.menu().popup(view.empty.below()))
        view.demo_button.clicked.connect(self._open_demo)
        view.filtered.connect(self._filter_timer.start)
        view.label.activated.connect(self._on_label_chosen)
        view.action_requested.connect(self._run_action)
        view.tabs.currentChanged.connect(self._on_tab_changed)
        view.gallery.remove_requested.connect(lambda _rows: self.exclude(self.gallery_rows.chosen()))
        view.gallery.selection_changed.connect(lambda _rows: self._show_views())
        view.figures.value_chosen.connect(self._on_value_chosen)
        view.groups.check_requested.connect(self.check)
        view.groups.other_requested.connect(self._ask_other)
        view.groups.exclude_requested.connect(lambda rows: self.exclude(rows, excluded=True))
        view.views_made.connect(self._on_views_made)
        view.strip.cancelled.connect(work.cancel)
        work.progress.connect(self._show_progress)
        work.part.connect(self._on_part)
        work.opened.connect(self._on_part)
        work.open_failed.connect(self._on_open_failed)
        work.checked.connect(self._on_checked)
        work.check_failed.connect(self._on_failed)
        work.saved.connect(self._on_saved)
        work.save_failed.connect(self._on_failed)
        work.exclusions_failed.connect(lambda sentence: self.message_requested.emit(error(sentence)))

    # Panel
    def set_actions(self, actions: Actions) -> None:
        self._actions = actions

    def _open_demo(self) -> None:
        """Open the demo images, or create them if necessary."""
        if self._services.demo.complete:
            self.show_source(str(self._services.demo.folder / "train.csv"))
        elif self._actions is not None:
            self._actions["demo"].trigger()

    def use_run(self, run_id: int) -> None:
        """Open the training data of this run, and the views of its config."""
        try:
            run = self._services.store.run(run_id)
            config = read_config(run.dir.config)
        except (StoreError, ConfigError) as problem:
            self.view.bar.show_message(error(f"The run's config cannot be read: {problem}"))
            return
        self.show_source(config.data.train)
        self.view.views.add_config(f"Run of {config.name}", config)

    def on_enter(self) -> None:
        if self._entered:
            return
        self._entered = True
        last = str(self._services.settings.value("data/source") or "")
        if may_exist(last) and not self.view.source.source():
            self.view.source.set_source(last)

    def refresh(self) -> None:
        if is_made(self.view, "views"):
            self._list_experiments(self.view.views)

    def _on_views_made(self, page: ViewsPage) -> None:
        page.new_experiment_requested.connect(self.new_experiment_requested)
        self._list_experiments(page)
        if self.rows.source:
            page.choose_for(self.rows.source)

    def _list_experiments(self, page: ViewsPage) -> None:
        try:
            experiments = reversed(self._services.store.experiments())
        except StoreError:
            return
        page.set_experiments([(record.name, record.config) for record in experiments if record.config is not None])

    def on_leave(self) -> None:
        if self._entered:
            self.view.save_layout()
            self._services.settings.setValue("data/source", self.view.source.source())

    def focus_search(self) -> None:
        self.view.tabs.setCurrentIndex(IMAGES)
        self.view.filter_box.setFocus()
        self.view.filter_box.selectAll()

    def show_source(self, source: str, query: str = "") -> None:
        """Open ``source`` as if the user had chosen it."""
        self.view.source.set_source(source)

    def open(self, source: str) -> None:
        """Read the rows of ``source`` and show them as they arrive."""
        self.rows = SourceRows(source)
        self._parts.clear()
        self.facts = self.checked = None
        self.gallery_rows.begin(self.rows)
        self._other_splits = splits_beside(self._services.store, source)
        self.view.bar.clear()
        self.view.figures.show_facts(None)
        self.view.groups.show_checked(None, self.rows)
        self.view.groups.show_compared_splits(self._other_splits)
        self.view.broken.show_broken(0, [], None)
        self.view.show_problem_counts(None, 0)
        self.view.offer_labels(self.rows, "")
        self.view.filter_box.clear()
        self.view.subset.setCurrentIndex(0)
        self.view.show_controls(False)
        self.view.strip.start(_ACTIVITIES["open"])
        if is_made(self.view, "views"):
            self.view.views.choose_for(source)
        self.work.open(source)
        self.work.read_exclusions(source, partial(self._restore_exclusions, self.rows))

    def _on_part(self, part: RowsPart | RowsOpened) -> None:
        self._parts.append(part)
        self._part_timer.start()

    def _handle_next_part(self) -> None:
        """Handle one part per turn of the event loop, since many may arrive together."""
        if not self._parts:
            self._part_timer.stop()
            return
        part = self._parts.popleft()
        if "paths" in part:
            self._add_part(cast(RowsPart, part))
        else:
            self._on_opened(part)

    def _add_part(self, part: RowsPart) -> None:
        if not len(self.rows):
            self.view.show_controls(True)
        self.gallery_rows.add(self.rows.append(part["paths"], part["captions"], part["labels"]))
        self.view.show_counts(len(self.gallery_rows.numbers), self.rows)

    def _on_opened(self, facts: RowsOpened) -> None:
        self.facts = facts
        self.view.strip.finish()
        self.view.show_controls(True)
        self.view.figures.show_facts(facts)
        self.view.offer_labels(self.rows, facts["split"])
        self._show_broken()
        if facts["listed"] < facts["images"]:
            text = f"The first {count(facts['listed'])} of {count(facts['images'])} images are listed."
            self.view.bar.show_message(info(text))
        self._show_views()

    def _restore_exclusions(self, rows: SourceRows, paths: list[str]) -> None:
        if rows is not self.rows:
            return  # another source was opened in the meantime
        if restored := rows.restore_exclusions(paths):
            self._redraw(restored)

    def _on_open_failed(self, failure: Failure) -> None:
        if len(self.rows):
            self._on_failed(failure, "Reading was cancelled. The images read so far are shown.")
        else:
            self.view.show_failed()
            self._on_failed(failure)

    def _on_failed(self, failure: Failure, cancelled: str = "Cancelled.") -> None:
        self.view.strip.finish()
        retry = partial(self.open, self.rows.source) if self.facts is None else None
        self.view.bar.show_message(failure_message(failure, cancelled, retry))

    def _show_progress(self, purpose: str, activity: str, done: int, total: int) -> None:
        if self.view.strip.isHidden():
            self.view.strip.start(_ACTIVITIES.get(purpose, ""))
        self.view.strip.advance(done, total, capitalize(activity))

    # Display
    def show_rows(self) -> None:
        """Filter the rows again."""
        self._filter_timer.stop()
        self.gallery_rows.filter(self.view.filter())
        self.view.show_counts(len(self.gallery_rows.numbers), self.rows)

    def _on_label_chosen(self) -> None:
        label = str(self.view.label.currentData() or "")
        self.view.offer_values(self.rows.values(label) if label else [])
        self._filter_timer.start()

    def _on_value_chosen(self, label: str, value: str) -> None:
        self.view.set_filter(label, value)
        self.view.tabs.setCurrentIndex(IMAGES)
        self.show_rows()

    def _on_tab_changed(self, tab: int) -> None:
        if tab == VIEWS:
            self._show_views()

    def _show_views(self) -> None:
        """Show views of the selected images, or of the first batch."""
        if self.view.tabs.currentIndex() == VIEWS:
            self.view.views.show_source(self.rows.source if self.facts is not None else "", self.gallery_rows.chosen())

    def _show_broken(self) -> None:
        facts, checked = self.facts, self.checked
        if facts is None:
            return
        files = (
            None
            if checked is None
            else [(self.rows.location(entry["row"]), entry["why"]) for entry in checked["broken"]]
        )
        reasons = [(entry["where"], entry["why"]) for entry in facts["reasons"]]
        self.view.broken.show_broken(facts["bad"], reasons, files)
        groups = None if checked is None else checked["exact_groups"] + checked["near_groups"] + checked["leak_count"]
        self.view.show_problem_counts(groups, facts["bad"] + len(files or ()))

    # Checking
    def check(self) -> None:
        """Read every image to find duplicates, leaks and broken files."""
        if self.facts is not None:
            self.view.bar.clear()
            self.view.strip.start(_ACTIVITIES["check"])
            label = "" if self._other_splits else self.facts["split"]
            self.work.check(self.facts["source"], self._other_splits, label)

    def _on_checked(self, checked: Checked) -> None:
        self.view.strip.finish()
        if checked["source"] != self.rows.source:
            return
        self.checked = checked
        self.rows.problem_rows = problem_rows(checked)
        self.view.groups.show_checked(checked, self.rows)
        self._show_broken()

    def _ask_other(self) -> None:
        if path := ask_open(self, "Another split of this data", start=Path(self.rows.source).parent):
            self.compare_with({path.stem: str(path)})

    def compare_with(self, splits: dict[str, str]) -> None:
        """Check again, also for images of these splits (name -> source)."""
        self._other_splits |= splits
        self.view.groups.show_compared_splits(self._other_splits)
        self.check()

    # Excluding
    def exclude(self, rows: Sequence[int], excluded: bool | None = None) -> None:
        """Exclude ``rows`` or include them again; None toggles."""
        changed = self.rows.toggle(rows) if excluded is None else self.rows.exclude(rows, excluded)
        self._redraw(changed)
        self._save_exclusions(changed)
        if unlisted_count := sum(row >= len(self.rows) for row in rows):
            self.view.bar.show_message(info(f"Not excluded: {count_with_unit(unlisted_count, 'unlisted image')}."))

    def undo(self) -> None:
        """Undo the last exclusion."""
        changed = self.rows.undo()
        self._redraw(changed)
        self._save_exclusions(changed)

    def _save_exclusions(self, changed: Sequence[int]) -> None:
        rows = self.rows
        excluded = [rows.paths[row] for row in changed if row in rows.excluded]
        included = [rows.paths[row] for row in changed if row not in rows.excluded]
        self.work.update_exclusions(rows.source, excluded, included)

    def _redraw(self, rows: Sequence[int]) -> None:
        self.gallery_rows.renew(rows)
        self.view.groups.refresh()
        self.view.show_counts(len(self.gallery_rows.numbers), self.rows)

    # Actions
    def _run_action(self, name: str) -> None:
        actions = {
            "save": self.ask_where,
            "selection": lambda: self.ask_where(selection=True),
            "use": self.use_in_experiment,
            "search": lambda: self.source_requested.emit("search", self.rows.source),
            "hold out": self.view.source.hold_out,
            "exclude": lambda: self.exclude(self.gallery_rows.chosen()),
            "basket": self.add_to_basket,
            "undo": self.undo,
        }
        actions[name]()

    def add_to_basket(self) -> None:
        """Add the excluded images to the basket as excluded."""
        paths = self.rows.excluded_paths()
        if paths:
            fixes = tuple(Fix(kind="excluded", path=path, panel=_TITLE) for path in paths)
            self._services.basket.add(Finding(self.rows.source, fixes))
            verb = "is" if len(paths) == 1 else "are"
            text = f"{count_with_unit(len(paths), 'image')} {verb} in the basket as excluded."
            self.view.bar.show_message(info(text))

    def ask_where(self, selection: bool = False) -> None:
        """Choose a file, and save the remaining rows or the selection as a new source."""
        if self.facts is None:
            return
        start = suggested_path(self.rows.source, "selection" if selection else "kept")
        if file := ask_save(self, "Save as new data", start, "Tables (*.csv)", ".csv"):
            self.save(file.path, selection, replace=file.replaces)

    def save(self, path: Path, selection: bool = False, replace: bool = False) -> None:
        """Save the remaining rows or the selected rows to ``path``."""
        self.view.bar.clear()
        self.view.strip.start(_ACTIVITIES["save"])
        selected_paths = [self.rows.paths[row] for row in self.gallery_rows.chosen()] if selection else []
        self.work.save(self.rows.source, path, self.rows.excluded_paths(), selected_paths, replace)

    def _on_saved(self, saved: SavedSource) -> None:
        self.view.strip.finish()
        path = saved["path"]
        images, captions = (count_with_unit(saved[name], name.rstrip("s")) for name in ("images", "captions"))
        self._offer_training(f"{images} with {captions} saved as {path}.", path)

    def _on_held_out(self, train: str, held_out: str) -> None:
        self._offer_training(f"Saved {train} for training and {held_out} for validation.", train, held_out)

    def _offer_training(self, text: str, *data: str) -> None:
        remedy = Remedy("Train on this data", partial(self.use_in_experiment, *data))
        self.view.bar.show_message(info(text, remedy=remedy))

    def use_in_experiment(self, train: str = "", val: str | None = None) -> None:
        """Create an experiment that trains on ``train`` (default: the source), with the config of the views page."""
        config = self.view.views.run_config(self.rows.source) or preset_config("sd-clip", "base")
        val = (config.data.val or self._other_splits.get("val", "")) if val is None else val
        data = config.data.model_copy(update={"train": train or self.rows.source, "val": val})
        name = f"{config.name} on {Path(data.train).stem}" if config.name else Path(data.train).stem
        self.new_experiment_requested.emit(config.model_copy(update={"data": data, "name": name[:100]}))
