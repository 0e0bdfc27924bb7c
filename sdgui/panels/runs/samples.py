"""Samples of a run at each validation: the images that student and teacher retrieve for held-out captions, and the
captions that they generate for held-out images.

Flow: ``Sample`` events -> ``show_samples`` -> the sample at the step of the run's slider -> hits or captions.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from PySide6.QtCore import QSignalBlocker, Qt
from PySide6.QtWidgets import QListWidget, QSplitter, QStackedWidget, QWidget

from core.spec.reading import excerpt
from core.spec.run.events import Sample
from sdgui.panels.runs.logged_samples import LoggedSamples
from sdgui.panels.runs.sample_captions import NETWORKS, CaptionTable, captions_by_image, entries_of
from sdgui.shared.time_travel import last_step_up_to
from sdgui.widgets.formats import count
from sdgui.widgets.gallery.gallery import Gallery, GalleryItem
from sdgui.widgets.input_boxes import ListOnlyComboBox
from sdgui.widgets.layouts.boxes import hbox, vbox
from sdgui.widgets.plain_text import PlainLabel
from sdgui.widgets.style.theme import SPACE

RETRIEVAL, CAPTIONS, LOGGED = "retrieval", "captions", "logged"
_KINDS = {RETRIEVAL: "Retrieved images", CAPTIONS: "Generated captions", LOGGED: "Logged samples"}
_MAX_CAPTION_LENGTH = 1000


class SamplesView(QWidget):
    """The samples of one validation."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._samples: tuple[Sample, ...] = ()
        self._folder = Path()
        self.kind = ListOnlyComboBox(self)
        self.kind.setAccessibleName("Kind of samples")
        for kind, title in _KINDS.items():
            self.kind.addItem(title, kind)
        self._chosen_step: int | None = None  # None: the newest
        self._step = PlainLabel(self, role="muted")
        self._pages = QStackedWidget(self)
        self._pages.addWidget(self._make_retrieval_page())
        self.caption_table = CaptionTable(self._pages)
        self._pages.addWidget(self.caption_table)
        self.logged = LoggedSamples(self._pages)
        self._pages.addWidget(self.logged)
        row = hbox(self.kind, (self._step, 1))
        vbox(row, (self._pages, 1), into=self, margins=(0, SPACE, 0, 0))
        self.kind.currentIndexChanged.connect(self._show_sample)
        self.captions.currentRowChanged.connect(self._show_hits)
        self.show_samples(())

    def _make_retrieval_page(self) -> QWidget:
        split = QSplitter(Qt.Orientation.Horizontal, self._pages)
        self.captions = QListWidget(split)
        self.captions.setAccessibleName("Sample captions")
        self.captions.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.galleries: dict[str, Gallery] = {}
        self._sides = {network: self._make_side(network, split) for network in NETWORKS}
        split.setSizes([240, 320, 320])
        return split

    def _make_side(self, network: str, split: QSplitter) -> QWidget:
        side = QWidget(split)
        gallery = self.galleries[network] = Gallery(empty_text="", parent=side)
        gallery.set_thumbnail_size(64)
        title = PlainLabel(network.capitalize(), side, role="muted")
        vbox(title, (gallery, 1), into=side, spacing=SPACE // 2, margins=(SPACE, 0, 0, 0))
        return side

    def go_to_step(self, step: int | None) -> None:
        """Show the last samples up to ``step``, the first ones if there are none, or the newest for None."""
        self._chosen_step = step
        self._show_sample()

    # Display
    def show_samples(self, samples: Sequence[Sample], folder: Path = Path(), step: int | None = None) -> None:
        """Show the samples of the run in ``folder`` at ``step``, as `go_to_step` does."""
        displayable = tuple(sample for sample in _merge_logged(samples) if sample.what in _KINDS)
        if displayable and (displayable, folder, step) == (self._samples, self._folder, self._chosen_step):
            return
        self._samples, self._folder = displayable, folder
        kinds = {sample.what for sample in displayable}
        self.kind.setVisible(bool(kinds - {RETRIEVAL}))
        if kinds and self.kind.currentData() not in kinds:
            with QSignalBlocker(self.kind):
                self.kind.setCurrentIndex(self.kind.findData(next(kind for kind in _KINDS if kind in kinds)))
        self.go_to_step(step)

    def _samples_of_kind(self) -> list[Sample]:
        return [sample for sample in self._samples if sample.what == self.kind.currentData()]

    def _sample(self) -> Sample | None:
        samples = {sample.step: sample for sample in self._samples_of_kind()}
        if not samples:
            return None
        return samples[
            max(samples) if self._chosen_step is None else last_step_up_to(sorted(samples), self._chosen_step)
        ]

    def _content(self) -> Mapping[str, Any]:
        sample = self._sample()
        return sample.content if sample is not None else {}

    def _show_sample(self) -> None:
        sample, kind = self._sample(), self.kind.currentData()
        text = "Samples are recorded at each validation" if sample is None else f"Step {count(sample.step)}"
        self._step.setText(text)
        self._pages.setCurrentIndex(list(_KINDS).index(kind))
        if kind == LOGGED:
            self.logged.show_content(self._content(), self._folder)
        elif kind == CAPTIONS:
            self.caption_table.show_captions(captions_by_image(self._content()))
        else:
            self._show_retrieved()

    def _show_retrieved(self) -> None:
        row = max(0, self.captions.currentRow())
        captions = [
            excerpt(str(entry.get("caption", "")), _MAX_CAPTION_LENGTH)
            for entry in entries_of(self._content(), "student")
        ]
        if captions != [self.captions.item(i).text() for i in range(self.captions.count())]:
            self.captions.clear()
            self.captions.addItems(captions)
            self.captions.setCurrentRow(min(row, len(captions) - 1))
        self._show_hits()

    def _show_hits(self) -> None:
        content, row = self._content(), self.captions.currentRow()
        for network, gallery in self.galleries.items():
            entries = entries_of(content, network)
            self._sides[network].setVisible(network in content or not content)
            hits = entries_of(entries[row], "hits") if 0 <= row < len(entries) else []
            gallery.set_items([hit_item(hit, rank) for rank, hit in enumerate(hits, start=1)])


def _merge_logged(samples: Sequence[Sample]) -> list[Sample]:
    """Merge all samples that a script logged at the same step."""
    merged: list[Sample] = []
    index_of_step: dict[int, int] = {}  # step -> index of its merged sample
    for sample in samples:
        if sample.what != LOGGED or sample.step not in index_of_step:
            index_of_step |= {sample.step: len(merged)} if sample.what == LOGGED else {}
            merged.append(sample)
        else:
            previous = merged[index_of_step[sample.step]]
            merged[index_of_step[sample.step]] = replace(previous, content={**previous.content, **sample.content})
    return merged


def hit_item(hit: Mapping[str, Any], rank: int) -> GalleryItem:
    """The gallery item of a retrieved image, with score and rank."""
    score, image = hit.get("score"), hit.get("image")
    numeric_score = score if isinstance(score, float) else None
    return GalleryItem(
        Path(image if isinstance(image, str) else ""), "", numeric_score, rank, True if hit.get("true") else None
    )
