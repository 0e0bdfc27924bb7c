"""Export formats: each panel has a table of rows from which its menu, actions and dialogs are built.

Flow: ``ExportFormat`` rows -> menu or action -> ``ask_save`` -> ``ExportTask`` (thread) -> ``ExportResult`` -> message.
To add a format, add a row to the panel's table. No Qt.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Generic, Literal, TypeVar

from sdgui.widgets.formats import count

_MAX_LISTED = 50  # skipped items that are listed with reasons
Progress = Callable[[int, int], None]  # done, total; raises to cancel the export
Write = TypeVar("Write")
Target = Literal["file", "folder", "beside"]  # beside: a file next to each image, so the user chooses no target


@dataclass(frozen=True)
class ExportFormat(Generic[Write]):
    """An export format of a panel. ``write``: the function, or the worker request, that writes it."""

    name: str  # name of the action, such as "csv"
    title: str  # menu title
    tip: str
    write: Write
    kind: str = ""  # name of the file type in the file dialog
    suffix: str = ""
    stem: str = ""  # stem of the suggested file name
    target: Target = "file"

    @property
    def filter(self) -> str:
        """The filter of a file dialog, such as ``Tables (*.csv)``."""
        return f"{self.kind} (*{self.suffix})"

    @property
    def file_name(self) -> str:
        return self.stem + self.suffix


@dataclass
class ExportResult:
    """The result of an export: number of written items, and skipped items with reasons."""

    path: Path  # the folder, or the (first) file
    written: int = 0
    skipped: list[tuple[str, str]] = field(default_factory=list)

    @property
    def folder(self) -> Path:
        return self.path if self.path.is_dir() else self.path.parent

    def reasons(self) -> str:
        """The skipped items, one per line."""
        unlisted = len(self.skipped) - _MAX_LISTED
        lines = [f"{name}: {reason}" for name, reason in self.skipped[:_MAX_LISTED]]
        return "\n".join([*lines, f"and {count(unlisted)} more"] if unlisted > 0 else lines)


def free_path(path: Path, number: int = 1) -> Path:
    """``path``, or the first free one of ``NAME-2``, ``NAME-3`` …, starting at ``number``."""
    candidate = path if number < 2 else path.with_name(f"{path.stem}-{number}{path.suffix}")
    number = max(2, number + 1)
    while candidate.exists() or candidate.is_symlink():
        candidate, number = path.with_name(f"{path.stem}-{number}{path.suffix}"), number + 1
    return candidate
