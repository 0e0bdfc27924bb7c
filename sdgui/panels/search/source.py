"""The second row of Search: one or two models, and the images to search.

Flow: pickers and ``CollectionBox`` -> ``changed`` -> ``target(side)`` for each session; a new checkpoint of a live run
-> ``renewed(side)``.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QMenu, QToolButton, QWidget

from core.spec.run.folder import RunDir
from core.spec.run.model_names import parse_interpolated, run_and_checkpoint, tuned_name
from sdgui.panels.search.collection import DATA, HELD_OUT, INDEX, CollectionBox, short_folder
from sdgui.panels.search.work import Target
from sdgui.runs.models import included_models, run_facts
from sdgui.shared.pickers.interpolation import InterpolationSlider
from sdgui.shared.pickers.model_chip import ModelChip, ModelChoice
from sdgui.shared.services import Services
from sdgui.widgets.formats import count, count_with_unit
from sdgui.widgets.icon_button import IconButton
from sdgui.widgets.layouts.boxes import hbox, vbox
from sdgui.widgets.plain_text import plain_tip
from sdgui.widgets.popovers.chip_button import ChipButton
from sdgui.widgets.popovers.popover import Popover
from sdgui.widgets.style.theme import SPACE
from sdgui.worker.verbs import SearchOpened


class SourceBar(QWidget):
    """The row of pickers. Side 0 is the first model, side 1 the second."""

    changed = Signal(int)  # side to open; -1: both
    renewed = Signal(int)  # this side's run has a newer checkpoint
    comparing_changed = Signal(bool)  # whether there is a second side
    refused = Signal(str)  # why a model cannot be chosen

    def __init__(self, services: Services, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._pool = services.pool
        self._quiet = False  # whether choices change without emitting ``changed``
        self.pickers = (ModelChip(services, "search", self), ModelChip(services, "search", self))
        first_slider, second_slider = (InterpolationSlider(picker, self) for picker in self.pickers)
        self.interpolations = (first_slider, second_slider)
        self.compare = IconButton("ph.columns", "Compare with a second model", "Ctrl+B", "", True, self)
        self.ways_to_compare = IconButton("ph.caret-down", "Ways to compare", parent=self)
        self.button = ChipButton("ph.image-square", "Search in", self)
        self.popover = Popover("Search in", self.button, self)
        self.collection = CollectionBox(services, self.popover)
        self._build()
        self._connect()
        self._show()

    def _build(self) -> None:
        self.pickers[1].setAccessibleName("Second model")
        self.ways_to_compare.setPopupMode(QToolButton.ToolButtonPopupMode.InstantPopup)
        menu = QMenu(self.ways_to_compare)
        self.student_vs_teacher = menu.addAction("&Student against teacher")
        self.swap = menu.addAction("S&wap the two models")
        self.against_another = menu.addAction("Against &another model…")
        menu.addSeparator()
        self.one_model = menu.addAction("&One model")
        self.ways_to_compare.setMenu(menu)
        self.button.setToolTip("Images to search: a validation split, a folder or table, or an index")
        self.popover.set_first(self.collection.kind_box)
        self.popover.setMinimumWidth(64 * SPACE)
        vbox(self.collection, into=self.popover, margins=2 * SPACE)
        first, second = (((chip, 8), slider) for chip, slider in zip(self.pickers, self.interpolations, strict=True))
        row = hbox(*first, self.compare, self.ways_to_compare, *second, into=self, spacing=SPACE // 2)
        row.addSpacing(SPACE)
        row.addWidget(self.button, 7)
        row.addStretch()  # chips have a maximum width

    def _connect(self) -> None:
        for side, picker in enumerate(self.pickers):
            picker.changed.connect(lambda _choice, side=side: self._on_picked(side))
            picker.renewed.connect(lambda _choice, side=side: self.renewed.emit(side))
            picker.refused.connect(self.refused)
        self.compare.toggled.connect(self._on_compare_toggled)
        self.ways_to_compare.menu().aboutToShow.connect(self._enable_actions)
        self.student_vs_teacher.triggered.connect(self.student_against_teacher)
        self.swap.triggered.connect(self.swap_models)
        self.against_another.triggered.connect(self._ask_second_model)
        self.one_model.triggered.connect(lambda: self.compare.setChecked(False))
        self.button.clicked.connect(self.popover.toggle)
        self.collection.changed.connect(self._on_collection_changed)
        self.collection.close_requested.connect(self.popover.close_popover)

    # Selection
    @property
    def kind(self) -> str:
        """HELD_OUT, DATA or INDEX."""
        return self.collection.kind

    @property
    def comparing(self) -> bool:
        return self.compare.isChecked()

    def target(self, side: int) -> Target | None:
        """The model and collection of a side; None if either is missing."""
        choice = self.pickers[side].choice()
        if side == 1 and not self.comparing:
            return None
        if self.kind == INDEX:
            index = self.collection.index(side)
            picked_model = choice if choice is not None and index and self._picked_for == (side, index) else None
            if not index:
                return None
            if picked_model is None:
                return Target("", "", short_folder(index), index=index)
            return Target(picked_model.model, picked_model.network, picked_model.title, index=index)
        if choice is None:
            return None
        data = self.collection.data.source() if self.kind == DATA else ""
        if self.kind == DATA and not data:
            return None
        worker = self._stepped_run if run_and_checkpoint(choice.model)[0] == self._stepped_run else ""
        return Target(choice.model, choice.network, choice.title, data=data, worker=worker)

    def run(self) -> Path | None:
        """The folder of the first model's run; None if it is not a run or an index is searched."""
        choice = self.pickers[0].choice()
        if self.kind == INDEX or choice is None or not self.pickers[0].steps():
            return None
        return Path(run_and_checkpoint(choice.model)[0])

    def go_to_step(self, step: int) -> None:
        """Choose the checkpoint at ``step`` for the first model, and for the second if it is from the same run."""
        run = self.run()
        if run is None:
            return
        self._stepped_run, self._quiet = str(run), True
        for picker in self.pickers[: 1 + self.comparing]:
            choice = picker.choice()
            if choice is not None and run_and_checkpoint(choice.model)[0] == self._stepped_run:
                picker.set_checkpoint(step)
        self._quiet = False
        self.changed.emit(-1)

    def name(self, side: int) -> str:
        """A title that distinguishes the two sides."""
        choices = [picker.choice() for picker in self.pickers]
        mine, other_choice = choices[side], choices[1 - side]
        if mine is None:
            return f"model {side + 1}"
        if self.comparing and other_choice is not None:
            if mine.model == other_choice.model and mine.network != other_choice.network:
                return mine.network.capitalize() or mine.title
            folders = [run_and_checkpoint(choice.model)[0] for choice in (mine, other_choice)]
            if folders[0] == folders[1] != "":
                return mine.title.partition(" · ")[2].rpartition(" · ")[0] or mine.title
        return mine.title

    def short_name(self, side: int) -> str:
        """A shorter ``name``: experiment and run number, and the network if it differs."""
        choices = [picker.choice() for picker in self.pickers]
        mine, other_choice = choices[side], choices[1 - side]
        if (
            not self.comparing
            or mine is None
            or other_choice is None
            or mine.run_id is None
            or mine.run_id == other_choice.run_id
        ):
            return self.name(side)
        run = " · ".join(mine.title.split(" · ")[:2])
        return run if mine.network == other_choice.network else f"{run} · {mine.network}"

    def same_model(self) -> bool:
        """Whether both sides are the same model on the same collection."""
        first, second = self.target(0), self.target(1)
        return first is not None and first == second

    # Ways to compare
    def student_against_teacher(self) -> None:
        """Compare both networks of the first model's run, student first."""
        choice = self.pickers[0].choice()
        if choice is not None and len(self.pickers[0].networks()) > 1:
            self._compare_both(
                ModelChoice(choice.model, "student", choice.title, choice.run_id),
                ModelChoice(choice.model, "teacher", choice.title, choice.run_id),
            )

    def swap_models(self) -> None:
        """Swap the two models."""
        first, second = (picker.choice() for picker in self.pickers)
        if first is not None and second is not None:
            self._compare_both(second, first)

    def _compare_both(self, first: ModelChoice, second: ModelChoice) -> None:
        self._select(first, second)
        self.changed.emit(-1)

    def _select(self, first: ModelChoice, second: ModelChoice | None) -> bool:
        """Choose one or two models without emitting ``changed``; returns whether the first is available."""
        self._quiet = True
        is_selected = self.pickers[0].set_choice(first)
        if is_selected and second is not None:
            self.pickers[1].set_choice(second)
        self.compare.setChecked(second is not None)
        self._quiet = False
        self._show()
        return is_selected

    def _leave_index(self) -> None:
        """An index is only searched with its own model; for another model, search the validation split instead."""
        if self.kind == INDEX:
            self.collection.set_kind(HELD_OUT)

    def _ask_second_model(self) -> None:
        self.compare.setChecked(True)
        self.pickers[1].open()

    def _enable_actions(self) -> None:
        self.student_vs_teacher.setEnabled(len(self.pickers[0].networks()) > 1)
        self.swap.setEnabled(self.comparing and self.kind != INDEX)
        self.one_model.setEnabled(self.comparing)

    def show_run(self, run_id: int, folder: Path, title: str, alive: bool) -> bool:
        """Select a run's best checkpoint (newest while training); compare both networks if it has two."""
        facts = run_facts(RunDir(folder))
        if not facts.steps:
            return False
        self._leave_index()
        model = f"{folder}@{'last' if alive else 'best'}"
        choices = [ModelChoice(model, network, title, run_id) for network in sorted(facts.networks)]  # student first
        first, second, *_ = *choices, None, None
        return self._select(first or ModelChoice(model, "", title, run_id), second)

    def show_model(self, choice: ModelChoice) -> None:
        """Select this model alone."""
        self._leave_index()
        if self._select(choice, None):
            self.changed.emit(-1)

    def choose_included(self) -> None:
        """Select the included model, which has no validation split: the user has to choose images."""
        if not included_models():
            return
        if self.kind == HELD_OUT:
            self.collection.set_kind(DATA)
        self.pickers[0].choose_included()
        if (choice := self.pickers[0].choice()) is not None:
            self._pool.client(choice.model, choice.title).warm_up()

    def show_index_model(self, side: int, model: str, network: str) -> None:
        """Show the model that built the opened index in the picker."""
        folder, checkpoint = run_and_checkpoint(model)
        run = f"{folder}@{checkpoint}" if folder else model
        interpolated = parse_interpolated(model)
        model = run if interpolated is None else str(interpolated._replace(tuned=run))
        choice = self.pickers[side].choice()
        if choice is not None and (choice.model, choice.network) == (model, network):
            return
        self._quiet = True
        self.pickers[side].set_choice(ModelChoice(model, network, Path(model).name))
        self._quiet = False

    def show_facts(self, facts: SearchOpened | None) -> None:
        """Show the size of the first side's collection; None if it is not open yet."""
        title = self.collection.title()
        if facts is None:
            self.button.setText(title)
            self.collection.facts.setText("No images are open yet.")
            return
        remaining = facts.get("remaining", 0)  # images that are not open yet
        images = count_with_unit(facts["images"] + remaining, "image")
        if remaining:
            images = f"{count(facts['images'])} of {images}"
        captions = f"{count_with_unit(facts['captions'], 'caption')} · " if facts["captions"] else ""
        self.button.setText(f"{title} · {images}")
        self.collection.facts.setText(
            f"{images} · {captions}{facts['dim']} dimensions\n{facts['source']}\n{facts['search_method']}"
        )
        self.button.setToolTip(plain_tip(f"{facts['source']}\n{images} · {captions}{facts['search_method']}"))

    # Saved choices
    def state(self) -> dict[str, object]:
        """The choices to restore at the next start."""
        return {
            "models": [picker.state() for picker in self.pickers],
            "compare": self.comparing,
            **self.collection.state(),
        }

    def restore(self, state: dict[str, object]) -> None:
        """Restore the choices from ``state()``; sources that no longer exist are ignored."""
        self._quiet = True
        models = state.get("models")
        for picker, raw in zip(self.pickers, models if isinstance(models, list) else [], strict=False):
            picker.restore_state(raw)
        self.compare.setChecked(bool(state.get("compare")))
        self.collection.restore(state)
        self._quiet = False
        self._show()

    # Internal
    _stepped_run = ""  # run that ``go_to_step`` moves through; one worker opens all its steps
    _picked_for: tuple[int, str] = (-1, "")  # side and index for which the user selected a model

    def _on_picked(self, side: int) -> None:
        if self._quiet:
            return
        if self.kind == INDEX:
            self._picked_for = (side, self.collection.index(side))
        self.changed.emit(side)

    def _on_collection_changed(self, side: int) -> None:
        self._picked_for = (-1, "")
        self._show()
        self.popover.fit()
        if not self._quiet:
            self.changed.emit(side)

    def _on_compare_toggled(self, on: bool) -> None:
        if on and self.pickers[1].choice() is None and (choice := self.pickers[0].choice()) is not None:
            networks = [network for network in self.pickers[0].networks() if network != choice.network]
            other = replace(choice, network=networks[0]) if networks else choice
            if tuned_name(choice.model) != choice.model:  # compares interpolated weights with the fine-tuned ones
                other = replace(choice, model=tuned_name(choice.model))
            if other != choice:
                was_quiet, self._quiet = self._quiet, True
                self.pickers[1].set_choice(other)
                self._quiet = was_quiet
        self._show()
        if not self._quiet:
            self.comparing_changed.emit(on)
            if on and self.pickers[1].choice() is None and self.kind != INDEX:
                self.pickers[1].open()

    def _show(self) -> None:
        self.pickers[1].setVisible(self.comparing)
        for slider, is_shown in zip(self.interpolations, (True, self.comparing), strict=True):
            slider.set_compact(self.comparing)
            # an index is only valid for the weights that built it
            slider.set_available(is_shown and self.kind != INDEX)
        self.collection.set_comparing(self.comparing)
        title = self.collection.title()
        if not self.button.text().startswith(title):  # otherwise keep the shown number of images
            self.button.setText(title)
