"""Samples of a run as they come: a few held-out captions with the pictures each network finds first, step by step."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QHBoxLayout, QListWidget, QSlider, QSplitter, QVBoxLayout, QWidget

from core.events import Sample
from sdgui.widgets.formats import count
from sdgui.widgets.gallery import Gallery, GalleryItem
from sdgui.widgets.plain_text import PlainLabel
from sdgui.widgets.theme import SPACE, set_role

NETWORKS = ("student", "teacher")


class SamplesView(QWidget):
    """A slider over the validations, the captions, and what student and teacher find for the chosen one."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._samples: tuple[Sample, ...] = ()
        self.slider = QSlider(Qt.Orientation.Horizontal, self)
        self.slider.setAccessibleName("Validation")
        self.slider.setPageStep(1)
        self._step = PlainLabel(self)
        set_role(self._step, "muted")
        split = QSplitter(Qt.Orientation.Horizontal, self)
        self.captions = QListWidget(split)
        self.captions.setAccessibleName("Captions of the sample")
        self.captions.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.galleries: dict[str, Gallery] = {}
        self._sides = {who: self._side(who, split) for who in NETWORKS}
        split.setSizes([240, 320, 320])
        row = QHBoxLayout()
        row.addWidget(self._step)
        row.addWidget(self.slider, 1)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, SPACE, 0, 0)
        layout.addLayout(row)
        layout.addWidget(split, 1)
        self.slider.valueChanged.connect(self._show_sample)
        self.captions.currentRowChanged.connect(self._show_hits)
        self.show_samples(())

    def _side(self, who: str, split: QSplitter) -> QWidget:
        side = QWidget(split)
        gallery = self.galleries[who] = Gallery(empty_text="", parent=side)
        gallery.set_thumbnail_size(64)
        layout = QVBoxLayout(side)
        layout.setContentsMargins(SPACE, 0, 0, 0)
        layout.setSpacing(SPACE // 2)
        title = PlainLabel(who.capitalize(), side)
        set_role(title, "muted")
        layout.addWidget(title)
        layout.addWidget(gallery, 1)
        return side

    def show_samples(self, samples: Sequence[Sample]) -> None:
        """Show the run's samples; the newest one, unless an older is being looked at."""
        wanted = tuple(sample for sample in samples if sample.what == "retrieval")
        if wanted == self._samples and wanted:
            return
        at_end = self.slider.value() >= self.slider.maximum()
        self._samples = wanted
        self.slider.setRange(0, max(0, len(wanted) - 1))
        self.slider.setEnabled(len(wanted) > 1)
        if at_end:
            self.slider.setValue(self.slider.maximum())
        self._show_sample()

    def _content(self) -> Mapping[str, Any]:
        return self._samples[self.slider.value()].content if self._samples else {}

    def _show_sample(self) -> None:
        content = self._content()
        self._step.setText(
            f"Step {count(self._samples[self.slider.value()].step)}"
            if self._samples
            else "Samples come with validation"
        )
        row = max(0, self.captions.currentRow())
        captions = [str(entry.get("caption", "")) for entry in content.get("student", [])]
        if captions != [self.captions.item(i).text() for i in range(self.captions.count())]:
            self.captions.clear()
            self.captions.addItems(captions)
            self.captions.setCurrentRow(min(row, len(captions) - 1))
        self._show_hits()

    def _show_hits(self) -> None:
        content, row = self._content(), self.captions.currentRow()
        for who, gallery in self.galleries.items():
            entries = content.get(who, [])
            self._sides[who].setVisible(who in content or not content)
            hits = entries[row].get("hits", []) if 0 <= row < len(entries) else []
            gallery.set_items(
                [
                    GalleryItem(Path(hit["image"]), "", hit.get("score"), rank, True if hit.get("true") else None)
                    for rank, hit in enumerate(hits, start=1)
                ]
            )
