"""The tab Side by side: what several runs find for the same captions at one step; one slider moves all of them.

Flow: the histories of the overlaid runs -> samples at the last validation up to the chosen step -> a column a run.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass

from PySide6.QtCore import Qt
from PySide6.QtGui import QShowEvent
from PySide6.QtWidgets import QHBoxLayout, QListWidget, QScrollArea, QSlider, QSplitter, QVBoxLayout, QWidget

from core.spec.reading import excerpt
from core.spec.run.events import Sample
from sdgui.panels.runs.sample_captions import NETWORKS
from sdgui.panels.runs.samples import RETRIEVAL, entries_of, hit_item
from sdgui.runs.machines.elsewhere import shown_samples
from sdgui.shared.services import Services
from sdgui.shared.time_travel import nearest_step
from sdgui.store.records import RunLabel, StoreError
from sdgui.widgets.elided_label import ElidedLabel
from sdgui.widgets.formats import count
from sdgui.widgets.gallery.gallery import Gallery
from sdgui.widgets.no_wheel_combo_box import NoWheelComboBox
from sdgui.widgets.plain_text import PlainLabel, plain_tip
from sdgui.widgets.style.theme import SPACE, set_role, theme

MOST = 8  # runs side by side
_LONGEST = 400  # characters of a caption


@dataclass(frozen=True)
class RunSamples:
    """A run's samples of retrieval, by step."""

    run_id: int
    label: RunLabel
    samples: tuple[Sample, ...]

    def at(self, step: int) -> Sample | None:
        """The last sample up to ``step``."""
        number = bisect_right([one.step for one in self.samples], step)
        return self.samples[number - 1] if number else None


