"""Captions that student and teacher generated for a few held-out images, next to the true captions.

Flow: ``Sample`` "captions" of a run's events -> ``captions_by_image`` -> one row per image. Events of an imported
run may contain anything; entries that the trainer does not write are skipped.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QAbstractItemView, QHeaderView, QTableWidget, QTableWidgetItem, QWidget

from core.spec.reading import excerpt
from sdgui.shared.tables import style_table
from sdgui.widgets.gallery.image_label import ImageLabel
from sdgui.widgets.style.theme import SPACE

NETWORKS = ("student", "teacher")
MAX_ENTRIES = 50  # entries of a sample; the trainer writes eight
_MAX_CAPTION_LENGTH = 1000
_IMAGE_SIZE = 8 * SPACE  # width and height of an image, in px
_IMAGE, _TRUTH = range(2)  # the first columns


def entries_of(content: Mapping[str, Any], name: str) -> list[Mapping[str, Any]]:
    """The list ``name`` of an event; [] if it is not a list, as in an imported run."""
    raw = content.get(name)
    return [entry for entry in raw[:MAX_ENTRIES] if isinstance(entry, Mapping)] if isinstance(raw, list) else []


def captions_by_image(content: Mapping[str, Any]) -> dict[str, dict[str, str]]:
    """Image -> its true caption ("truth") and the caption of each network, in the order of the event."""
    captions: dict[str, dict[str, str]] = {}
    for network in NETWORKS:
        for entry in entries_of(content, network):
            if isinstance(image := entry.get("image"), str):
                captions.setdefault(image, {"truth": _text(entry, "truth")})[network] = _text(entry, "caption")
    return captions


def _text(entry: Mapping[str, Any], name: str) -> str:
    text = entry.get(name)
    return excerpt(text, _MAX_CAPTION_LENGTH) if isinstance(text, str) else ""


class CaptionTable(QTableWidget):
    """A table with the columns image, true caption, and one for each network with captions."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(0, 2, parent)
        self.setAccessibleName("Captions generated for held-out images")
        style_table(self)
        self.setVerticalScrollMode(QAbstractItemView.ScrollMode.ScrollPerPixel)
        self.setWordWrap(True)
        self.verticalHeader().setDefaultSectionSize(_IMAGE_SIZE + SPACE)
        self.horizontalHeader().setDefaultAlignment(Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter)

    def show_captions(self, captions: Mapping[str, Mapping[str, str]]) -> None:
        """Replace the captions (see `captions_by_image`); images that stay in their row are not read again."""
        networks = [network for network in NETWORKS if any(network in texts for texts in captions.values())]
        self.setColumnCount(2 + len(networks))
        self.setHorizontalHeaderLabels(["Image", "True caption", *(network.capitalize() for network in networks)])
        self.setRowCount(len(captions))
        header = self.horizontalHeader()
        header.setSectionResizeMode(QHeaderView.ResizeMode.Stretch)
        header.setSectionResizeMode(_IMAGE, QHeaderView.ResizeMode.Fixed)
        self.setColumnWidth(_IMAGE, _IMAGE_SIZE + 2 * SPACE)
        for row, (image, texts) in enumerate(captions.items()):
            self._show_image(row, image)
            for column, name in enumerate(("truth", *networks), _TRUTH):
                self.setItem(row, column, QTableWidgetItem(texts.get(name, "")))

    def _show_image(self, row: int, path: str) -> None:
        previous_item = self.item(row, _IMAGE)
        if previous_item is not None and previous_item.data(Qt.ItemDataRole.UserRole) == path:
            return
        item = QTableWidgetItem()
        item.setData(Qt.ItemDataRole.UserRole, path)
        item.setData(Qt.ItemDataRole.AccessibleTextRole, Path(path).name)
        self.setItem(row, _IMAGE, item)
        label = self.cellWidget(row, _IMAGE)
        if not isinstance(label, ImageLabel):
            label = ImageLabel(_IMAGE_SIZE)
            self.setCellWidget(row, _IMAGE, label)
        label.show_image(Path(path))
