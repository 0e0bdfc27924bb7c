"""The tab Side by side: retrieval results of several runs for the same captions, with one slider for all.

Flow: histories of the overlaid runs -> samples of the last validation up to the chosen step -> a column per run.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass

from PySide6.QtCore import QSignalBlocker, Qt
from PySide6.QtGui import QShowEvent
from PySide6.QtWidgets import QListWidget, QScrollArea, QSlider, QSplitter, QWidget

from core.spec.reading import excerpt
from core.spec.run.events import Sample
from sdgui.panels.runs.sample_captions import NETWORKS, entries_of
from sdgui.panels.runs.samples import RETRIEVAL, hit_item
from sdgui.runs.machines.colleagues import local_dir
from sdgui.runs.machines.remote_access import shown_samples
from sdgui.shared.services import Services
from sdgui.shared.time_travel import last_step_up_to
from sdgui.store.records import RunLabel, StoreError
from sdgui.widgets.elided_label import ElidedLabel
from sdgui.widgets.formats import count
from sdgui.widgets.gallery.gallery import Gallery
from sdgui.widgets.input_boxes import ListOnlyComboBox
from sdgui.widgets.layouts.boxes import hbox, vbox
from sdgui.widgets.plain_text import PlainLabel, plain_tip
from sdgui.widgets.style.theme import SPACE, theme

MAX_RUNS = 8
_MAX_CAPTION_LENGTH = 400


@dataclass(frozen=True)
class RunSamples:
    """A run's retrieval samples in step order."""

    run_id: int
    label: RunLabel
    samples: tuple[Sample, ...]

    def at(self, step: int) -> Sample | None:
        """The last sample up to ``step``; None if there is none."""
        number = bisect_right([sample.step for sample in self.samples], step)
        return self.samples[number - 1] if number else None


