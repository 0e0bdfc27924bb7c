"""Names a model: a run with its checkpoint and network, an open_clip name with its weights, or a folder.

Flow: list (recent first) -> checkpoint or pretrained weights -> student or teacher -> ``changed(ModelChoice)``. What
cannot do what the panel needs is grey, with the reason in its tooltip. Checkpoints of live runs appear by themselves.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from PySide6.QtCore import Qt, QTimer, Signal
from PySide6.QtGui import QDragEnterEvent, QDropEvent, QShowEvent
from PySide6.QtWidgets import QComboBox, QCompleter, QFileDialog, QHBoxLayout, QLineEdit, QSizePolicy, QWidget

from core.spec.run.folder import RunDir
from core.spec.run.model_names import default_network
from sdgui.runs.models import OPEN_CLIP, RunFacts, architectures, pretrained_tags, run_facts
from sdgui.shared.background_tasks import BackgroundTasks
from sdgui.shared.pickers.entries import (
    ModelChoice,
    ModelEntry,
    Needs,
    choice_entry,
    folder_entry,
    open_clip_entries,
    recent_choices,
    remember,
    run_entries,
    run_entry,
)
from sdgui.shared.pickers.model_list import ModelLines, only_possible
from sdgui.shared.services import Services
from sdgui.store.records import StoreError
from sdgui.widgets.drop_target import accept_file, dropped_file
from sdgui.widgets.dropped_files import existing_path
from sdgui.widgets.formats import count
from sdgui.widgets.icon_button import IconButton
from sdgui.widgets.no_wheel_combo_box import NoWheelComboBox
from sdgui.widgets.plain_text import plain_tip
from sdgui.widgets.style.theme import SPACE

__all__ = ["ModelChoice", "ModelPicker"]

Groups = list[tuple[str, list[ModelEntry]]]  # heading, its lines
_SETTLE = 500  # ms after the last news of a live run before its folder is read
_RANDOM = "no weights (random)"


class ModelPicker(QWidget):
    """Three boxes in a row: model, checkpoint (or pretrained weights), network.

    ``changed`` whenever the choice changes, by the user or by code; ``renewed`` when a new checkpoint of the chosen
    live run has become its best or last: ``choice.model`` stays the same, and the panel decides when to read it again.
    """

    changed = Signal(object)  # ModelChoice
    renewed = Signal(object)  # ModelChoice
    refused = Signal(str)  # a sentence: what was typed or dropped is no model, or not for this panel

    def __init__(self, services: Services, needs: Needs = "search", parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._services, self._needs = services, needs
        self._entry: ModelEntry | None = None
        self._told: ModelChoice | None = None
        self._step: int | None = None  # what "best" or "last" meant when it was emitted
        self._facts: RunFacts | None = None  # of the chosen run
        self.setAcceptDrops(True)
        self.model = NoWheelComboBox(self)
        self.line = QLineEdit(self.model)
        self.which = NoWheelComboBox(self)
        self.weights = NoWheelComboBox(self)
        self._browse = IconButton("ph.folder-open", "Choose a folder that contains a model", parent=self)
        self._items = ModelLines(self)
        self._tasks = BackgroundTasks(self)
        self._stale = True  # the list may not be current
        self._filling = 0  # lists that are being read
        self._typed_early = False  # what was typed waits for the list
        self._build()
        self._later = QTimer(self, singleShot=True, interval=_SETTLE)
        self._later.timeout.connect(self.refresh)
        self._look = QTimer(self, singleShot=True, interval=_SETTLE)
        self._look.timeout.connect(self._look_again)
        tailer = services.tailer
        tailer.run_added.connect(lambda _run: self._later.start())
        tailer.state_changed.connect(lambda _run, _state: self._later.start())
        tailer.progress_changed.connect(self._progressed)

    def _build(self) -> None:
        box = self.model
        box.setLineEdit(self.line)
        box.setInsertPolicy(QComboBox.InsertPolicy.NoInsert)
        box.setModel(self._items)
        box.setMaxVisibleItems(16)
        box.setMinimumContentsLength(18)
        box.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        box.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        box.setAccessibleName("Model")
        self.line.setPlaceholderText("A run, an open_clip name, or drop a folder")
        completer = QCompleter(only_possible(self._items, self), self)
        completer.setFilterMode(Qt.MatchFlag.MatchContains)
        completer.setCaseSensitivity(Qt.CaseSensitivity.CaseInsensitive)
        completer.setMaxVisibleItems(12)
        box.setCompleter(completer)
        self.which.setAccessibleName("Checkpoint")
        self.weights.setAccessibleName("Student or teacher")
        self.weights.setToolTip("Network of the run: student or teacher")
        for narrow in (self.which, self.weights):
            narrow.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToContents)
            narrow.hide()
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.setSpacing(SPACE // 2)
        for part in (box, self.which, self.weights, self._browse):
            row.addWidget(part, 1 if part is box else 0)
        self.setFocusProxy(box)
        self.setAccessibleName("Model")
        box.activated.connect(self._activated)
        self.line.editingFinished.connect(self._typed)
        self.which.activated.connect(lambda _row: self._emit_choice())
        self.weights.activated.connect(lambda _row: self._emit_choice())
        self._browse.clicked.connect(self._ask_folder)

    # What is chosen
    def choice(self) -> ModelChoice | None:
        """What is chosen; None while nothing is, or it cannot be used here."""
        entry = self._entry
        if entry is None or entry.reason:
            return None
        which = self.which.currentData()
        if entry.kind == "run":
            if which is None:
                return None
            step, weights = self._pointed(which), str(self.weights.currentData() or "")
            named = f"{which}, step {count(step)}" if isinstance(which, str) else f"step {count(step)}"
            title = " · ".join(part for part in (entry.title, named, weights) if part)
            return ModelChoice(f"{entry.name}@{which}", weights, title, entry.run_id)
        if entry.kind == "open_clip":
            tag = f",{which}" if which else ""
            return ModelChoice(f"{OPEN_CLIP}{entry.name}{tag}", "", f"{entry.name}{tag}")
        return ModelChoice(entry.name, "", entry.title)

    def set_choice(self, choice: ModelChoice) -> bool:
        """Choose a model by program; False, and a word by ``refused``, when it cannot be used here."""
        return self._take(choice_entry(choice, self._needs))

    def show_run(self, run_id: int) -> bool:
        """Choose a run of the store at its best checkpoint; False when there is none to use."""
        store = self._services.store
        try:
            entry = run_entry(store, store.some_runs([run_id]).get(run_id), self._needs)
        except StoreError:  # out of reach, or removed for good meanwhile
            return False
        return entry is not None and not entry.reason and self._take(entry)

    def show_newest_run(self) -> None:
        """Choose the newest run that can be used here, once it is found, unless a model is chosen by then."""
        store, needs = self._services.store, self._needs

        def found(entries: list[ModelEntry]) -> None:
            usable = next((one for one in entries if not one.reason), None)
            if usable is not None and self._entry is None:
                self._take(usable)

        self._tasks.run(lambda: run_entries(store, needs), found)

    def restore(self) -> bool:
        """Choose the model used last that this panel can use; False when there is none."""
        entries = [choice_entry(choice, self._needs) for choice in recent_choices(self._services.settings)]
        entry = next((one for one in entries if not one.reason), None)
        return entry is not None and self._take(entry)

    def take_folder(self, folder: Path) -> bool:
        """Choose a model that lies in ``folder``; False, and a word by ``refused``, when there is none."""
        entry = folder_entry(folder.absolute(), self._needs)
        if entry is None:
            self.refused.emit(f"{folder} contains no model: neither a run nor a folder saved by open_clip.")
            return False
        store = self._services.store
        try:
            known = run_entry(store, store.run_in(folder), self._needs)
        except StoreError:
            known = None
        return self._take(known or entry)

    # The list
    def showEvent(self, event: QShowEvent) -> None:
        """The list takes a while; a panel is on screen before its pickers have theirs."""
        super().showEvent(event)
        QTimer.singleShot(0, self, self._fill_once)

    def _fill_once(self) -> None:
        if self._stale:
            self._fill()

    def refresh(self) -> None:
        """Look at runs and checkpoints again; a hidden list is filled when it is seen."""
        if self.model.view().isVisible():  # not under the user's hand
            self._later.start()
            return
        self._stale = True
        if self.isVisible():
            self._fill()
        self._look_again()

    def _look_again(self) -> None:
        """Has the chosen run other checkpoints by now?"""
        entry = self._entry
        if entry is None or entry.kind != "run" or self.which.view().isVisible():
            return
        if run_facts(RunDir(entry.name)) != self._facts:
            self._fill_which(entry, self.which.currentData(), str(self.weights.currentData() or ""))
            self._emit_choice()

    def _fill(self) -> None:
        """Read in a thread what can be picked: every run's folder is read."""
        self._stale, self._filling = False, self._filling + 1
        store, needs, choices = self._services.store, self._needs, recent_choices(self._services.settings)

        def read() -> Groups:
            recent = [choice_entry(choice, needs) for choice in choices]
            return [
                ("Recent", [entry for entry in recent if not entry.reason]),
                ("Runs", run_entries(store, needs)),
                ("open_clip", open_clip_entries(needs)),
            ]

        self._tasks.run(read, self._filled)

    def _filled(self, groups: Groups) -> None:
        self._filling -= 1
        if self._filling:  # a newer list is on its way
            return
        if self.model.view().isVisible() and self._items.rowCount():  # not under the user's hand
            self._stale = True
            self._later.start()
            return
        text = self.model.currentText()
        self.model.blockSignals(True)
        self._items.replace(groups)
        self.model.setCurrentIndex(-1)
        typing = self._typed_early or self.line.isModified()
        self.model.setEditText(text if typing or self._entry is None else self._entry.title)
        self.model.blockSignals(False)
        if self._typed_early:
            self._typed_early = False
            self._typed()

    def _activated(self, row: int) -> None:
        """A line was picked; Qt says so of the chosen one too when the focus leaves, and its weights are to stay."""
        entry, now = self._items.entry(row), self._entry
        chosen = now is not None and entry is not None and (now.kind, now.name) == (entry.kind, entry.name)
        if entry is not None and not (chosen and entry.recent is None):
            self._take(entry)

    def _typed(self) -> None:
        """Enter, or the focus goes: find what was meant."""
        text = self.model.currentText().strip()
        if not text or (self._entry is not None and text in (self._entry.title, self._entry.name)):
            self._show_wrong("")
            return
        self._fill_once()
        for entry in self._items.entries():
            if text.casefold() in (entry.title.casefold(), entry.name.casefold()):
                self._take(entry)
                return
        name, _, tag = text.removeprefix(OPEN_CLIP).partition(",")
        if name.strip() in architectures():
            self.set_choice(ModelChoice(f"{OPEN_CLIP}{name.strip()},{tag.strip()}", "", name.strip()))
        elif (folder := existing_path(text)) is not None and folder.is_dir():
            self.take_folder(folder)
        elif self._filling:
            self._typed_early = True
        else:
            self._show_wrong(f"There is no model {text!r}; choose one from the list or enter a run's folder.")

    def _show_wrong(self, sentence: str) -> None:
        self.line.setToolTip(plain_tip(sentence))
        self.line.setAccessibleDescription(sentence)
        if bool(self.model.property("invalid")) != bool(sentence):
            self.model.setProperty("invalid", bool(sentence))
            self.model.style().unpolish(self.model)
            self.model.style().polish(self.model)
        if sentence:
            self.refused.emit(sentence)

    def _take(self, entry: ModelEntry) -> bool:
        if entry.reason:
            self.model.setCurrentIndex(-1)
            self.model.setEditText(self._entry.title if self._entry is not None else "")
            self._show_wrong(f"{entry.title} cannot be used here. {entry.reason}")
            return False
        before = entry.recent
        title = entry.title
        if before is not None:
            title = next((one.title for one in self._known() if one.name == entry.name), Path(entry.name).name)
        self._entry = ModelEntry(entry.kind, entry.name, title, "", entry.run_id)
        self._show_wrong("")
        self.model.setEditText(title)
        self.line.setCursorPosition(0)
        which = before.model.rpartition("@")[2] if before and entry.kind == "run" else None
        if before and entry.kind == "open_clip":
            which = before.model.partition(",")[2].strip()
        self._fill_which(self._entry, which, before.weights if before else "")
        self._emit_choice()
        return True

    def _known(self) -> list[ModelEntry]:
        self._fill_once()
        return [entry for entry in self._items.entries() if entry.recent is None]

    def _fill_which(self, entry: ModelEntry, which: object, weights: str) -> None:
        self.which.clear()
        self.weights.clear()
        if entry.kind == "run":
            facts = self._facts = run_facts(RunDir(entry.name))
            for name, step in (("best", facts.best), ("last", facts.last)):
                if step is not None:
                    self.which.addItem(f"{name} · step {count(step)}", name)
            for step in facts.steps:
                self.which.addItem(f"step {count(step)}", step)
            for network in facts.networks:
                self.weights.addItem(network, network)
            which = int(which) if isinstance(which, str) and which.isdecimal() else which
        elif entry.kind == "open_clip":
            for tag in pretrained_tags().get(entry.name, ()):
                self.which.addItem(tag, tag)
            self.which.addItem(_RANDOM, "")
        self.which.setCurrentIndex(max(0, self.which.findData(which)))
        if entry.kind == "run" and not weights and self.which.currentData() == "best":
            weights = default_network(RunDir(entry.name), "best")
        self.weights.setCurrentIndex(max(0, self.weights.findData(weights)))
        self.which.setVisible(self.which.count() > 0)
        self.weights.setVisible(self.weights.count() > 0)
        self.which.setAccessibleName("Pretrained weights" if entry.kind == "open_clip" else "Checkpoint")
        self.which.setToolTip("Pretrained weights" if entry.kind == "open_clip" else "Checkpoint of the run")

    def _pointed(self, which: object) -> int:
        if isinstance(which, int):
            return which
        step = None if self._facts is None else self._facts.best if which == "best" else self._facts.last
        return step or 0

    # Telling
    def _emit_choice(self) -> None:
        choice = self.choice()
        if choice is None:
            return
        step = self._pointed(self.which.currentData()) if self._entry and self._entry.kind == "run" else None
        before, self._told = self._told, choice
        newer = step != self._step
        self._step = step
        self.setToolTip(plain_tip(f"{choice.title}\n{choice.model}"))
        self.setAccessibleDescription(choice.title)
        if before is None or (before.model, before.weights) != (choice.model, choice.weights):
            remember(self._services.settings, self._without_step(choice))
            self.changed.emit(choice)
        elif newer:
            self.renewed.emit(choice)

    def _without_step(self, choice: ModelChoice) -> ModelChoice:
        """As the list of recent ones calls it: best and last move on."""
        which = self.which.currentData()
        if self._entry is None or which not in ("best", "last"):
            return choice
        return replace(choice, title=" · ".join(filter(None, (self._entry.title, which, choice.weights))))

    def _progressed(self, run_id: int, _progress: object) -> None:
        if self._entry is not None and self._entry.run_id == run_id and not self._look.isActive():
            self._look.start()

    # Folders
    def _ask_folder(self) -> None:
        folder = QFileDialog.getExistingDirectory(self, "Choose the folder of a run, or of a model saved by open_clip")
        if folder:
            self.take_folder(Path(folder))

    def dragEnterEvent(self, event: QDragEnterEvent) -> None:
        accept_file(event)

    def dropEvent(self, event: QDropEvent) -> None:
        path = Path(dropped_file(event))
        self.take_folder(path if path.is_dir() else path.parent)
