"""File dialogs: open a file, several files or a folder, and save.

Qt's dialogs return text, "" if cancelled; these return paths, or None.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from PySide6.QtWidgets import QFileDialog, QWidget


@dataclass(frozen=True)
class ChosenFile:
    """A file to write. ``confirmed``: the user has agreed to overwrite this file."""

    path: Path
    confirmed: bool

    @property
    def replaces(self) -> bool:
        """Whether the user confirmed that an existing file is overwritten."""
        return self.confirmed and self.path.exists()

    @property
    def problem(self) -> str:
        """Why the file must not be written, with the remedy; "" if it may."""
        exists = not self.confirmed and self.path.exists()
        return f"{self.path} already exists; choose another name." if exists else ""


def ask_open(parent: QWidget | None, title: str, kinds: str = "", start: Path | str = "") -> Path | None:
    """Ask for an existing file. ``kinds``: a Qt filter such as ``Tables (*.csv)``."""
    file_name, _ = QFileDialog.getOpenFileName(parent, title, str(start), kinds)
    return Path(file_name) if file_name else None


def ask_open_several(parent: QWidget | None, title: str, kinds: str = "") -> list[Path]:
    """Ask for existing files; [] if cancelled."""
    return [Path(file_name) for file_name in QFileDialog.getOpenFileNames(parent, title, "", kinds)[0]]


def ask_folder(parent: QWidget | None, title: str, start: Path | str = "") -> Path | None:
    """Ask for an existing folder."""
    folder = QFileDialog.getExistingDirectory(parent, title, str(start))
    return Path(folder) if folder else None


def ask_save(
    parent: QWidget | None,
    title: str,
    start: Path | str,
    kinds: str,
    suffix: str = "",
    confirm: bool = True,
    typed_suffixes: Collection[str] = (),
) -> ChosenFile | None:
    """Ask for a file to write. ``suffix`` is added unless one of ``typed_suffixes`` (default: ``suffix``) is typed.

    ``confirm``: ask before an existing file is replaced; this does not cover a name to which the suffix was added.
    """
    if confirm:
        file_name, _ = QFileDialog.getSaveFileName(parent, title, str(start), kinds)
    else:
        option = QFileDialog.Option.DontConfirmOverwrite
        file_name, _ = QFileDialog.getSaveFileName(parent, title, str(start), kinds, options=option)
    if not file_name:
        return None
    path = Path(file_name)
    if not suffix or path.suffix.lower() in (typed_suffixes or (suffix,)):
        return ChosenFile(path, confirm)
    return ChosenFile(path.with_name(path.name + suffix), confirmed=False)