class _Column(QWidget):
    """A run's name and step, and what it found."""

    def __init__(self, parent: QWidget) -> None:
        super().__init__(parent)
        self.name = ElidedLabel("", self)
        self.step = PlainLabel("", self)
        set_role(self.step, "small")
        self.gallery = Gallery(empty_text="", parent=self)
        self.gallery.set_thumbnail_size(72)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(SPACE // 2)
        layout.addWidget(self.name)
        layout.addWidget(self.step)
        layout.addWidget(self.gallery, 1)
        self.setMinimumWidth(24 * SPACE)

    def show_run(self, run: RunSamples, step: int, caption: str, network: str) -> None:
        """What ``network`` of the run found for ``caption`` by then."""
        sample = run.at(step)
        self.name.setText(run.label.name)
        self.name.setToolTip(plain_tip(run.label.name))
        self.name.setStyleSheet(
            f"border-left: 4px solid {theme().run_color(run.label.color).name()}; padding-left: 6px;"
        )
        self.step.setText("No samples by then" if sample is None else f"Step {count(sample.step)}")
        entries = entries_of(sample.content, network) if sample is not None else []
        found = next((one for one in entries if str(one.get("caption", "")) == caption), None)
        hits = entries_of(found, "hits") if found is not None else []
        self.gallery.set_items([hit_item(hit, rank) for rank, hit in enumerate(hits, start=1)])
        self.gallery.setAccessibleName(f"Pictures found by {run.label.name}")


class SamplesBoard(QWidget):
    """``show_runs``: the overlaid ones; their histories are held by the tailer."""

    def __init__(self, services: Services, parent: QWidget) -> None:
        super().__init__(parent)
        self._services = services
        self._ids: tuple[int, ...] = ()
        self._runs: list[RunSamples] = []
        self._steps: list[int] = []
        self._columns: list[_Column] = []
        self.network = NoWheelComboBox(self)
        self.network.setAccessibleName("Network")
        self.network.setToolTip("Whose pictures are shown")
        for network in NETWORKS:
            self.network.addItem(network.capitalize(), network)
        self.slider = QSlider(Qt.Orientation.Horizontal, self)
        self.slider.setAccessibleName("Step")
        self.slider.setToolTip("The step that every run is shown at; its last validation by then")
        self.slider.setPageStep(1)
        self.slider.setRange(0, 0)  # at its end, so that the newest step is shown first
        self.step = PlainLabel("", self)
        set_role(self.step, "muted")
        self.captions = QListWidget()
        self.captions.setAccessibleName("Captions that pictures are sought for")
        self.captions.setWordWrap(True)
        self.captions.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self._arrange()
        self.network.currentIndexChanged.connect(lambda _at: self._show())
        self.slider.valueChanged.connect(lambda _at: self._show())
        self.captions.currentRowChanged.connect(lambda _row: self._show())
        services.tailer.curves_loaded.connect(self._loaded)
        services.tailer.curves_changed.connect(
            lambda run_id, changed: self._loaded(run_id) if "samples" in changed else None
        )

    def _arrange(self) -> None:
        row = QHBoxLayout()
        row.addWidget(self.network)
        row.addWidget(self.step)
        row.addWidget(self.slider, 1)
        self._inner = QWidget()
        self._inner.setProperty("role", "page")
        self._row = QHBoxLayout(self._inner)
        self._row.setContentsMargins(0, 0, 0, 0)
        area = QScrollArea()
        area.setWidgetResizable(True)
        area.setWidget(self._inner)
        split = QSplitter(Qt.Orientation.Horizontal, self)
        split.addWidget(self.captions)
        split.addWidget(area)
        split.setSizes([200, 800])
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, SPACE, 0, 0)
        layout.addLayout(row)
        layout.addWidget(split, 1)

    def show_runs(self, run_ids: Sequence[int]) -> None:
        """Compare these, the first few."""
        self._ids = tuple(run_ids[:MOST])
        if self.isVisible():
            self._read()

    def showEvent(self, event: QShowEvent) -> None:
        super().showEvent(event)
        self._read()

    def _loaded(self, run_id: int) -> None:
        if run_id in self._ids and self.isVisible():
            self._read()

    def _read(self) -> None:
        store, tailer = self._services.store, self._services.tailer
        try:
            labels, runs = store.run_labels(self._ids), store.some_runs(self._ids)
        except StoreError:
            return  # the message bar tells it where the table asks
        self._runs = []
        for run_id in self._ids:
            history = tailer.history(run_id)
            if history is None or run_id not in runs or run_id not in labels:
                continue
            samples = tuple(one for one in history.samples if one.what == RETRIEVAL)
            shown = tuple(shown_samples(store.home, runs[run_id].dir, samples)) if samples else ()
            self._runs.append(RunSamples(run_id, labels[run_id], shown))
        self._set_steps(sorted({one.step for run in self._runs for one in run.samples}))
        self._set_captions()
        self._show()

    def _set_steps(self, steps: list[int]) -> None:
        at_end = self.slider.value() >= self.slider.maximum()
        step = self._steps[self.slider.value()] if self._steps else 0
        self._steps = steps
        self.slider.blockSignals(True)
        self.slider.setRange(0, max(0, len(steps) - 1))
        self.slider.setEnabled(len(steps) > 1)
        if steps:
            self.slider.setValue(len(steps) - 1 if at_end else steps.index(nearest_step(steps, step)))
        self.slider.blockSignals(False)

    def _set_captions(self) -> None:
        found: dict[str, None] = {}
        for run in self._runs:
            for sample in run.samples[-1:]:
                found |= {str(one.get("caption", "")): None for one in entries_of(sample.content, "student")}
        texts = list(found)
        if texts != [self.captions.item(row).data(Qt.ItemDataRole.UserRole) for row in range(self.captions.count())]:
            self.captions.blockSignals(True)
            self.captions.clear()
            for text in texts:
                self.captions.addItem(excerpt(text, _LONGEST))
                self.captions.item(self.captions.count() - 1).setData(Qt.ItemDataRole.UserRole, text)
            self.captions.setCurrentRow(0)
            self.captions.blockSignals(False)

    def _show(self) -> None:
        step = self._steps[self.slider.value()] if self._steps else 0
        texts = "Samples are recorded at validation; tick runs to compare what they find"
        self.step.setText(f"Step {count(step)}" if self._steps else texts)
        item = self.captions.currentItem()
        caption = str(item.data(Qt.ItemDataRole.UserRole)) if item is not None else ""
        while len(self._columns) < len(self._runs):
            self._columns.append(_Column(self._inner))
            self._row.addWidget(self._columns[-1], 1)
        for number, column in enumerate(self._columns):
            column.setVisible(number < len(self._runs))
            if number < len(self._runs):
                column.show_run(self._runs[number], step, caption, str(self.network.currentData()))
