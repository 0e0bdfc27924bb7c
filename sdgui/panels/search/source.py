"""The models and pictures to search: one or two models; held-out data, any data source, or an index.

Flow: pickers -> ``changed`` -> ``target(side)`` for each session; a new checkpoint of a live run -> ``renewed(side)``.
"""

from __future__ import annotations

import json
from pathlib import Path

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QComboBox, QFileDialog, QGridLayout, QHBoxLayout, QSizePolicy, QWidget

from core.spec.run.folder import RunDir
from core.spec.shards import may_be_there
from sdgui.panels.search.work import Target
from sdgui.runs.models import run_facts
from sdgui.shared.pickers.data import DataPicker
from sdgui.shared.pickers.model_chip import ModelChip, ModelChoice
from sdgui.shared.services import Services
from sdgui.widgets.icon_button import IconButton
from sdgui.widgets.no_wheel_combo_box import NoWheelComboBox
from sdgui.widgets.plain_text import PlainLabel
from sdgui.widgets.style.theme import SPACE, set_role

HELD_OUT, DATA, INDEX = "held-out", "data", "index"
_INDEXES = "search/indexes"
_REMEMBERED = 8


class SourceBar(QWidget):
    """Two rows. Side 0 is the first model, side 1 the second one."""

    changed = Signal(int)  # this side is to be opened; -1 both
    renewed = Signal(int)  # this side's run has a newer checkpoint
    compared = Signal(bool)  # whether there is a second side
    refused = Signal(str)
    sheet_asked = Signal(bool)  # show what makes and mends indexes, or not

    def __init__(self, services: Services, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._services = services
        self._quiet = False
        self.pickers = (ModelChip(services, "search", self), ModelChip(services, "search", self))
        self.compare = IconButton("ph.columns", "Compare with a second model", "Ctrl+B", "", True, self)
        self.where = NoWheelComboBox(self)
        self.data = DataPicker(services, pictures_only=True, parent=self)
        self.indexes = (self._index_box("Index"), self._index_box("Index of the second model"))
        self.browse = IconButton("ph.folder-open", "Choose an index on disk", parent=self)
        self.sheet = IconButton("ph.database", "Build, refresh or relocate an index", "", "Index …", True, self)
        self._build()
        self._connect()
        self._show()

    def _index_box(self, name: str) -> NoWheelComboBox:
        box = NoWheelComboBox(self)
        box.setAccessibleName(name)
        box.setPlaceholderText("Choose an index")
        box.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        box.setMinimumContentsLength(12)
        box.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        for folder in self._recent():
            box.addItem(_short(folder), folder)
        box.setCurrentIndex(-1)
        return box

    def _build(self) -> None:
        self.pickers[1].setAccessibleName("Second model")
        self.where.addItem("Held-out data of the run", HELD_OUT)
        self.where.addItem("Other data", DATA)
        self.where.addItem("An index on disk", INDEX)
        self.where.setAccessibleName("Where to search")
        self.where.setToolTip("Where to search: a run's validation data, any table or folder, or an index on disk")
        models = QHBoxLayout()
        models.setSpacing(SPACE)
        models.addWidget(self.pickers[0], 1)
        models.addWidget(self.compare)
        models.addWidget(self.pickers[1], 1)
        places = QHBoxLayout()
        places.setSpacing(SPACE)
        places.addWidget(self.where)
        places.addWidget(self.data, 1)
        for box in self.indexes:
            places.addWidget(box, 1)
        places.addWidget(self.browse)
        self.facts = PlainLabel(self)
        set_role(self.facts, "muted")
        places.addWidget(self.facts, 1)
        places.addWidget(self.sheet)
        grid = QGridLayout(self)
        grid.setContentsMargins(0, 0, 0, 0)
        grid.setSpacing(SPACE)
        grid.addLayout(models, 0, 0)
        grid.addLayout(places, 1, 0)

    def _connect(self) -> None:
        for side, picker in enumerate(self.pickers):
            picker.changed.connect(lambda _choice, side=side: self._picked(side))
            picker.renewed.connect(lambda _choice, side=side: self.renewed.emit(side))
            picker.refused.connect(self.refused)
        self.compare.toggled.connect(self._compare_toggled)
        self.where.activated.connect(lambda _row: self._moved())
        self.data.changed.connect(lambda _source: self._moved())
        for side, box in enumerate(self.indexes):
            box.activated.connect(lambda _row, side=side: self._moved(side))
        self.browse.clicked.connect(self._ask_index)
        self.sheet.toggled.connect(self.sheet_asked)

    # What is chosen
    @property
    def kind(self) -> str:
        """HELD_OUT, DATA or INDEX."""
        return str(self.where.currentData())

    @property
    def comparing(self) -> bool:
        return self.compare.isChecked()

    def target(self, side: int) -> Target | None:
        """The model and pictures of this side; None while one of them is not chosen."""
        choice = self.pickers[side].choice()
        if side == 1 and not self.comparing:
            return None
        if self.kind == INDEX:
            index = str(self.indexes[side].currentData() or "")
            own = choice if choice is not None and index and self._picked_for == (side, index) else None
            if not index:
                return None
            if own is None:
                return Target("", "", _short(index), index=index)
            return Target(own.model, own.weights, own.title, index=index)
        if choice is None:
            return None
        data = self.data.source() if self.kind == DATA else ""
        if self.kind == DATA and not data:
            return None
        return Target(choice.model, choice.weights, choice.title, data=data)

    def name(self, side: int) -> str:
        """The title of this side where both are shown: what distinguishes the two."""
        choices = [picker.choice() for picker in self.pickers]
        mine, other = choices[side], choices[1 - side]
        if mine is None:
            return f"model {side + 1}"
        if self.comparing and other is not None:
            if mine.model == other.model and mine.weights != other.weights:
                return mine.weights.capitalize() or mine.title
            if mine.model.rpartition("@")[0] == other.model.rpartition("@")[0] and "@" in mine.model:
                return mine.title.partition(" · ")[2].rpartition(" · ")[0] or mine.title
        return mine.title

    def show_run(self, run_id: int, folder: Path, title: str, alive: bool) -> bool:
        """Choose a run: its best checkpoint, or its newest while it trains; both networks if it has two."""
        facts = run_facts(RunDir(folder))
        if not facts.steps:
            return False
        which = "last" if alive else "best"
        networks = sorted(facts.networks)  # student before teacher
        self._quiet = True
        first = networks[0] if networks else ""
        taken = self.pickers[0].set_choice(ModelChoice(f"{folder}@{which}", first, title, run_id))
        if taken and len(networks) > 1:
            self.pickers[1].set_choice(ModelChoice(f"{folder}@{which}", networks[1], title, run_id))
        self.compare.setChecked(len(networks) > 1)
        if self.kind == INDEX:
            self.where.setCurrentIndex(self.where.findData(HELD_OUT))
        self._quiet = False
        self._show()
        return taken

    def show_index(self, side: int, folder: str) -> None:
        """Choose an index; it is listed among the recent ones."""
        others = [one for one in self._recent() if one != folder]
        self._services.settings.setValue(_INDEXES, json.dumps([folder, *others][:_REMEMBERED]))
        for box in self.indexes:
            if box.findData(folder) < 0:
                box.insertItem(0, _short(folder), folder)
        self.indexes[side].setCurrentIndex(self.indexes[side].findData(folder))
        self.where.setCurrentIndex(self.where.findData(INDEX))
        self._picked_for = (-1, "")
        self._show()
        self.changed.emit(side)

    def follow_model(self, side: int, model: str, weights: str) -> None:
        """An index was opened by the model that made it: the picker names it."""
        folder, at, which = model.rpartition("@")
        if at and which.startswith("step-"):
            model = f"{folder}@{int(which.removeprefix('step-'))}"
        choice = self.pickers[side].choice()
        if choice is not None and (choice.model, choice.weights) == (model, weights):
            return
        self._quiet = True
        self.pickers[side].set_choice(ModelChoice(model, weights, Path(model).name))
        self._quiet = False

    # Remembering
    def state(self) -> dict[str, object]:
        """The choices to restore at the next start."""
        choices = [picker.choice() for picker in self.pickers]
        return {
            "models": [[c.model, c.weights, c.title, c.run_id] if c is not None else None for c in choices],
            "compare": self.comparing,
            "where": self.kind,
            "data": self.data.source(),
            "indexes": [str(box.currentData() or "") for box in self.indexes],
        }

    def restore(self, state: dict[str, object]) -> None:
        """Restore what ``state`` returned; sources that no longer exist are ignored."""
        self._quiet = True
        models = state.get("models")
        for picker, raw in zip(self.pickers, models if isinstance(models, list) else [], strict=False):
            if isinstance(raw, list) and len(raw) == 4:
                picker.set_choice(ModelChoice(str(raw[0]), str(raw[1]), str(raw[2]), raw[3]))
        self.compare.setChecked(bool(state.get("compare")))
        data = str(state.get("data") or "")
        if may_be_there(data):
            self.data.set_source(data)
        indexes = state.get("indexes")
        for box, folder in zip(self.indexes, indexes if isinstance(indexes, list) else [], strict=False):
            box.setCurrentIndex(box.findData(str(folder)) if folder else -1)
        self.where.setCurrentIndex(max(0, self.where.findData(str(state.get("where")))))
        self._quiet = False
        self._show()

    # Inside
    _picked_for: tuple[int, str] = (-1, "")  # the side and index for which the user chose a model of their own

    def _picked(self, side: int) -> None:
        if self._quiet:
            return
        if self.kind == INDEX:
            self._picked_for = (side, str(self.indexes[side].currentData() or ""))
        self.changed.emit(side)

    def _moved(self, side: int = -1) -> None:
        self._picked_for = (-1, "")
        self._show()
        if not self._quiet:
            self.changed.emit(side)

    def _compare_toggled(self, on: bool) -> None:
        if on and self.pickers[1].choice() is None and (choice := self.pickers[0].choice()) is not None:
            other = next((w for w in ("teacher", "student") if w != choice.weights), "") if choice.weights else ""
            before, self._quiet = self._quiet, True
            self.pickers[1].set_choice(ModelChoice(choice.model, other, choice.title, choice.run_id))
            self._quiet = before
        self._show()
        if not self._quiet:
            self.compared.emit(on)

    def _show(self) -> None:
        self.pickers[1].setVisible(self.comparing)
        self.data.setVisible(self.kind == DATA)
        self.indexes[0].setVisible(self.kind == INDEX)
        self.indexes[1].setVisible(self.kind == INDEX and self.comparing)
        self.browse.setVisible(self.kind == INDEX)

    def _ask_index(self) -> None:
        side = int(self.comparing and bool(self.indexes[0].currentData()) and not self.indexes[1].currentData())
        folder = QFileDialog.getExistingDirectory(self, "An index: the folder that holds its manifest.json")
        if folder:
            self.show_index(side, folder)

    def _recent(self) -> list[str]:
        try:
            raw = json.loads(str(self._services.settings.value(_INDEXES) or "[]"))
        except ValueError:
            return []
        return [one for one in raw if isinstance(one, str)] if isinstance(raw, list) else []


def _short(folder: str) -> str:
    path = Path(folder)
    return f"{path.parent.name}/{path.name}" if path.parent.name else path.name
