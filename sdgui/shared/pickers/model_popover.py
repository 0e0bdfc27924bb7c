"""The popover of the model chip: a search line, matching models, and checkpoint and network of the selected run.

Flow: ``ModelChip`` fills and opens the list -> ``picked``, ``checkpoint_picked``, ``network_picked``. It closes on
Escape, on a click elsewhere, and after a choice.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from PySide6.QtCore import QEvent, QModelIndex, QObject, QPoint, Qt, Signal
from PySide6.QtWidgets import QFrame, QLineEdit, QListView, QPushButton, QWidget

from sdgui.runs.models import RunFacts
from sdgui.shared.pickers.entries import ModelEntry, Needs, folder_entry
from sdgui.shared.pickers.model_list import Groups, ModelDelegate, ModelLines
from sdgui.widgets.dropped_files import existing_path
from sdgui.widgets.formats import count
from sdgui.widgets.input_boxes import ListOnlyComboBox
from sdgui.widgets.layouts.boxes import hbox, vbox
from sdgui.widgets.plain_text import PlainLabel
from sdgui.widgets.popovers.list_keys import handle_list_key, is_enter
from sdgui.widgets.style.theme import SPACE, set_role

UNTRAINED: Final = "Random weights"
_WIDTH, _HEIGHT = 66 * SPACE, 62 * SPACE
_SEARCH = "Search runs and pretrained models, or paste a folder"


class ModelPopover(QFrame):
    """The popover: ``line``, ``list`` and, for a run, ``checkpoints`` and ``networks`` (student and teacher)."""

    picked = Signal(object)  # ModelEntry
    checkpoint_picked = Signal(object)  # "best", "last" or a step
    network_picked = Signal(str)
    folder_requested = Signal()
    initial_picked = Signal(object)  # ModelEntry to interpolate the chosen run with

    def __init__(self, needs: Needs, parent: QWidget) -> None:
        super().__init__(parent, Qt.WindowType.Popup)
        self._needs = needs
        self._groups: Groups = ()
        self.setObjectName("model_popover")
        self.setAccessibleName("Choose a model")
        self.setFrameShape(QFrame.Shape.StyledPanel)
        self.line = QLineEdit(self)
        self.line.setPlaceholderText(_SEARCH)
        self.line.setAccessibleName("Search models")
        self.line.setClearButtonEnabled(True)
        self.lines = ModelLines(self)
        self.list = QListView(self)
        self.list.setAccessibleName("Models")
        self.list.setModel(self.lines)
        self.list.setItemDelegate(ModelDelegate(self.list))
        self.list.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.list.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self.note = PlainLabel(self, wordWrap=True, role="muted")
        self.checkpoints, self.networks = ListOnlyComboBox(self), ListOnlyComboBox(self)
        self._checkpoints_title, self._networks_title = PlainLabel("&Checkpoint", self), PlainLabel("&Network", self)
        self._folder = QPushButton("&Folder…", self)
        self.interpolate = QPushButton("&Interpolate with…", self)
        self._picks_initial = False  # whether the next pick is the model to interpolate with, not the model to use
        self._arrange()
        self.line.textChanged.connect(self._find)
        self.line.installEventFilter(self)
        self.list.clicked.connect(self._on_clicked)
        self.checkpoints.activated.connect(lambda _row: self.checkpoint_picked.emit(self.checkpoints.currentData()))
        self.networks.activated.connect(lambda _row: self.network_picked.emit(str(self.networks.currentData())))
        self._folder.clicked.connect(self._ask_folder)
        self.interpolate.clicked.connect(lambda: self._set_picks_initial(True))

    def _arrange(self) -> None:
        self.checkpoints.setAccessibleName("Checkpoint")
        self.networks.setAccessibleName("Student or teacher")
        self._folder.setToolTip("Choose the folder of a run, or of a model saved by open_clip or transformers")
        self.interpolate.setToolTip("Choose a second model of the same architecture; a slider moves between the two")
        for title, box in ((self._checkpoints_title, self.checkpoints), (self._networks_title, self.networks)):
            title.setBuddy(box)
            set_role(title, "muted")
            box.setSizeAdjustPolicy(ListOnlyComboBox.SizeAdjustPolicy.AdjustToContents)
        self.interpolate.hide()
        choices = (self._checkpoints_title, self.checkpoints, self._networks_title, self.networks)
        foot = hbox(*choices, None, self.interpolate, self._folder)
        vbox(self.line, (self.list, 1), self.note, foot, into=self, margins=SPACE)

    # Display
    def open_below(self, chip: QWidget, typed: str = "") -> None:
        """Show the popover below ``chip``, inside the window, with ``typed`` in the search line."""
        window = chip.window()
        width = max(self.minimumSizeHint().width(), min(_WIDTH, window.width() - 2 * SPACE))
        corner = chip.mapToGlobal(QPoint(0, chip.height() + SPACE // 2))
        right = window.mapToGlobal(QPoint(window.width(), window.height()))
        self.resize(width, max(24 * SPACE, min(_HEIGHT, right.y() - corner.y() - SPACE)))
        self.move(min(corner.x(), right.x() - width - SPACE), corner.y())
        self.line.setText(typed)
        self._find(typed)
        self.show()
        self.line.setFocus(Qt.FocusReason.PopupFocusReason)

    def show_groups(self, groups: Groups) -> None:
        """List these models; the typed text and the current line are kept."""
        self._groups = groups
        self._find(self.line.text())

    def show_run(self, facts: RunFacts | None, checkpoint: str | int, network: str, interpolates: bool = False) -> None:
        """Offer the checkpoints and networks of the chosen run; None for other models."""
        self._set_picks_initial(False)
        self.interpolate.setVisible(interpolates and facts is not None)
        for box in (self.checkpoints, self.networks):
            box.clear()
        if facts is not None:
            for name, step in (("best", facts.best), ("last", facts.last)):
                if step is not None:
                    self.checkpoints.addItem(f"{name} · step {count(step)}", name)
            for step in facts.steps:
                self.checkpoints.addItem(f"step {count(step)}", step)
            for name in facts.networks:
                self.networks.addItem(name, name)
            self.checkpoints.setCurrentIndex(self.checkpoints.findData(checkpoint))
            self.networks.setCurrentIndex(self.networks.findData(network))
        for title, box, fewest in (
            (self._checkpoints_title, self.checkpoints, 1),
            (self._networks_title, self.networks, 2),
        ):
            for widget in (title, box):
                widget.setVisible(box.count() >= fewest)

    def _set_picks_initial(self, is_on: bool) -> None:
        self._picks_initial = is_on
        self.line.setPlaceholderText("Interpolate with a model of the same architecture" if is_on else _SEARCH)
        self.interpolate.setEnabled(not is_on)
        self._folder.setEnabled(not is_on)
        self.line.setFocus()

    def _find(self, words: str) -> None:
        current = self.lines.entry(self.list.currentIndex().row())
        self.lines.replace(self._add_typed_folder(words), words, (UNTRAINED,))
        rows = range(self.lines.rowCount())
        same_row = next((row for row in rows if current is not None and self.lines.entry(row) == current), -1)
        self._choose_row(same_row if same_row >= 0 else self.lines.first_row())
        if same_row < 0:
            self.list.scrollToTop()
        self.note.setText(self._empty_note(words))
        self.note.setVisible(bool(self.note.text()))

    def _add_typed_folder(self, words: str) -> Groups:
        """Add an entry for a typed path to a model folder."""
        folder = existing_path(words.strip()) if "/" in words or "\\" in words else None
        if folder is None or not folder.is_dir() or (entry := folder_entry(folder.absolute(), self._needs)) is None:
            return self._groups
        return [("Folder", [replace(entry, about=words.strip())]), *self._groups]  # so that the entry matches ``words``

    def _empty_note(self, words: str) -> str:
        if self.lines.rowCount():
            return ""
        if not self._groups:
            return "Reading the models…"
        return (
            f"No model matches “{words.strip()[:60]}”. Enter a run's name, a pretrained model such as ViT-B-32, or the "
            "folder of a run or of a saved model."
        )

    # Picking
    def _choose_row(self, row: int) -> None:
        self.list.setCurrentIndex(self.lines.index(row) if row >= 0 else QModelIndex())

    def _on_clicked(self, index: QModelIndex) -> None:
        self._pick(self.lines.entry(index.row()))

    def _pick(self, entry: ModelEntry | None) -> None:
        if entry is not None and not entry.reason:
            self.hide()
            (self.initial_picked if self._picks_initial else self.picked).emit(entry)

    def _ask_folder(self) -> None:
        self.hide()
        self.folder_requested.emit()

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        """Move through the list with the arrow keys while typing; choose the current line with Enter."""
        if is_enter(event):
            self._pick(self.lines.entry(self.list.currentIndex().row()))
            return True
        return handle_list_key(self.list, event)
