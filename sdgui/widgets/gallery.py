"""Virtual grid of pictures. (Signatures; being filled in.)"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QWidget


@dataclass(frozen=True)
class GalleryItem:
    """One picture; ``score`` and ``rank`` (from 1) where there are any; ``correct``: the true one (None: no such idea)."""

    path: Path
    caption: str = ""
    score: float | None = None
    rank: int | None = None
    correct: bool | None = None
    detail: str = ""  # further lines of the tooltip


class Gallery(QWidget):
    """Thumbnails with caption, score, rank and mark; loads what is visible first, off the window's thread."""

    current_changed = Signal(int)  # index, -1 for none
    selection_changed = Signal(list)  # indices, ascending
    activated = Signal(int)  # Enter or double click
    scrolled = Signal(float)  # share of the way down, 0 to 1
    thumbnail_size_changed = Signal(int)

    def __init__(self, cache_dir: Path | None = None, empty_text: str = "", parent: QWidget | None = None) -> None:
        super().__init__(parent)

    def set_items(self, items: list[GalleryItem]) -> None: ...
    def items(self) -> list[GalleryItem]:
        raise NotImplementedError

    def current(self) -> int:
        raise NotImplementedError

    def set_current(self, index: int) -> None: ...
    def selected(self) -> list[int]:
        raise NotImplementedError

    def set_selected(self, indices: list[int]) -> None: ...
    def scroll_to_share(self, share: float) -> None:
        """Slot for another gallery's ``scrolled``; does not echo."""

    def set_thumbnail_size(self, size: int) -> None:
        """64 to 512 px; does not echo."""

    def preview(self, index: int) -> None:
        """Show the picture large, as Space does."""

    def set_empty_text(self, text: str) -> None: ...
    def link(self, other: Gallery) -> None:
        """Scroll, zoom and select together with ``other``, both ways."""
