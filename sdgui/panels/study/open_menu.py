"""The menu of the Open button: bundled studies, a study file, a study folder."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QMenu, QWidget

from core.spec.resources import resource_folder
from sdgui.widgets.file_dialogs import ask_folder, ask_open

SHIPPED = resource_folder("studies")


class OpenMenu(QMenu):
    """The menu; emits the chosen path."""

    path_chosen = Signal(Path)

    def __init__(self, parent: QWidget) -> None:
        super().__init__(parent)
        for path in sorted(SHIPPED.glob("*.json")):
            self.addAction(f"Bundled: {path.stem}").triggered.connect(partial(self._choose, path))
        self.addSeparator()
        self.addAction("Study &file…").triggered.connect(self._ask_file)
        self.addAction("Study f&older…").triggered.connect(self._ask_folder)

    def _choose(self, path: Path, _checked: bool = False) -> None:
        self.path_chosen.emit(path)

    def _ask_file(self) -> None:
        if path := ask_open(self.parentWidget(), "Open a study file", "Studies (*.json)"):
            self.path_chosen.emit(path)

    def _ask_folder(self) -> None:
        if folder := ask_folder(self.parentWidget(), "Open a study folder"):
            self.path_chosen.emit(folder)
