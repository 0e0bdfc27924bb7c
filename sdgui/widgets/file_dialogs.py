"""File dialogs: open a file, several files or a folder, and save.

Qt's own dialogs return texts, "" when they are cancelled; these return paths, or None.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from PySide6.QtWidgets import QFileDialog, QWidget


@dataclass(frozen=True)
class ChosenFile:
    """``confirmed``: the dialog has asked about overwriting this exact file."""

    path: Path
    confirmed: bool

    @property
    def replaces(self) -> bool:
        """Whether the user confirmed that an existing file is overwritten."""
        return self.confirmed and self.path.exists()

    @property
    def problem(self) -> str:
        """Why nothing may be written there, with the remedy; "" when it may."""
        exists = not self.confirmed and self.path.exists()
        return f"{self.path} already exists; choose another name." if exists else ""


def ask_open(over: QWidget | None, title: str, kinds: str = "", start: Path | str = "") -> Path | None:
    """An existing file. ``kinds``: as Qt's filter, ``Tables (*.csv)``."""
    file_name, _ = QFileDialog.getOpenFileName(over, title, str(start), kinds)
    return Path(file_name) if file_name else None


def ask_open_several(over: QWidget | None, title: str, kinds: str = "") -> list[Path]:
    """Existing files; [] when the dialog is cancelled."""
    return [Path(file_name) for file_name in QFileDialog.getOpenFileNames(over, title, "", kinds)[0]]


def ask_folder(over: QWidget | None, title: str, start: Path | str = "") -> Path | None:
    """An existing folder."""
    folder = QFileDialog.getExistingDirectory(over, title, str(start))
    return Path(folder) if folder else None


def ask_save(
    over: QWidget | None,
    title: str,
    start: Path | str,
    kinds: str,
    suffix: str = "",
    confirm: bool = True,
    typed_suffixes: Collection[str] = (),
) -> ChosenFile | None:
    """A file to write; ``suffix`` is added where none of ``typed_suffixes`` is typed: ``suffix`` itself by default.

    ``confirm``: whether the dialog asks before an existing file is replaced; not about a name that got its suffix here.
    """
    if confirm:
        file_name, _ = QFileDialog.getSaveFileName(over, title, str(start), kinds)
    else:
        option = QFileDialog.Option.DontConfirmOverwrite
        file_name, _ = QFileDialog.getSaveFileName(over, title, str(start), kinds, options=option)
    if not file_name:
        return None
    path = Path(file_name)
    if not suffix or path.suffix.lower() in (typed_suffixes or (suffix,)):
        return ChosenFile(path, confirm)
    return ChosenFile(path.with_name(path.name + suffix), confirmed=False)
