"""Captions images with one or two models, to edit, compare, export and train on.

Flow: drop -> ``CaptionsModel`` -> ``CaptionMaker`` (a worker per model) -> rows as they arrive; edits go through the
undo stack; ``CaptionPersistence`` stores every change and restores the list at the next start.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

from PySide6.QtCore import QPoint, Qt, QTimer
from PySide6.QtGui import QAction, QUndoStack
from PySide6.QtWidgets import QMenu, QWidget

from core.spec.caption_files import CaptionedImage
from sdgui.panels.caption.actions import Commands, add_actions
from sdgui.panels.caption.bar import EntryFilter
from sdgui.panels.caption.files import CaptionFiles
from sdgui.panels.caption.layout import CaptionView
from sdgui.panels.caption.list.edits import CaptionEdits
from sdgui.panels.caption.list.replace import Finder
from sdgui.panels.caption.list.rows import CaptionsModel
from sdgui.panels.caption.model import SIDES, Side, to_captioned_image
from sdgui.panels.caption.next_step import demo_config, training_config
from sdgui.panels.caption.persistence import CaptionPersistence
from sdgui.panels.caption.refusals import CaptionsRefusals
from sdgui.panels.caption.work import CaptionsWork
from sdgui.shared.panel import Panel
from sdgui.shared.pickers.entries import ModelChoice
from sdgui.shared.services import Services
from sdgui.store.records import StoreError
from sdgui.widgets.actions import Actions
from sdgui.widgets.formats import count_with_unit
from sdgui.widgets.message import Message, Remedy, error, info, warning

_COUNT_MS = 150  # changes within this time cause one update of the counts


class CaptionsPanel(Panel):
    """Connects the list (``model``), its undo stack and the workers with ``view``."""

    def __init__(self, services: Services, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._services = services
        self._origins: dict[str, Mapping[str, Any]] = {}  # key of an origin -> its content
        self._held_paths: list[str] | None = []  # images added before the stored list was read; None afterwards
        self._unreadable = ""  # why the stored list cannot be read yet
        self._unreadable_message: Message | None = None  # the message that reports ``_unreadable``
        self._was_entered = False
        self._menu_actions: Sequence[QAction] = ()
        self._export_actions: Sequence[QAction] = ()
        self.model = CaptionsModel(self)
        self.undo = QUndoStack(self)
        self.persistence = CaptionPersistence(services.store, self)
        self.view = CaptionView(services, self.model, lambda: self.edits.texts(), self)
        self.set_view(self.view)
        self.progress = (self.view.strip, self.view.export_strip)
        view = self.view
        self.edits = CaptionEdits(self.model, view.list, self.undo, view.bar.show_message, self)
        self.files = CaptionFiles(self._to_export, view.export_strip, view.bar.show_message, services.store.home, self)
        choice, settings = (lambda side: view.tools.pickers[side].choice()), (lambda: view.settings.settings)
        self.work = CaptionsWork(
            services.pool, self.model, self.undo, choice, settings, view.strip, view.bar.show_message, self
        )
        show_failed = partial(view.tools.show_state, "Failed")
        self.refusals = CaptionsRefusals(view.target, view.bar, view.bar.show_message, show_failed, self)
        self._count_timer = QTimer(self, singleShot=True, interval=_COUNT_MS)
        self._connect()

    def _connect(self) -> None:
        self._count_timer.timeout.connect(self.view.show_counts)
        self.undo.indexChanged.connect(lambda _index: self._clear_undo_offer())
        self.model.changed.connect(self.persistence.keep)
        self.model.removed.connect(self.persistence.forget)
        self.model.counts_changed.connect(self._on_counted)
        self.model.dataChanged.connect(lambda *_: self.view.show_current())
        self.persistence.restored.connect(lambda entries: self.model.add(entries, emit=False))
        self.persistence.ready.connect(self._on_restored)
        self.persistence.unreadable.connect(self._on_unreadable)
        self.persistence.settled.connect(self.saved)
        self.persistence.failed.connect(lambda sentence: self.view.bar.show_message(error(sentence)))
        self.view.list.current_changed.connect(lambda _path: self.view.show_current())
        self.view.list.menu_requested.connect(self._open_menu)
        self.view.list.rows_or_selection_changed.connect(self._count_timer.start)
        self.view.detail.candidate_accepted.connect(
            lambda path, text, side: self.edits.write({path: (text, side)}, "Use a candidate")
        )
        self.view.target.dropped.connect(self.add_paths)
        self.view.tools.filter_changed.connect(self._filter)
        self.view.tools.compare.toggled.connect(self._set_compares)
        self.view.tools.settings_button.clicked.connect(self.view.open_settings)
        self.view.tools.replace.clicked.connect(self.view.replace.open)
        self.view.replace.replace_requested.connect(self._replace)
        self.view.settings.changed.connect(self._on_settings_changed)
        self.view.strip.cancelled.connect(self.work.cancel)
        self.view.empty.activated.connect(self._next_step)
        self.view.examples.chosen.connect(lambda path: self.view.target.accept_paths([path]))
        self._services.demo.ready.connect(self.refresh)
        self.files.use_requested.connect(self._train_on)
        for side, picker in self.view.tools.pickers.items():
            picker.changed.connect(partial(self._on_model_chosen, side))
            picker.interpolated.connect(partial(self._on_weights_changed, side))
            self.view.tools.interpolations[side].save_requested.connect(self.export_requested)
            picker.refused.connect(lambda sentence: self.view.bar.show_message(warning(sentence)))
        self.work.origin.connect(self._keep_origin)
        self.work.images_failed.connect(self.refusals.report_uncaptioned)

    # --- panel

    def set_actions(self, actions: Actions) -> None:
        commands = Commands(
            self.view,
            self.edits,
            self.files,
            self.undo,
            self.caption_uncaptioned,
            self.caption_selected,
            self.caption_shown,
            self._services.basket,
        )
        self._menu_actions, self._export_actions = add_actions(actions, self, commands)

    def use_run(self, run_id: int) -> None:
        self.view.tools.pickers["a"].choose_run(run_id)

    def ask_model(self) -> None:
        self.view.tools.pickers["a"].open()

    def on_enter(self) -> None:
        """Restore the list and the models the first time the panel is shown."""
        self.view.take_focus()
        if self._was_entered:
            return
        self._was_entered = True
        self.persistence.restore()
        self._restore_models()

    def on_leave(self) -> None:
        self.persistence.flush()
        self._services.settings.setValue("captions/compare", self.view.tools.compare.isChecked())

    def is_saving(self) -> bool:
        return self.persistence.pending

    def refresh(self) -> None:
        self._show_origins()
        if self.model.rowCount() == 0:
            self.view.show_empty()

    def focus_search(self) -> None:
        self.view.tools.filter_box.setFocus()
        self.view.tools.filter_box.selectAll()

    def _restore_models(self) -> None:
        settings = self._services.settings
        for side, picker in self.view.tools.pickers.items():
            restored = picker.restore_state(settings.value(f"captions/model_{side}"))
            if not restored and side == "a" and not picker.restore():
                picker.choose_default()
        self.view.bar.clear()
        self.view.tools.compare.setChecked(settings.value("captions/compare") in (True, "true"))
        self.view.show_empty()

    def _on_unreadable(self, sentence: str) -> None:
        """Report why the stored list cannot be read, and that reading is retried."""
        if sentence != self._unreadable:
            self._unreadable = sentence
            self._show_unreadable()

    def _show_unreadable(self) -> None:
        held_count = len(self._held_paths or ())
        text = f"{self._unreadable} Reading the list of captions is retried automatically."
        if held_count:
            verb = "is" if held_count == 1 else "are"
            text += f" {count_with_unit(held_count, 'new image')} {verb} added afterwards."
        self._unreadable_message = error(text, remedy=Remedy("Try again now", self.persistence.restore))
        self.view.bar.show_message(self._unreadable_message)

    def _on_restored(self, origins: Mapping[str, Mapping[str, Any]]) -> None:
        self._origins = {**origins, **self._origins}
        self._show_origins()
        held_paths, self._held_paths = self._held_paths, None
        if self._unreadable_message is not None and self.view.bar.message is self._unreadable_message:
            self.view.bar.clear()
        if held_paths:
            self.add_paths(held_paths)
        self.view.show_empty()
        if self.model.rowCount() and not self.view.list.currentIndex().isValid():
            self.view.list.choose(self.model.entry_at(0).path)

    # --- adding images

    def add_paths(self, paths: Sequence[str]) -> None:
        """Add images to the list and caption them; images that are already listed are not changed."""
        self.on_enter()
        if self._held_paths is not None:
            self._held_paths += paths
            if self._unreadable:
                self._show_unreadable()
            return
        added = self.model.add_paths(paths)
        if not added:
            return
        if self.view.list.currentIndex().row() < 0:
            self.view.list.choose(added[0])
        self.view.show_empty()
        if self._has_model():
            self.work.caption(added)

    def _clear_undo_offer(self) -> None:
        """Clear the Undo button of the last replacement: by now, Undo would revert a later edit."""
        if self.edits.replace_message is not None and self.view.bar.message is self.edits.replace_message:
            self.view.bar.clear()

    # --- captions

    def _on_model_chosen(self, side: Side, choice: ModelChoice) -> None:
        self._services.settings.setValue(f"captions/model_{side}", json.dumps(asdict(choice)))
        self.view.detail.set_titles({name: self._title(name) for name in SIDES})
        self.view.show_empty()
        if side == "a":  # its libraries are loaded while the user chooses images
            self._services.pool.client(choice.model, choice.title).warm_up()
        if self._held_paths is None and self.isVisible() and side in self.work.sides:
            self.work.complete_side(side)
            self.work.open(side)

    def _on_weights_changed(self, side: Side, _choice: ModelChoice) -> None:
        """Caption the selected images again with the side's interpolated weights."""
        if self._held_paths is None and self.isVisible() and side in self.work.sides:
            self.work.caption_again(side, [entry.path for entry in self.view.list.selected()])

    def _title(self, side: Side) -> str:
        choice = self.view.tools.pickers[side].choice()
        return choice.title if choice is not None else {"a": "Model", "b": "Second model"}[side]

    def _set_compares(self, compares: bool) -> None:
        current = self.view.list.current_path()
        self.model.set_compares(compares)
        self.work.compares = compares
        if current:
            self.view.list.choose(current)
        if compares and self._held_paths is None:
            if self.view.tools.pickers["b"].choice() is None:
                self.view.tools.pickers["b"].setFocus()
            self.work.complete_side("b")
        elif not compares:
            self.work.makers["b"].cancel()

    def caption_uncaptioned(self) -> None:
        """Caption the images without a caption."""
        if self._has_model():
            self.work.caption_uncaptioned()

    def caption_selected(self) -> None:
        """Caption the selected images again with the current settings and models."""
        if self._has_model():
            self.work.caption([entry.path for entry in self.view.list.selected()])

    def caption_shown(self) -> None:
        """Caption all shown images again."""
        if self._has_model():
            self.work.caption([entry.path for entry in self.model.visible_entries()])

    def _has_model(self) -> bool:
        if self.view.tools.pickers["a"].choice() is None:
            self.view.bar.show_message(warning("Choose a captioning model first."))
            self.view.tools.pickers["a"].setFocus()
            return False
        return True

    def _keep_origin(self, key: str, content: Mapping[str, Any]) -> None:
        self._origins[key] = content
        self._show_origins()
        self.persistence.keep_origin(key, content)

    def _show_origins(self) -> None:
        self.view.detail.set_origins(self._origins, self.persistence.run_names(self._origins.values()))

    def _replace(self, finder: Finder) -> None:
        self.edits.replace_all(finder)
        self.view.replace.recount()

    def _on_settings_changed(self, settings: object) -> None:
        self._services.settings.setValue("captions/settings", self.view.settings.settings.model_dump_json())
        self.view.show_settings()

    def _filter(self, passes: EntryFilter | None) -> None:
        """Show only entries that pass; select the first if the current one does not."""
        current = self.view.list.current_path()
        self.model.set_filter(passes)
        if self.model.rowCount():
            self.view.list.choose(current if self.model.row(current) >= 0 else self.model.entry_at(0).path)

    # --- export

    def _to_export(self) -> list[CaptionedImage]:
        selected = self.view.list.selected()
        entries = selected if len(selected) > 1 else self.model.entries()
        return [to_captioned_image(entry, self._origins) for entry in entries if entry.text]

    def _train_on(self, table: str, images: int) -> None:
        """Open a new experiment that trains on the saved captions."""
        try:
            choice = self.view.tools.pickers["a"].choice()
            self.new_experiment_requested.emit(training_config(self._services.store, choice, Path(table), images))
        except StoreError as problem:
            self.view.bar.show_message(error(str(problem)))

    # --- other

    def _open_menu(self, position: QPoint) -> None:
        menu = QMenu(self)
        menu.addActions(self._menu_actions)
        menu.addMenu("E&xport").addActions(self._export_actions)
        menu.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        menu.popup(position)

    def _on_counted(self) -> None:
        if not self._count_timer.isActive():
            self._count_timer.start()

    def _next_step(self) -> None:
        if self.view.tools.pickers["a"].choice() is not None:
            self.view.ask_files()
            return
        config = demo_config(self._services)
        if config is None:
            text = "“sd-coca demo” is in the experiment tree. Select and launch the experiment there."
            self.message_requested.emit(info(text))
        else:
            self._services.demo.make()
            self.new_experiment_requested.emit(config)
