"""Previews the views that student and teacher get of the selected images; updated when a setting changes.

Flow: a config (an experiment's, a run's, or a preset's) -> the views part of the form -> ``ViewsPreview``.
"""

from __future__ import annotations

from collections.abc import Sequence

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import QPushButton, QSplitter, QWidget

from core.spec.config import RunConfig
from core.spec.presets import PRESETS, preset_config
from sdgui.shared.form.form import ConfigForm
from sdgui.shared.services import Services
from sdgui.shared.views.preview import ViewsPreview
from sdgui.widgets.input_boxes import ListOnlyComboBox
from sdgui.widgets.layouts.boxes import hbox, vbox
from sdgui.widgets.style.theme import SPACE

_DEFAULT_PRESET = "sd-clip"
_MAX_EXPERIMENTS = 50  # that are listed


class ViewsPage(QWidget):
    """The page *Views*: a list of configs, the settings of their views, and the preview."""

    new_experiment_requested = Signal(object)  # RunConfig: create an experiment from it

    def __init__(self, services: Services, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._source = ""
        self._rows: list[int] = []  # rows of the source that the preview shows
        self._listed: list[RunConfig | str] = []  # for each row of ``configs``: its config, or the name of a preset
        self.configs = ListOnlyComboBox(self)
        self.configs.setAccessibleName("Config")
        self.configs.setToolTip("Config whose views are shown: an experiment, a run or a preset")
        self.form = ConfigForm(self, sections=("views",))
        self.use = QPushButton("&Use in a new experiment", self)
        self.use.setToolTip("Create an experiment with these views on this data")
        self.preview = ViewsPreview(services.pool, self)
        settings = QWidget(self)
        row = hbox((self.configs, 1), self.use)
        vbox(row, (self.form, 1), into=settings, margins=(0, 0, SPACE, 0))
        self.split = QSplitter(Qt.Orientation.Horizontal, self, childrenCollapsible=False)
        self.split.addWidget(settings)
        self.split.addWidget(self.preview)
        if (layout := self.preview.layout()) is not None:
            layout.setContentsMargins(SPACE, 0, 0, 0)  # away from the handle
        settings.setMinimumWidth(60 * SPACE)  # wide enough for the labels next to the fields
        self.split.setSizes([60 * SPACE, 90 * SPACE])
        vbox(self.split, into=self, margins=(0, SPACE, 0, 0))
        self.set_experiments([])
        self.configs.setCurrentIndex(self._listed.index(_DEFAULT_PRESET))
        self.configs.activated.connect(lambda _row: self._load())
        self.form.changed.connect(self._on_changed)
        self.use.clicked.connect(self._use)
        self._load()

    def set_experiments(self, experiments: Sequence[tuple[str, RunConfig]]) -> None:
        """List ``experiments`` (given newest first), then the presets. The form is not reloaded."""
        title, row = self.configs.currentText(), self.configs.currentIndex()
        listed: list[tuple[str, RunConfig | str]] = [*experiments[:_MAX_EXPERIMENTS]]
        listed += [(preset.title, name) for name, preset in PRESETS.items()]
        if row >= 0 and title not in (name for name, _ in listed):  # keep the config in the form, such as that of a run
            listed.insert(0, (title, self._listed[row]))
        self._listed = [config for _, config in listed]
        self.configs.clear()
        self.configs.addItems([name for name, _ in listed])
        self.configs.setCurrentIndex(self.configs.findText(title))

    def choose_for(self, source: str) -> None:
        """Select the newest listed config that trains on ``source``, if any."""
        for row, config in enumerate(self._listed):
            if isinstance(config, RunConfig) and config.data.train == source:
                self.configs.setCurrentIndex(row)
                self._load()
                return

    def add_config(self, name: str, config: RunConfig) -> None:
        """List ``config`` as ``name``, and show its views."""
        self._listed.insert(0, config)
        self.configs.insertItem(0, name)
        self.configs.setCurrentIndex(0)
        self._load()

    def show_source(self, source: str, rows: Sequence[int] = ()) -> None:
        """Show views of these images of ``source``; without ``rows``, of the first batch."""
        self._source, self._rows = source, list(rows)
        self._on_changed()

    def run_config(self, source: str) -> RunConfig | None:
        """The config with the form's views, trained on ``source``; None if the form has errors."""
        config = self.form.config()
        if config is None or config.data.train == source:
            return config
        splits = {"train": source, "val": "", "test": ""}  # without the splits of the config's own data
        return config.model_copy(update={"data": config.data.model_copy(update=splits)})

    def _load(self) -> None:
        config = self._listed[self.configs.currentIndex()]
        self.form.set_config(preset_config(config, "base") if isinstance(config, str) else config)
        self._on_changed()

    def _on_changed(self) -> None:
        self.use.setEnabled(self.form.config() is not None and bool(self._source))
        if self.isVisible():
            self.preview.show_config(self.run_config(self._source) if self._source else None, self._rows)

    def _use(self) -> None:
        config = self.run_config(self._source)
        if config is not None:
            seed = self.preview.seed.value()
            self.new_experiment_requested.emit(config.model_copy(update={"seed": seed}))
