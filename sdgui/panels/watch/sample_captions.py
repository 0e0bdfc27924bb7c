"""Captions that student and teacher wrote for a few held-out pictures, beside the true ones.

Flow: ``Sample`` "captions" of a run's events -> ``written_captions`` -> one row a picture. An imported run's events may
hold anything: what is not as the trainer writes it is left out.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QAbstractItemView, QHeaderView, QTableWidget, QTableWidgetItem, QWidget

from core.spec.reading import excerpt
from sdgui.widgets.gallery.picture_label import PictureLabel
from sdgui.widgets.style.theme import SPACE

NETWORKS = ("student", "teacher")
_MOST = 50  # rows; the trainer writes eight
_LONGEST = 1000  # characters of a caption
_SIDE = 8 * SPACE
_PICTURE, _TRUTH = range(2)


@dataclass(frozen=True)
class WrittenCaption:
    """One picture: its true caption, and what each network wrote."""

    image: str
    truth: str
    by: Mapping[str, str] = field(default_factory=dict)  # network -> caption


def written_captions(content: Mapping[str, Any]) -> list[WrittenCaption]:
    """Pictures in the order of the event, with every network's caption."""
    found: dict[str, WrittenCaption] = {}
    for network in NETWORKS:
        entries = content.get(network)
        for entry in entries[:_MOST] if isinstance(entries, list) else ():
            if isinstance(entry, Mapping) and isinstance(image := entry.get("image"), str):
                known = found.get(image, WrittenCaption(image, _text(entry, "truth")))
                found[image] = WrittenCaption(image, known.truth, {**known.by, network: _text(entry, "caption")})
    return list(found.values())


def _text(entry: Mapping[str, Any], name: str) -> str:
    text = entry.get(name)
    return excerpt(text, _LONGEST) if isinstance(text, str) else ""


class CaptionTable(QTableWidget):
    """Columns: the picture, its true caption, one for each network that wrote."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(0, 2, parent)
        self.setAccessibleName("Captions generated for held-out pictures")
        self.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.setVerticalScrollMode(QAbstractItemView.ScrollMode.ScrollPerPixel)
        self.setWordWrap(True)
        self.setShowGrid(False)
        self.setTabKeyNavigation(False)
        self.verticalHeader().hide()
        self.verticalHeader().setDefaultSectionSize(_SIDE + SPACE)
        self.horizontalHeader().setDefaultAlignment(Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter)

    def show_captions(self, captions: list[WrittenCaption]) -> None:
        """Show these instead. A picture that stays in its row is not read again."""
        networks = [network for network in NETWORKS if any(network in one.by for one in captions)]
        self.setColumnCount(2 + len(networks))
        self.setHorizontalHeaderLabels(["Picture", "True caption", *(network.capitalize() for network in networks)])
        self.setRowCount(len(captions))
        header = self.horizontalHeader()
        header.setSectionResizeMode(QHeaderView.ResizeMode.Stretch)
        header.setSectionResizeMode(_PICTURE, QHeaderView.ResizeMode.Fixed)
        self.setColumnWidth(_PICTURE, _SIDE + 2 * SPACE)
        for row, one in enumerate(captions):
            self._show_picture(row, one)
            for column, text in enumerate((one.truth, *(one.by.get(network, "") for network in networks)), _TRUTH):
                self.setItem(row, column, QTableWidgetItem(text))

    def _show_picture(self, row: int, one: WrittenCaption) -> None:
        before = self.item(row, _PICTURE)
        if before is not None and before.data(Qt.ItemDataRole.UserRole) == one.image:
            return
        item = QTableWidgetItem()
        item.setData(Qt.ItemDataRole.UserRole, one.image)
        item.setData(Qt.ItemDataRole.AccessibleTextRole, Path(one.image).name)
        self.setItem(row, _PICTURE, item)
        picture = self.cellWidget(row, _PICTURE)
        if not isinstance(picture, PictureLabel):
            picture = PictureLabel(_SIDE)
            self.setCellWidget(row, _PICTURE, picture)
        picture.show_picture(Path(one.image))
