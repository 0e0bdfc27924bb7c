"""One of the two sides of Look: what student or teacher finds, with its recall and where the true picture stands."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from PySide6.QtWidgets import QLabel, QVBoxLayout, QWidget

from sdgui.widgets.elided_label import ElidedLabel
from sdgui.widgets.formats import count, value
from sdgui.widgets.gallery import Gallery, GalleryItem
from sdgui.widgets.theme import SPACE, set_role

_RECALLS = ("text_to_image_R@1", "text_to_image_R@5", "text_to_image_R@10")
_THUMBNAIL = 96  # px; two fit side by side in a small window


class NetworkSide(QWidget):
    """Title, recall, the rank of the true picture, and the gallery of hits."""

    def __init__(self, network: str, cache_dir: Path | None, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.network = network
        self.title = QLabel(network.capitalize(), self)
        set_role(self.title, "title")
        self.recall = ElidedLabel("", self)
        set_role(self.recall, "small")
        self.rank = QLabel(self)
        self.gallery = Gallery(cache_dir, "", self)
        self.gallery.set_thumbnail_size(_THUMBNAIL)
        self.gallery.setAccessibleName(f"What the {network} finds")
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(SPACE // 2)
        layout.addWidget(self.title)
        layout.addWidget(self.recall)
        layout.addWidget(self.rank)
        layout.addWidget(self.gallery, 1)

    def show_recall(self, recall: Mapping[str, float]) -> None:
        """Recall over all held-out captions."""
        parts = [f"{name.rsplit('_', 1)[-1]} {value(recall[name], '%')}" for name in _RECALLS if name in recall]
        self.recall.setText(" · ".join(parts))
        self.recall.setToolTip("How many of all captions find their own picture among the first 1, 5, 10")

    def show_hits(self, hits: Sequence[Mapping[str, Any]], true_rank: int | None, pictures: int) -> None:
        """The hits, nearest first; ``true_rank`` is None where there is no true picture (free text)."""
        self.gallery.set_items(
            [
                GalleryItem(
                    Path(str(hit["image"])),
                    str(hit.get("caption", "")),
                    float(hit["score"]),
                    int(hit["rank"]),
                    True if hit.get("true") else None,  # one is right; marking all others wrong would hide it
                )
                for hit in hits
            ]
        )
        if true_rank is None:
            self.rank.setText(f"nearest of {count(pictures)} pictures")
        elif true_rank == 1:
            self.rank.setText(f"True picture: rank 1 of {count(pictures)} ✓")
        else:
            beyond = "" if true_rank <= len(hits) else ", not among these"
            self.rank.setText(f"True picture: rank {count(true_rank)} of {count(pictures)}{beyond}")

    def clear(self) -> None:
        self.gallery.set_items([])
        self.rank.clear()
        self.recall.setText("")
