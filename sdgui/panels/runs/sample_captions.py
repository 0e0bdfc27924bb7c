"""Captions that student and teacher generated for a few held-out images, next to the true captions.

Flow: ``Sample`` "captions" of a run's events -> ``written_captions`` -> one row per image. Events of an imported
run may contain anything; entries that the trainer does not write are skipped.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QAbstractItemView, QHeaderView, QTableWidget, QTableWidgetItem, QWidget

from core.spec.reading import excerpt
from sdgui.widgets.gallery.image_label import ImageLabel
from sdgui.widgets.style.theme import SPACE

NETWORKS = ("student", "teacher")
_MAX_ROWS = 50  # the trainer writes eight
_MAX_CAPTION_LENGTH = 1000
_SIDE = 8 * SPACE
_IMAGE, _TRUTH = range(2)


@dataclass(frozen=True)
class WrittenCaption:
    """One image: its true caption, and the caption of each network."""

    image: str
    truth: str
    by: Mapping[str, str] = field(default_factory=dict)  # network -> caption


def written_captions(content: Mapping[str, Any]) -> list[WrittenCaption]:
    """The images of an event in order, with each network's caption."""
    by_image: dict[str, WrittenCaption] = {}
    for network in NETWORKS:
        entries = content.get(network)
        for entry in entries[:_MAX_ROWS] if isinstance(entries, list) else ():
            if isinstance(entry, Mapping) and isinstance(image := entry.get("image"), str):
                previous = by_image.get(image, WrittenCaption(image, _text(entry, "truth")))
                by_image[image] = WrittenCaption(
                    image, previous.truth, {**previous.by, network: _text(entry, "caption")}
                )
    return list(by_image.values())


def _text(entry: Mapping[str, Any], name: str) -> str:
    text = entry.get(name)
    return excerpt(text, _MAX_CAPTION_LENGTH) if isinstance(text, str) else ""


class CaptionTable(QTableWidget):
    """A table with the columns image, true caption, and one for each network with captions."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(0, 2, parent)
        self.setAccessibleName("Captions generated for held-out images")
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
        """Replace the captions; images that stay in their row are not read again."""
        networks = [network for network in NETWORKS if any(network in caption.by for caption in captions)]
        self.setColumnCount(2 + len(networks))
        self.setHorizontalHeaderLabels(["Image", "True caption", *(network.capitalize() for network in networks)])
        self.setRowCount(len(captions))
        header = self.horizontalHeader()
        header.setSectionResizeMode(QHeaderView.ResizeMode.Stretch)
        header.setSectionResizeMode(_IMAGE, QHeaderView.ResizeMode.Fixed)
        self.setColumnWidth(_IMAGE, _SIDE + 2 * SPACE)
        for row, written in enumerate(captions):
            self._show_image(row, written)
            texts = (written.truth, *(written.by.get(network, "") for network in networks))
            for column, text in enumerate(texts, _TRUTH):
                self.setItem(row, column, QTableWidgetItem(text))

    def _show_image(self, row: int, caption: WrittenCaption) -> None:
        before = self.item(row, _IMAGE)
        if before is not None and before.data(Qt.ItemDataRole.UserRole) == caption.image:
            return
        item = QTableWidgetItem()
        item.setData(Qt.ItemDataRole.UserRole, caption.image)
        item.setData(Qt.ItemDataRole.AccessibleTextRole, Path(caption.image).name)
        self.setItem(row, _IMAGE, item)
        image = self.cellWidget(row, _IMAGE)
        if not isinstance(image, ImageLabel):
            image = ImageLabel(_SIDE)
            self.setCellWidget(row, _IMAGE, image)
        image.show_image(Path(caption.image))
