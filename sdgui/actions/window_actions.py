"""The window's actions: the table of names, texts, keys and sentences, and what each one does to the window."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

from PySide6.QtCore import QUrl
from PySide6.QtGui import QDesktopServices
from PySide6.QtWidgets import QFileDialog, QWidget

from core.spec.config import RunConfig
from sdgui.actions.help import program_version
from sdgui.actions.menus import palette_entries
from sdgui.actions.palette import CommandPalette
from sdgui.actions.shortcuts import ShortcutsDialog
from sdgui.actions.view import _SCHEMES
from sdgui.actions.window import Window
from sdgui.experiments.describe import DescribeSheet
from sdgui.panels.define.panel import DefinePanel
from sdgui.panels.registry import PANELS
from sdgui.shared.pickers.presets import PresetChooser
from sdgui.widgets.actions import Actions
from sdgui.widgets.failure_dialog import FailureDialog
from sdgui.widgets.style.theme import theme

# name, group, text, keys, what it does
_TABLE: tuple[tuple[str, str, str, str | list[str], str], ...] = (
    ("launch", "Run", "&Launch", ["Ctrl+Return", "Ctrl+Enter"], "Start training the current experiment"),
    ("queue", "Run", "&Queue", ["Ctrl+Shift+Return", "Ctrl+Shift+Enter"], "Start training when no other run is active"),
    ("pause", "Run", "&Pause", "Ctrl+P", "Save a checkpoint and end the trainer; Resume continues from it"),
    ("resume", "Run", "&Resume", "Ctrl+R", "Continue the run from its last checkpoint"),
    ("stop", "Run", "&Stop", "Ctrl+.", "Ask the trainer to save a checkpoint and stop; a second time ends it at once"),
    ("tick", "Run", "Overlay &curves", "Ctrl+Shift+T", "Show or hide the run's curves in Watch"),
    ("open_folder", "Run", "Open the run's &folder", "Ctrl+Shift+O", "Open the run's folder in the file manager"),
    ("new", "Experiment", "&New", "Ctrl+N", "New experiment from a preset"),
    ("new_from_file", "Experiment", "New from a &file…", "Ctrl+O", "New experiment from a definition in a JSON file"),
    ("import_run", "Experiment", "&Import a run folder…", "Ctrl+I", "Add a run that was trained elsewhere"),
    ("rebuild", "Experiment", "Reb&uild the database from run folders", "Ctrl+Shift+B", "Read every run folder again"),
    ("duplicate", "Experiment", "&Duplicate", "Ctrl+D", "Make an editable copy of the experiment"),
    ("rename", "Experiment", "&Rename", "F2", "Rename the experiment"),
    ("describe", "Experiment", "&Tags and note…", "Ctrl+T", "Edit tags and note of the experiment or run"),
    ("delete", "Experiment", "D&elete", "Del", "Move the experiment or run to the bin (can be undone)"),
    ("empty_bin", "Experiment", "Empty the &bin…", "Ctrl+Shift+Del", "Permanently delete what is in the bin"),
    ("demo", "Experiment", "Try the de&mo", "Ctrl+Shift+D", "Create the demo data and two experiments"),
    ("quit", "Experiment", "&Quit", "Ctrl+Q", "Close the window; runs can continue in the background"),
    ("find", "View", "&Find", "Ctrl+F", "Search in the current panel: a field, a plot, a picture"),
    ("filter", "View", "F&ilter experiments", "Ctrl+L", "Filter experiments and runs by name, tag, note or state"),
    ("tree", "View", "&Go to the experiments", "Ctrl+E", "Move the focus to the experiments"),
    ("palette", "View", "G&o to…", "Ctrl+K", "Search all actions, runs and panels"),
    ("appearance", "View", "Switch a&ppearance", "Ctrl+Shift+L", "Cycle between system, light and dark"),
    ("shortcuts", "Help", "&Shortcuts", "F1", "Show all keyboard shortcuts"),
    ("about", "Help", "&About sdgui", "Shift+F1", "Version, and location of data and log"),
)
_IN_TREE = frozenset({"rename", "delete"})

ICONS = {
    "queue": "ph.clock",
    "pause": "ph.pause",
    "resume": "ph.play",
    "stop": "ph.stop",
    "new": "ph.plus",
    "duplicate": "ph.copy",
    "delete": "ph.trash",
    "describe": "ph.tag",
    "open_folder": "ph.folder-open",
}


class WindowActions:
    """Adds every action to ``book``; the methods are what they do. A bare F2 or Delete holds in the tree only."""

    def __init__(self, window: Window, book: Actions, parent: QWidget) -> None:
        self._window, self._book, self._parent = window, book, parent
        self._shortcuts: ShortcutsDialog | None = None
        self.palette_popup = CommandPalette(parent)
        self.sheet = DescribeSheet(parent)
        self.chooser = PresetChooser(parent, "Create experiment")
        self.chooser.chosen.connect(window.experiment_commands.new)
        self.sheet.described.connect(self._described)
        for name, group, text, keys, tip in _TABLE:
            slot: Callable[[], object] = getattr(self, name)
            book.add(name, group, text, keys, tip, slot, scope=window.experiments if name in _IN_TREE else None)
        for spec in PANELS:
            book.add(spec.name, "View", spec.title, spec.shortcut, spec.tip, partial(window.show_panel, spec.name))

    # Runs
    def launch(self) -> None:
        self._begin(self._window.run_commands.launch)

    def queue(self) -> None:
        self._begin(self._window.run_commands.queue)

    def _begin(self, begin: Callable[[int, RunConfig | None], object]) -> None:
        """What is in the form counts; when a field is wrong, the form says so instead."""
        window, experiment_id = self._window, self._window.selection.experiment_id
        define = window.panels.get("define")
        if isinstance(define, DefinePanel) and not define.ready_to_launch():
            window.show_panel("define")
            return
        if experiment_id is not None:
            begin(experiment_id, define.definition(experiment_id) if isinstance(define, DefinePanel) else None)

    def pause(self) -> None:
        if (run := self._window.current_run()) is not None:
            self._window.run_commands.pause(run)

    def resume(self) -> None:
        if (run := self._window.current_run()) is not None:
            self._window.run_commands.resume(run)

    def stop(self) -> None:
        if (run := self._window.current_run()) is not None:
            self._window.run_commands.stop(run)

    def tick(self) -> None:
        self._window.experiments.toggle_tick()

    def open_folder(self) -> None:
        if (run := self._window.current_run()) is not None:
            QDesktopServices.openUrl(QUrl.fromLocalFile(str(run.folder)))

    # Experiments
    def new(self) -> None:
        self.chooser.open()

    def new_from_file(self) -> None:
        path, _ = QFileDialog.getOpenFileName(self._parent, "Definition", "", "Experiments (*.json)")
        if path:
            self._window.experiment_commands.new_from_file(Path(path))

    def import_run(self) -> None:
        path = QFileDialog.getExistingDirectory(self._parent, "Run folder")
        if path:
            self._window.experiment_commands.import_run(Path(path))

    def rebuild(self) -> None:
        self._window.experiment_commands.rebuild()

    def duplicate(self) -> None:
        if (experiment_id := self._window.selection.experiment_id) is not None:
            self._window.save_definition()
            self._window.experiment_commands.duplicate(experiment_id)

    def rename(self) -> None:
        self._window.experiments.rename()

    def describe(self) -> None:
        window, chosen = self._window, self._window.selection
        if chosen.experiment_id is None:
            return
        store = window.services.store
        about = store.experiment(chosen.experiment_id) if chosen.run_id is None else store.run(chosen.run_id)
        model = window.experiments.model
        name = model.experiment_name(chosen.experiment_id) if chosen.run_id is None else model.name(chosen.run_id)
        at = window.experiments.current_rect_bottom()
        self.sheet.open((chosen.experiment_id, chosen.run_id), name, about.tags, about.note, store.tags(), at)

    def _described(self, target: tuple[int, int | None], tags: list[str], note: str) -> None:
        self._window.experiment_commands.describe(*target, tags, note)

    def delete(self) -> None:
        chosen = self._window.selection
        if chosen.experiment_id is not None:
            self._window.experiment_commands.delete(chosen.experiment_id, chosen.run_id)

    def empty_bin(self) -> None:
        self._window.experiment_commands.empty_bin(self._parent)

    def demo(self) -> None:
        self._window.start_demo()

    def quit(self) -> None:
        self._window.close()

    # View
    def find(self) -> None:
        place = self._window.panels.get(self._window.panel)
        if place is not None:
            place.focus_search()

    def filter(self) -> None:
        self._window.experiments.filter_box.setFocus()
        self._window.experiments.filter_box.selectAll()

    def tree(self) -> None:
        self._window.experiments.tree.setFocus()

    def palette(self) -> None:
        window = self._window
        entries = palette_entries(
            self._book,
            window.experiments.model,
            window.experiment_commands.new,
            window.experiments.select_experiment,
            window.experiments.select_run,
        )
        self.palette_popup.open(entries)

    def appearance(self) -> None:
        following = _SCHEMES[(_SCHEMES.index(theme().scheme) + 1) % len(_SCHEMES)]
        theme().set_scheme(following)
        self._window.services.settings.setValue("window/scheme", following)
        texts = {"system": "follows the system", "light": "light", "dark": "dark"}
        self._window.status.showMessage(f"Appearance: {texts[following]}", 3000)

    # Help
    def shortcuts(self) -> None:
        if self._shortcuts is None:
            self._shortcuts = ShortcutsDialog(self._book, self._parent)
            self._shortcuts.destroyed.connect(self._forget_shortcuts)
        self._shortcuts.show()
        self._shortcuts.raise_()
        self._shortcuts.activateWindow()

    def _forget_shortcuts(self) -> None:
        self._shortcuts = None

    def about(self) -> None:
        services = self._window.services
        text = (
            f"sdgui {program_version()}\n\nExperiments and runs: {services.store.home}\n"
            f"Log of unexpected errors: {services.store.home / 'sdgui.log'}"
        )
        FailureDialog(text, "", self._parent).show()
