"""What Look looks at: which checkpoint of the run, and which held-out data."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import QComboBox, QFileDialog, QHBoxLayout, QLabel, QWidget

from core.config import ConfigError, read_config
from core.rundir import RunDir
from sdgui.store.records import Run
from sdgui.widgets.theme import SPACE, set_role

_CHOOSE_FILE, _CHOOSE_FOLDER = "choose-file", "choose-folder"


@dataclass(frozen=True)
class LookSource:
    """A request to the worker: ``data`` empty stands for the run's validation data."""

    run: Path
    checkpoint: str
    data: str


def checkpoint_names(run: RunDir) -> list[str]:
    """Folders of whole checkpoints, newest first; [] when there is none yet."""
    try:
        found = [folder.name for folder in run.checkpoints.iterdir() if (folder / "checkpoint.json").is_file()]
    except OSError:
        return []
    return sorted(found, reverse=True)


class LookSourceBar(QWidget):
    """Two boxes; ``changed`` when the user chose anew."""

    changed = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._run: Run | None = None
        self._names: list[str] = []
        self.checkpoint = QComboBox(self)
        self.checkpoint.setAccessibleName("Checkpoint")
        self.data = QComboBox(self)
        self.data.setAccessibleName("Pictures to search")
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.setSpacing(SPACE)
        for text, box in (("C&heckpoint", self.checkpoint), ("Pict&ures", self.data)):
            label = QLabel(text, self)
            label.setBuddy(box)
            set_role(label, "muted")
            row.addWidget(label)
            row.addWidget(box)
        self.checkpoint.activated.connect(lambda _row: self.changed.emit())
        self.data.activated.connect(self._data_chosen)

    def show_run(self, run: Run | None) -> bool:
        """Offer the run's checkpoints and data; whether there is a checkpoint at all."""
        fresh = self._run is None or run is None or run.id != self._run.id
        self._run = run
        names = checkpoint_names(run.dir) if run is not None else []
        if fresh:
            self._fill_data(run)
        if fresh or names != self._names:
            self._names = names
            self._fill_checkpoints(names)
        return bool(names)

    def _fill_checkpoints(self, names: list[str]) -> None:
        chosen = self.checkpoint.currentData()
        self.checkpoint.clear()
        for text, key in [("best", "best"), ("last", "last"), *((name, name) for name in names)]:
            self.checkpoint.addItem(text, key)
        self.checkpoint.setCurrentIndex(max(0, self.checkpoint.findData(chosen)))

    def _fill_data(self, run: Run | None) -> None:
        self.data.clear()
        if run is None:
            return
        try:
            data = read_config(run.dir.config).data
        except ConfigError:
            return  # Define shows why; there is nothing to offer here
        for text, path, key in (("validation data", data.val, ""), ("test data", data.test, data.test)):
            if path:
                self.data.addItem(text, key)
                self.data.setItemData(self.data.count() - 1, path, Qt.ItemDataRole.ToolTipRole)
        self.data.addItem("Choose a table…", _CHOOSE_FILE)
        self.data.addItem("Choose a folder…", _CHOOSE_FOLDER)

    def _data_chosen(self, row: int) -> None:
        kind = self.data.itemData(row)
        if kind not in (_CHOOSE_FILE, _CHOOSE_FOLDER):
            self.changed.emit()
            return
        if kind == _CHOOSE_FILE:
            path, _ = QFileDialog.getOpenFileName(self, "Pairs to search", "", "Tables (*.csv *.tsv *.jsonl *.json)")
        else:
            path = QFileDialog.getExistingDirectory(self, "Pictures to search")
        if path:
            self.data.insertItem(0, Path(path).name, path)
            self.data.setCurrentIndex(0)
            self.changed.emit()
        else:
            self.data.setCurrentIndex(0)

    def source(self) -> LookSource | None:
        """What is chosen; None while there is nothing to look at."""
        data = self.data.currentData()
        if self._run is None or not self._names or data in (None, _CHOOSE_FILE, _CHOOSE_FOLDER):
            return None
        return LookSource(self._run.folder, str(self.checkpoint.currentData()), str(data))
