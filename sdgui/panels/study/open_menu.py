"""The menu of the Open button: bundled studies, a study file, a study folder."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from PySide6.QtWidgets import QMenu, QWidget

from core.spec.resources import resource_folder
from sdgui.widgets.file_dialogs import ask_folder, ask_open

BUNDLED_STUDIES = resource_folder("studies")


def open_menu(parent: QWidget, open_study: Callable[[Path], object]) -> QMenu:
    """The menu. ``open_study`` gets the chosen path."""

    def open_chosen(path: Path | None) -> None:
        if path is not None:
            open_study(path)

    menu = QMenu(parent)
    for path in sorted(BUNDLED_STUDIES.glob("*.json")):
        menu.addAction(f"Bundled: {path.stem}").triggered.connect(lambda _=False, path=path: open_study(path))
    menu.addSeparator()
    ask_file = menu.addAction("Study &file…").triggered
    ask_file.connect(lambda: open_chosen(ask_open(parent, "Open a study file", "Studies (*.json)")))
    menu.addAction("Study f&older…").triggered.connect(lambda: open_chosen(ask_folder(parent, "Open a study folder")))
    return menu
