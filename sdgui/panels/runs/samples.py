"""Samples of a run at each validation: the images that student and teacher retrieve for held-out captions, and the
captions that they generate for held-out images.

Flow: ``Sample`` events -> ``show_samples`` -> slider over the validations -> hits or captions.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import QListWidget, QSlider, QSplitter, QStackedWidget, QWidget

from core.spec.reading import excerpt
from core.spec.run.events import Sample
from sdgui.panels.runs.logged_samples import LoggedSamples
from sdgui.panels.runs.sample_captions import NETWORKS, CaptionTable, captions_by_image, entries_of
from sdgui.shared.time_travel import nearest_step
from sdgui.widgets.formats import count
from sdgui.widgets.gallery.gallery import Gallery, GalleryItem
from sdgui.widgets.layouts.boxes import hbox, vbox
from sdgui.widgets.plain_text import PlainLabel
from sdgui.widgets.still_boxes import NoWheelComboBox
from sdgui.widgets.style.theme import SPACE

RETRIEVAL, CAPTIONS, LOGGED = "retrieval", "captions", "logged"
_KINDS = {RETRIEVAL: "Retrieved images", CAPTIONS: "Generated captions", LOGGED: "Logged samples"}
_MAX_CAPTION_LENGTH = 1000


class SamplesView(QWidget):
    """A slider over the validations, and the samples of the chosen one. ``stepped``: the user moved the slider."""

    stepped = Signal(int)  # step

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._samples: tuple[Sample, ...] = ()
        self._folder = Path()
        self.kind = NoWheelComboBox(self)
        self.kind.setAccessibleName("Kind of samples")
        for kind, title in _KINDS.items():
            self.kind.addItem(title, kind)
        self.slider = QSlider(Qt.Orientation.Horizontal, self)
        self.slider.setAccessibleName("Validation")
        self.slider.setPageStep(1)
        self._step = PlainLabel(self, role="muted")
        self._pages = QStackedWidget(self)
        self._pages.addWidget(self._make_retrieval_page())
        self.caption_table = CaptionTable(self._pages)
        self._pages.addWidget(self.caption_table)
        self.logged = LoggedSamples(self._pages)
        self._pages.addWidget(self.logged)
        row = hbox(self.kind, self._step, (self.slider, 1))
        vbox(row, (self._pages, 1), into=self, margins=(0, SPACE, 0, 0))
        self.slider.valueChanged.connect(self._on_slider_moved)
        self.kind.currentIndexChanged.connect(self._on_kind_chosen)
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

    def _on_slider_moved(self) -> None:
        self._show_sample()
        self.stepped.emit(self._shown_step)

    def go_to_step(self, step: int) -> None:
        """Show the last samples up to ``step``, without emitting ``stepped``."""
        steps = [sample.step for sample in self._samples_of_kind()]
        if steps and self._shown_step != (nearest := nearest_step(steps, step)):
            self.slider.blockSignals(True)
            self.slider.setValue(steps.index(nearest))
            self.slider.blockSignals(False)
            self._show_sample()

    # Display
    def show_samples(self, samples: Sequence[Sample], folder: Path = Path()) -> None:
        """Show the samples of the run in ``folder``: the newest, unless the user chose an older one."""
        self._folder = folder
        displayable = tuple(sample for sample in _merge_logged(samples) if sample.what in _KINDS)
        if displayable == self._samples and displayable:
            return
        at_end = self.slider.value() >= self.slider.maximum()
        self._samples = displayable
        kinds = {sample.what for sample in displayable}
        self.kind.setVisible(bool(kinds - {RETRIEVAL}))
        if kinds and self.kind.currentData() not in kinds:
            self.kind.blockSignals(True)
            self.kind.setCurrentIndex(self.kind.findData(next(kind for kind in _KINDS if kind in kinds)))
            self.kind.blockSignals(False)
        self._set_range(at_end)

    def _on_kind_chosen(self) -> None:
        """Show the last samples of the chosen kind up to the same step."""
        step = self._shown_step
        self._set_range(at_end=False)
        candidates = [number for number, sample in enumerate(self._samples_of_kind()) if sample.step <= step]
        self.slider.setValue(candidates[-1] if candidates else 0)

    _shown_step = 0

    def _set_range(self, at_end: bool) -> None:
        number = len(self._samples_of_kind())
        self.slider.blockSignals(True)
        self.slider.setRange(0, max(0, number - 1))
        self.slider.setEnabled(number > 1)
        if at_end:
            self.slider.setValue(self.slider.maximum())
        self.slider.blockSignals(False)
        self._show_sample()

    def _samples_of_kind(self) -> list[Sample]:
        return [sample for sample in self._samples if sample.what == self.kind.currentData()]

    def _content(self) -> Mapping[str, Any]:
        samples = self._samples_of_kind()
        return samples[self.slider.value()].content if samples else {}

    def _show_sample(self) -> None:
        samples, kind = self._samples_of_kind(), self.kind.currentData()
        self._shown_step = samples[self.slider.value()].step if samples else 0
        self._step.setText(f"Step {count(self._shown_step)}" if samples else "Samples are recorded at each validation")
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
