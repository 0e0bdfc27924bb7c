"""Caption: pictures in, captions out; edited, compared, exported, and back into training.

Flow: drop -> ``CaptionsModel`` -> ``CaptionMaker`` (a worker a model) -> rows as they come; edits go through the undo
stack; every change goes to the store (``CaptionsKeeper``), and the list is there again at the next start.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

from PySide6.QtCore import QPoint, Qt, QTimer
from PySide6.QtGui import QUndoStack
from PySide6.QtWidgets import QFileDialog, QMenu, QSplitter, QStackedWidget, QVBoxLayout, QWidget

from core.spec.caption_files import CaptionedPicture
from sdgui.panels.caption.actions import CaptionActions, Commands, add_actions
from sdgui.panels.caption.bar import CaptionsBar, Passes
from sdgui.panels.caption.detail import CaptionsDetail
from sdgui.panels.caption.files import CaptionFiles
from sdgui.panels.caption.keeper import CaptionsKeeper
from sdgui.panels.caption.list.edits import CaptionsEdits
from sdgui.panels.caption.list.replace import Finder, ReplaceBar
from sdgui.panels.caption.list.rows import CaptionsModel
from sdgui.panels.caption.list.table import CaptionsList
from sdgui.panels.caption.model import SIDES, STATE_TEXTS, Side, captioned
from sdgui.panels.caption.next_step import ADD, TRAIN, demo_config, read_choice, training_config
from sdgui.panels.caption.refusals import CaptionsRefusals
from sdgui.panels.caption.settings import CaptionSettings, read_settings, settings_text
from sdgui.panels.caption.work import CaptionsWork
from sdgui.shared.panel import Panel
from sdgui.shared.pickers.entries import ModelChoice
from sdgui.shared.services import Services
from sdgui.store.records import StoreError
from sdgui.widgets.actions import Actions
from sdgui.widgets.drop_target import DropTarget
from sdgui.widgets.dropped_files import PICTURE_SUFFIXES
from sdgui.widgets.empty_state import EmptyState
from sdgui.widgets.formats import count
from sdgui.widgets.message import Message, Remedy, error, warning
from sdgui.widgets.message_bar import MessageBar
from sdgui.widgets.plain_text import PlainLabel
from sdgui.widgets.progress_strip import ProgressStrip
from sdgui.widgets.style.theme import SPACE, set_role

_COUNT_MS = 150
_FILES = f"Pictures ({' '.join(f'*{suffix}' for suffix in sorted(PICTURE_SUFFIXES))});;All files (*)"


class CaptionsPanel(Panel):
    """The list in the middle, the chosen picture with its candidates on the right, models and tools above."""

    def __init__(self, services: Services, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._services = services
        self._origins: dict[str, Mapping[str, Any]] = {}
        self._held: list[str] | None = []  # dropped before the list was read back; None from then on
        self._unreadable = ""  # why the list cannot be read back yet
        self._waits: Message | None = None  # what was said of it
        self._began = False
        self.actions_added = CaptionActions((), ())
        self.model = CaptionsModel(self)
        self.undo = QUndoStack(self)
        self.keeper = CaptionsKeeper(services.store, self)
        # From the outside to the inside: whoever gets another parent is styled anew, with all that is in it.
        self.target = DropTarget(services.store.home / "pasted", "Drop pictures or folders to caption them", self)
        inside = QWidget(self.target)
        self.target.set_content(inside)
        self.tools = CaptionsBar(services, inside)
        self.settings = CaptionSettings(self)
        self.strip, self.export_strip = ProgressStrip(inside), ProgressStrip(inside)  # they may work at once
        self.bar = MessageBar(inside)
        self.stack = QStackedWidget(inside)
        self.split = QSplitter(Qt.Orientation.Horizontal, self.stack)
        self.list = CaptionsList(self.model, services.store.home / "thumbnails", self.split)
        self.edits = CaptionsEdits(self.model, self.list, self.undo, self.show_message, self)
        self.replace = ReplaceBar(self.edits.texts, inside)
        self.detail = CaptionsDetail(self.split)
        self.empty = EmptyState("ph.closed-captioning", "", "", parent=self.stack)
        self.counts = PlainLabel(inside)
        set_role(self.counts, "small")
        self.files = CaptionFiles(self._to_export, self.export_strip, self.show_message, services.store.home, self)
        self.work = CaptionsWork(
            services.pool,
            self.model,
            self.undo,
            lambda side: self.tools.pickers[side].choice(),
            lambda: self.settings.settings,
            self.strip,
            self.show_message,
            self,
        )
        show_refused = partial(self.tools.show_state, "Refused")
        self.refusals = CaptionsRefusals(self.target, self.bar, self.show_message, show_refused, self)
        self._arrange(inside)
        self._count_later = QTimer(self, singleShot=True, interval=_COUNT_MS)
        self._connect()
        self._show_empty()

    def _arrange(self, inside: QWidget) -> None:
        self.split.setStretchFactor(0, 3)
        self.split.setStretchFactor(1, 1)
        self.split.setSizes([640, 280])
        self.split.setChildrenCollapsible(False)
        self.stack.addWidget(self.empty)
        self.stack.addWidget(self.split)
        column = QVBoxLayout(inside)
        column.setContentsMargins(2 * SPACE, SPACE, 2 * SPACE, SPACE)
        column.setSpacing(SPACE)
        for part in (self.tools, self.strip, self.export_strip, self.bar, self.replace):
            column.addWidget(part)
        column.addWidget(self.stack, 1)
        column.addWidget(self.counts)
        whole = QVBoxLayout(self)
        whole.setContentsMargins(0, 0, 0, 0)
        whole.addWidget(self.target)
        state = self._services.settings.value("captions/split")
        if state is not None:
            self.split.restoreState(state)
        self.settings.set_settings(read_settings(self._services.settings.value("captions/settings")))
        self.tools.how.setText(settings_text(self.settings.settings))

    def _connect(self) -> None:
        self._count_later.timeout.connect(self._count)
        self.model.changed.connect(self.keeper.keep)
        self.model.removed.connect(self.keeper.forget)
        self.model.counted.connect(self._counted)
        self.model.dataChanged.connect(lambda *_: self._show_current())
        self.keeper.restored.connect(lambda entries: self.model.add(entries, told=False))
        self.keeper.ready.connect(self._restored)
        self.keeper.unreadable.connect(self._cannot_read)
        self.keeper.failed.connect(lambda sentence: self.show_message(error(sentence)))
        self.list.current_changed.connect(lambda _path: self._show_current())
        self.list.menu_asked.connect(self._open_menu)
        self.list.selection_told.connect(self._count_later.start)
        self.detail.taken.connect(lambda path, text, side: self.edits.write({path: (text, side)}, "Use a candidate"))
        self.target.dropped.connect(self.add_paths)
        self.tools.filter_changed.connect(self._filter)
        self.tools.compare.toggled.connect(self._compare)
        self.tools.how.clicked.connect(self.open_settings)
        self.tools.replace.clicked.connect(self.replace.open)
        self.replace.replace_asked.connect(self._replace)
        self.settings.changed.connect(self._settings_changed)
        self.strip.cancelled.connect(self.work.cancel)
        self.empty.activated.connect(self._next_step)
        self.files.use_asked.connect(self._use)
        for side, picker in self.tools.pickers.items():
            picker.changed.connect(partial(self._model_chosen, side))
            picker.refused.connect(lambda sentence: self.show_message(warning(sentence)))
        self.work.origin.connect(self._origin)
        self.work.refused.connect(self.refusals.not_captioned)

    # --- the place

    def set_actions(self, actions: Actions) -> None:
        commands = Commands(
            self.ask_files,
            self.ask_folder,
            self.caption_waiting,
            self.caption_selected,
            self.caption_all,
            self.open_settings,
        )
        self.actions_added = add_actions(
            actions,
            self,
            commands,
            self.edits,
            self.files,
            self.list,
            self.tools,
            self.detail,
            self.replace,
            self.target,
            self.undo,
        )

    def entered(self) -> None:
        """The first time, the list and the models are taken up where they were left."""
        if self._began:
            return
        self._began = True
        self.keeper.restore()
        self._restore_models()

    def left(self) -> None:
        self.keeper.flush()
        settings = self._services.settings
        settings.setValue("captions/split", self.split.saveState())
        settings.setValue("captions/compare", self.tools.compare.isChecked())

    def refresh(self) -> None:
        if self.model.rowCount() == 0:
            self._show_empty()

    def focus_search(self) -> None:
        self.tools.words.setFocus()
        self.tools.words.selectAll()

    def _restore_models(self) -> None:
        settings = self._services.settings
        for side, picker in self.tools.pickers.items():
            choice = read_choice(settings.value(f"captions/model_{side}"))
            if not (choice is not None and picker.set_choice(choice)) and side == "a" and not picker.restore():
                picker.show_newest_run()
        self.bar.clear()
        self.tools.compare.setChecked(settings.value("captions/compare") in (True, "true"))
        self._show_empty()

    def _cannot_read(self, sentence: str) -> None:
        """The list is read again until that succeeds; said once, and with each drop that has to wait for it."""
        if sentence != self._unreadable:
            self._unreadable = sentence
            self._show_unreadable()

    def _show_unreadable(self) -> None:
        held = len(self._held or ())
        waiting = f" {'1 picture waits' if held == 1 else f'{count(held)} pictures wait'} for it." if held else ""
        text = f"{self._unreadable} The list of captions is read again until that succeeds.{waiting}"
        self._waits = error(text, remedy=Remedy("Read now", self.keeper.restore))
        self.show_message(self._waits)

    def _restored(self, origins: Mapping[str, Mapping[str, Any]]) -> None:
        self._origins = {**origins, **self._origins}
        self.detail.set_origins(self._origins)
        held, self._held = self._held, None
        if self._waits is not None and self.bar.message is self._waits:
            self.bar.clear()
        if held:
            self.add_paths(held)
        self._show_empty()
        if self.model.rowCount() and not self.list.currentIndex().isValid():
            self.list.choose(self.model.at(0).path)

    # --- pictures in

    def add_paths(self, paths: Sequence[str]) -> None:
        """Put pictures into the list and caption them; those that are there already are left as they are."""
        self.entered()
        if self._held is not None:
            self._held += paths
            if self._unreadable:
                self._show_unreadable()
            return
        fresh = self.model.add_paths(paths)
        if not fresh:
            return
        if self.list.currentIndex().row() < 0:
            self.list.choose(fresh[0])
        self._show_empty()
        if self._has_model():
            self.work.caption(fresh)

    def ask_files(self) -> None:
        """Choose pictures in a dialog."""
        found, _ = QFileDialog.getOpenFileNames(self, "Pictures to caption", "", _FILES)
        self.target.take_paths(found)

    def ask_folder(self) -> None:
        """Choose a folder of pictures in a dialog."""
        found = QFileDialog.getExistingDirectory(self, "A folder of pictures to caption")
        if found:
            self.target.take_paths([found])

    # --- captions

    def _model_chosen(self, side: Side, choice: ModelChoice) -> None:
        self._services.settings.setValue(f"captions/model_{side}", json.dumps(asdict(choice)))
        self.detail.set_titles({one: self._title(one) for one in SIDES})
        self._show_empty()
        if self._held is None and self.isVisible() and side in self.work.sides:
            self.work.caption_missing(side)
            self.work.open(side)

    def _title(self, side: Side) -> str:
        choice = self.tools.pickers[side].choice()
        return choice.title if choice is not None else {"a": "Model", "b": "Second model"}[side]

    def _compare(self, compares: bool) -> None:
        current = self.list.current_path()
        self.model.set_compares(compares)
        self.work.compares = compares
        if current:
            self.list.choose(current)
        if compares and self._held is None:
            if self.tools.pickers["b"].choice() is None:
                self.tools.pickers["b"].setFocus()
            self.work.caption_missing("b")
        elif not compares:
            self.work.makers["b"].cancel()

    def caption_waiting(self) -> None:
        """Caption what has no caption yet."""
        if self._has_model():
            self.work.waiting()

    def caption_selected(self) -> None:
        """Caption the chosen pictures again, with the settings and models as they are now."""
        if self._has_model():
            self.work.caption([entry.path for entry in self.list.selected()])

    def caption_all(self) -> None:
        """Caption everything that is shown again."""
        if self._has_model():
            self.work.caption([entry.path for entry in self.model.shown()])

    def _has_model(self) -> bool:
        if self.tools.pickers["a"].choice() is None:
            self.show_message(warning("First choose a model that can caption."))
            self.tools.pickers["a"].setFocus()
            return False
        return True

    def _origin(self, key: str, content: Mapping[str, Any]) -> None:
        self._origins[key] = content
        self.detail.set_origins(self._origins)
        self.keeper.keep_origin(key, content)

    def _replace(self, found: Finder) -> None:
        self.edits.replace_all(found)
        self.replace.recount()

    def _settings_changed(self, settings: object) -> None:
        self._services.settings.setValue("captions/settings", self.settings.settings.model_dump_json())
        self.tools.how.setText(settings_text(self.settings.settings))

    def open_settings(self) -> None:
        """How captions are made: search, beams, sampling, lengths, prompt, seed."""
        button = self.tools.how
        corner = button.mapToGlobal(QPoint(button.width(), button.height() + SPACE // 2))
        self.settings.open_at(corner, self.window().mapToGlobal(self.window().rect().bottomLeft()).y() - corner.y())

    def _filter(self, passes: Passes | None) -> None:
        """Show only what passes; what is chosen stays chosen, else the first is."""
        current = self.list.current_path()
        self.model.set_filter(passes)
        if self.model.rowCount():
            self.list.choose(current if self.model.row(current) >= 0 else self.model.at(0).path)

    # --- out

    def _to_export(self) -> list[CaptionedPicture]:
        chosen = self.list.selected()
        entries = chosen if len(chosen) > 1 else self.model.entries()
        return [captioned(entry, self._origins) for entry in entries if entry.text]

    def _use(self, manifest: str, pictures: int) -> None:
        """A new experiment that is trained on captions that were saved."""
        try:
            choice = self.tools.pickers["a"].choice()
            self.define_asked.emit(training_config(self._services.store, choice, Path(manifest), pictures))
        except StoreError as problem:
            self.show_message(error(str(problem)))

    # --- what is shown

    def show_message(self, message: Message) -> None:
        """Show ``message`` in the panel's message bar."""
        self.bar.show_message(message)

    def _show_current(self) -> None:
        self.detail.show_entry(self.model.entry(self.list.current_path()))

    def _open_menu(self, at: QPoint) -> None:
        menu = QMenu(self)
        menu.addActions(self.actions_added.menu)
        menu.addMenu("E&xport").addActions(self.actions_added.export)
        menu.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        menu.popup(at)

    def _counted(self) -> None:
        if not self._count_later.isActive():
            self._count_later.start()

    def _count(self) -> None:
        number, states = len(self.model), self.model.states()
        parts = ["1 picture" if number == 1 else f"{count(number)} pictures"]
        parts += [f"{count(states[state])} {text}" for state, text in STATE_TEXTS.items() if states[state]]
        if self.model.rowCount() != number:
            parts.insert(1, f"{count(self.model.rowCount())} shown")
        chosen = self.list.selected_count()
        if chosen > 1:
            parts.append(f"{count(chosen)} selected")
        self.counts.setText(" · ".join(parts) if number else "")
        self._show_empty()
        if self.replace.isVisible():
            self.replace.recount()

    def _show_empty(self) -> None:
        """The list; or what the place is for, and the next step."""
        self.stack.setCurrentIndex(1 if len(self.model) else 0)
        if not len(self.model):
            self.empty.set_content(*(ADD if self.tools.pickers["a"].choice() is not None else TRAIN))

    def _next_step(self) -> None:
        if self.tools.pickers["a"].choice() is not None:
            self.ask_files()
            return
        config = demo_config(self._services)
        if config is None:
            text = "“sd-coca demo” is in the list of experiments; choose it there and launch it."
            self.message_requested.emit(Message("info", text))
        else:
            self._services.demo.make()
            self.define_asked.emit(config)