class _Column(QWidget):
    """A run's name, the step and the retrieved images."""

    def __init__(self, parent: QWidget) -> None:
        super().__init__(parent)
        self.name = ElidedLabel("", self)
        self.step = PlainLabel("", self, role="small")
        self.gallery = Gallery(empty_text="", parent=self)
        self.gallery.set_thumbnail_size(72)
        vbox(self.name, self.step, (self.gallery, 1), into=self, spacing=SPACE // 2)
        self.setMinimumWidth(24 * SPACE)

    def show_run(self, run: RunSamples, step: int, caption: str, network: str) -> None:
        """Show what ``network`` of the run retrieved for ``caption`` at the last validation up to ``step``."""
        sample = run.at(step)
        self.name.setText(run.label.name)
        self.name.setToolTip(plain_tip(run.label.name))
        self.name.setStyleSheet(
            f"border: none; border-left: 4px solid {theme().run_color(run.label.color).name()}; padding-left: 6px;"
        )
        self.step.setText("No samples up to this step" if sample is None else f"Step {count(sample.step)}")
        entries = entries_of(sample.content, network) if sample is not None else []
        match = next((entry for entry in entries if str(entry.get("caption", "")) == caption), None)
        hits = entries_of(match, "hits") if match is not None else []
        self.gallery.set_empty_text("No samples of this caption")
        self.gallery.set_items([hit_item(hit, rank) for rank, hit in enumerate(hits, start=1)])
        self.gallery.setAccessibleName(f"Images retrieved by {run.label.name}")


class SamplesBoard(QWidget):
    """Compares the overlaid runs; the follower provides their histories."""

    def __init__(self, services: Services, parent: QWidget) -> None:
        super().__init__(parent)
        self._services = services
        self._ids: tuple[int, ...] = ()  # compared runs
        self._runs: list[RunSamples] = []
        self._steps: list[int] = []  # steps of the slider
        self._columns: list[_Column] = []
        self.network = ListOnlyComboBox(self)
        self.network.setAccessibleName("Network")
        self.network.setToolTip("Show the images retrieved by the student or by the teacher")
        for network in NETWORKS:
            self.network.addItem(network.capitalize(), network)
        self.slider = QSlider(Qt.Orientation.Horizontal, self)
        self.slider.setAccessibleName("Step")
        self.slider.setToolTip("Shows each run's last validation up to this step")
        self.slider.setPageStep(1)
        self.slider.setRange(0, 0)  # the slider starts at its end, the newest step
        self.step = PlainLabel("", self, role="muted")
        self.captions = QListWidget()
        self.captions.setAccessibleName("Captions used as queries")
        self.captions.setWordWrap(True)
        self.captions.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self._arrange()
        self.network.currentIndexChanged.connect(lambda _index: self._show_step())
        self.slider.valueChanged.connect(lambda _index: self._show_step())
        self.captions.currentRowChanged.connect(lambda _row: self._show_step())
        services.follower.curves_loaded.connect(self._reload_if_shown)
        services.follower.curves_changed.connect(
            lambda run_id, changed: self._reload_if_shown(run_id) if "samples" in changed else None
        )

    def _arrange(self) -> None:
        self._inner = QWidget()
        self._inner.setProperty("role", "page")
        self._row = hbox(into=self._inner)
        area = QScrollArea()
        area.setWidgetResizable(True)
        area.setWidget(self._inner)
        self._split = QSplitter(Qt.Orientation.Horizontal, self)
        self._split.addWidget(self.captions)
        self._split.addWidget(area)
        self._split.setSizes([200, 800])
        row = hbox(self.network, self.step, (self.slider, 1))
        column = vbox(row, (self._split, 1), into=self, margins=(0, SPACE, 0, 0))
        column.addStretch()  # below the hint, while there is no run

    def show_runs(self, run_ids: Sequence[int]) -> None:
        """Compare the first ``MAX_RUNS`` of these runs."""
        self._ids = tuple(run_ids[:MAX_RUNS])
        if self.isVisible():
            self._read_samples()

    def showEvent(self, event: QShowEvent) -> None:
        super().showEvent(event)
        self._read_samples()

    def _reload_if_shown(self, run_id: int) -> None:
        if run_id in self._ids and self.isVisible():
            self._read_samples()

    def _read_samples(self) -> None:
        store, follower = self._services.store, self._services.follower
        try:
            labels, runs = store.run_labels(self._ids), store.runs_by_id(self._ids)
        except StoreError:
            return  # the table reports the error in the message bar
        self._runs = []
        for run_id in self._ids:
            history = follower.history(run_id)
            if history is None or run_id not in runs or run_id not in labels:
                continue
            samples = tuple(sample for sample in history.samples if sample.what == RETRIEVAL)
            folder = local_dir(store.home, runs[run_id])
            local_samples = shown_samples(store.home, folder, samples) if samples else ()
            self._runs.append(RunSamples(run_id, labels[run_id], local_samples))
        self._set_steps(sorted({sample.step for run in self._runs for sample in run.samples}))
        self._set_captions()
        self._show_step()

    def _set_steps(self, steps: list[int]) -> None:
        at_end = self.slider.value() >= self.slider.maximum()
        step = self._steps[self.slider.value()] if self._steps else 0
        self._steps = steps
        with QSignalBlocker(self.slider):
            self.slider.setRange(0, max(0, len(steps) - 1))
            self.slider.setEnabled(len(steps) > 1)
            if steps:
                self.slider.setValue(len(steps) - 1 if at_end else steps.index(last_step_up_to(steps, step)))

    def _set_captions(self) -> None:
        captions: dict[str, None] = {}
        for run in self._runs:
            for sample in run.samples[-1:]:
                captions |= {str(entry.get("caption", "")): None for entry in entries_of(sample.content, "student")}
        texts = list(captions)
        if texts != [self.captions.item(row).data(Qt.ItemDataRole.UserRole) for row in range(self.captions.count())]:
            with QSignalBlocker(self.captions):
                self.captions.clear()
                for text in texts:
                    self.captions.addItem(excerpt(text, _MAX_CAPTION_LENGTH))
                    self.captions.item(self.captions.count() - 1).setData(Qt.ItemDataRole.UserRole, text)
                self.captions.setCurrentRow(0)

    def _show_step(self) -> None:
        step = self._steps[self.slider.value()] if self._steps else 0
        hint = "Samples are recorded at each validation. Tick runs to compare their results."
        self.step.setText(f"Step {count(step)}" if self._steps else hint)
        self._split.setVisible(bool(self._runs))
        item = self.captions.currentItem()
        caption = str(item.data(Qt.ItemDataRole.UserRole)) if item is not None else ""
        while len(self._columns) < len(self._runs):
            self._columns.append(_Column(self._inner))
            self._row.addWidget(self._columns[-1], 1)
        for number, column in enumerate(self._columns):
            column.setVisible(number < len(self._runs))
            if number < len(self._runs):
                column.show_run(self._runs[number], step, caption, str(self.network.currentData()))
