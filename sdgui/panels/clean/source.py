"""The source of a ranking: the model, the data, and the button that ranks."""

from __future__ import annotations

import json
from pathlib import Path

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import QComboBox, QPushButton, QWidget

from core.spec.config import ConfigError, read_config
from core.spec.run.folder import RunDir
from core.spec.run.model_names import run_and_checkpoint
from core.spec.shards import may_exist
from sdgui.shared.pickers.data import DataPicker
from sdgui.shared.pickers.model_chip import ModelChip, ModelChoice
from sdgui.shared.services import Services
from sdgui.shared.stored_json import parse_stored
from sdgui.store.store import Store
from sdgui.widgets.input_boxes import NoWheelComboBox
from sdgui.widgets.layouts.boxes import hbox, vbox
from sdgui.widgets.plain_text import PlainLabel
from sdgui.widgets.style.theme import set_role

_BOTH_NETWORKS = "Mean of both networks"
_SPLITS = {"train": "training", "val": "validation", "test": "test"}
_SELECTED_NETWORK = "Selected network only"


class CleanSource(QWidget):
    """The pickers and the button.

    ``rank_requested``: the button was pressed; ``changed``: another model or other data was chosen.
    """

    changed = Signal()
    rank_requested = Signal()
    refused = Signal(str)  # why a model or data cannot be used

    def __init__(self, services: Services, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.model = ModelChip(services, "search", self)
        self.data = DataPicker(services, compact=True, parent=self)
        self.networks = NoWheelComboBox(self)
        self.networks.addItem(_BOTH_NETWORKS, True)
        self.networks.addItem(_SELECTED_NETWORK, False)
        self.networks.setAccessibleName("Ranked by")
        self.rank_button = QPushButton("Rank the pairs", self)
        self.rank_button.setToolTip("Rank all pairs by match score, lowest first (Ctrl+Shift+R)")
        self.rank_button.setShortcut("Ctrl+Shift+R")
        set_role(self.rank_button, "primary")
        self.networks.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToContents)
        label = PlainLabel("Ran&ked by", self, role="muted", buddy=self.networks)
        model = hbox(self.model)
        model.setAlignment(Qt.AlignmentFlag.AlignTop)  # level with the data above an error
        vbox(hbox((model, 1), (self.data, 1)), hbox(label, self.networks, None, self.rank_button), into=self)
        self.model.changed.connect(self._on_model_changed)
        self.model.refused.connect(self.refused)
        self.data.changed.connect(lambda _source: self._on_choice_changed())
        self.data.refused.connect(self.refused)
        self.networks.activated.connect(lambda _row: self._on_choice_changed())
        self.rank_button.clicked.connect(self.rank_requested)
        self._run_data = ""  # training data of the chosen run
        self._on_choice_changed()

    def _on_model_changed(self, _choice: ModelChoice) -> None:
        previous, sources = self._run_data, run_data(self.run())
        self._run_data = sources.get("train", "")
        self.data.offer(
            [(f"{Path(source).name} · {_SPLITS[split]} data of this run", source) for split, source in sources.items()]
        )
        if self._run_data and self.data.source() in ("", previous):  # data chosen by the user is kept
            self.data.set_source(self._run_data)
        self._on_choice_changed()

    def _on_choice_changed(self) -> None:
        self.networks.setEnabled(self.run() is not None)  # other models have one network
        self.rank_button.setEnabled(self.request() is not None)
        self.changed.emit()

    def run(self) -> Path | None:
        """The folder of the chosen run; None if another model is chosen, or none."""
        choice = self.model.choice()
        return None if choice is None else run_folder(choice.model)

    def request(self) -> dict[str, str] | None:
        """The arguments of ``noise_open``; None if model or data is not chosen yet."""
        choice, data = self.model.choice(), self.data.source()
        if choice is None or not data:
            return None
        weights = "" if self.networks.currentData() else choice.network
        return {"model": choice.model, "data": data, "weights": weights}

    def show_run(self, run_id: int, folder: Path) -> None:
        """Choose a run and its training data; changes nothing if the run cannot be used."""
        if self.model.choose_run(run_id) and (data := run_data(folder).get("train")):
            self.data.set_source(data)

    def suggest_data(self, source: str) -> None:
        """Choose ``source`` if no data is chosen."""
        if source and not self.data.source():
            self.data.set_source(source)

    # Saved choices
    def state(self) -> str:
        return json.dumps(
            {"model": self.model.state(), "data": self.data.source(), "both": bool(self.networks.currentData())}
        )

    def restore(self, text: str) -> None:
        """Restore the choices from the text of ``state``; sources that no longer exist are ignored."""
        raw = parse_stored(text, dict)
        self.networks.setCurrentIndex(0 if raw.get("both", True) else 1)
        data = str(raw.get("data") or "")
        if may_exist(data):
            self.data.set_source(data)
        self.model.restore_state(raw.get("model"))


def run_folder(model: str) -> Path | None:
    """The folder of the run that ``model`` names; None for another model."""
    folder, _ = run_and_checkpoint(model)
    return Path(folder) if folder and RunDir(Path(folder)).config.is_file() else None


def newest_training_data(store: Store) -> str:
    """The training data of the newest experiment whose data exist; "" if there is none. Raises StoreError."""
    configs = [experiment.config for experiment in store.experiments()]
    sources = [config.data.train for config in configs if config is not None and config.data.train]
    return next((source for source in reversed(sources) if may_exist(source)), "")


def run_data(run: Path | None) -> dict[str, str]:
    """Split -> data of a run, training data first; {} if the run's config cannot be read."""
    try:
        data = read_config(RunDir(run).config).data if run is not None else None
    except ConfigError:
        return {}
    sources = {split: str(getattr(data, split, "")) for split in _SPLITS}
    return {split: source for split, source in sources.items() if source}
