"""The menu of the Open button: bundled studies, a study file, a study folder."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QFileDialog, QMenu, QWidget

from core.spec.resources import resource_folder

SHIPPED = resource_folder("studies")


class OpenMenu(QMenu):
    """The menu of the Open button."""

    path_chosen = Signal(Path)

    def __init__(self, parent: QWidget) -> None:
        super().__init__(parent)
        for path in sorted(SHIPPED.glob("*.json")):
            self.addAction(f"Bundled: {path.stem}").triggered.connect(partial(self._choose, path))
        self.addSeparator()
        self.addAction("Study &file …").triggered.connect(self._ask_file)
        self.addAction("Study f&older …").triggered.connect(self._ask_folder)

    def _choose(self, path: Path, _checked: bool = False) -> None:
        self.path_chosen.emit(path)

    def _ask_file(self) -> None:
        path, _ = QFileDialog.getOpenFileName(self.parentWidget(), "Open a study file", "", "Studies (*.json)")
        if path:
            self.path_chosen.emit(Path(path))

    def _ask_folder(self) -> None:
        folder = QFileDialog.getExistingDirectory(self.parentWidget(), "Open a study folder")
        if folder:
            self.path_chosen.emit(Path(folder))
