"""The model chip: shows the current model as ``sd-clip demo · run 1 · teacher · best``; a click opens the list.

Flow: a line of ``ModelPopover`` -> checkpoint and network -> ``changed(ModelChoice)``. Models that the panel
cannot use are grey, with the reason below. New checkpoints of live runs appear automatically.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, replace
from functools import cached_property
from pathlib import Path

from PySide6.QtCore import Qt, QTimer, Signal
from PySide6.QtGui import QDragEnterEvent, QDropEvent, QKeyEvent
from PySide6.QtWidgets import QWidget

from core.spec.errors import UserError
from core.spec.run.folder import RunDir
from core.spec.run.model_names import InterpolatedName, default_network, parse_interpolated, run_and_checkpoint
from sdgui.runs.background_tasks import BackgroundTasks
from sdgui.runs.models import OPEN_CLIP, RunFacts, initial_weights, run_facts
from sdgui.shared.pickers.entries import (
    ModelChoice,
    ModelEntry,
    Needs,
    choice_entry,
    choice_of,
    folder_entry,
    included_entries,
    interpolation_problem,
    listed_entry,
    missing_reason,
    pretrained_entries,
    recent_choices,
    remember,
    run_entries,
    run_entry,
    untrained_entries,
)
from sdgui.shared.pickers.model_list import Groups
from sdgui.shared.pickers.model_popover import UNTRAINED, ModelPopover
from sdgui.shared.services import Services
from sdgui.store.records import StoreError
from sdgui.widgets.drop_target import accept_file, dropped_file
from sdgui.widgets.file_dialogs import ask_folder
from sdgui.widgets.formats import count
from sdgui.widgets.plain_text import plain_tip
from sdgui.widgets.popovers.chip_button import ChipButton

__all__ = ["ModelChip", "ModelChoice"]

_REFRESH_MS = 500  # delay between a live run's report and reading its folder; reports in between are combined
_NOTHING = "Choose a model"
_MAX_RECENT = 4  # recent models that are listed


class ModelChip(ChipButton):
    """The chosen model. Enter, Space, Down or letters open the list.

    ``changed``: the choice has changed, by the user or by code. ``renewed``: the chosen live run has a new best or last
    checkpoint; ``choice.model`` stays the same, and the panel decides when to open it again. With ``interpolates``, the
    weights of a run can be interpolated with another model's.
    """

    changed = Signal(object)  # ModelChoice
    renewed = Signal(object)  # ModelChoice
    interpolated = Signal(object)  # ModelChoice with another alpha or initial model; after ``changed``
    shown = Signal()  # the chip shows its choice again, which may have changed
    refused = Signal(str)  # message: the dropped file is not a model, or this panel cannot use it

    def __init__(self, services: Services, needs: Needs = "search", parent: QWidget | None = None) -> None:
        super().__init__("ph.cube", "Model", parent)
        self._services, self._needs = services, needs
        self._entry: ModelEntry | None = None
        self._checkpoint: str | int = ""  # for a run: "best", "last" or a step
        self._network = ""  # for a run: "student" or "teacher"
        self._facts: RunFacts | None = None  # facts of the chosen run
        self.interpolates = False
        self.alpha = 1.0  # share of the chosen run's weights
        self._initial = self._initial_title = ""  # "": the model that the run started from
        self._emitted: ModelChoice | None = None
        self._step: int | None = None  # the step of "best" or "last" when it was emitted
        self._filling = 0  # number of lists being read
        self._tasks = BackgroundTasks(self)
        self.setAcceptDrops(True)
        self._refresh_timer = QTimer(self, singleShot=True, interval=_REFRESH_MS)
        self._refresh_timer.timeout.connect(self.refresh)
        self.clicked.connect(lambda: self.open())
        services.follower.state_changed.connect(self._schedule_refresh)
        services.follower.progress_changed.connect(self._schedule_refresh)
        self._show()

    @cached_property
    def popover(self) -> ModelPopover:
        """The popover, created when first opened."""
        popover = ModelPopover(self._needs, self)
        popover.picked.connect(self._use_entry)
        popover.checkpoint_picked.connect(self.set_checkpoint)
        popover.network_picked.connect(self.set_network)
        popover.folder_requested.connect(self._ask_folder)
        popover.initial_picked.connect(self.set_initial)
        return popover

    # Selection
    def choice(self) -> ModelChoice | None:
        """The selected model; None if there is none, or if this panel cannot use it."""
        entry = self._entry
        if entry is None or entry.reason:
            return None
        if entry.kind == "run":
            step = count(self.step())
            checkpoint = f"{self._checkpoint}, step {step}" if isinstance(self._checkpoint, str) else f"step {step}"
            title = " · ".join(filter(None, (entry.title, checkpoint, self._alpha_text(), self._network)))
            model = f"{entry.name}@{self._checkpoint}"
            if self.alpha < 1.0:
                model = str(InterpolatedName(model, self._initial, self.alpha))
            return ModelChoice(model, self._network, title, entry.run_id)
        prefix = OPEN_CLIP if entry.kind == "open_clip" else ""
        return ModelChoice(f"{prefix}{entry.name}", "", entry.title)

    def networks(self) -> tuple[str, ...]:
        """The networks of the chosen run, "teacher" before "student"; () for any other model."""
        return self._facts.networks if self._facts is not None else ()

    def step(self) -> int:
        """The current step of the chosen checkpoint; 0 for other models."""
        if isinstance(self._checkpoint, int):
            return self._checkpoint
        step = None if self._facts is None else self._facts.best if self._checkpoint == "best" else self._facts.last
        return step or 0

    def steps(self) -> tuple[int, ...]:
        """The steps of the chosen run's checkpoints, ascending; () for any other model."""
        return tuple(sorted(self._facts.steps)) if self._facts is not None else ()

    def set_choice(self, choice: ModelChoice) -> bool:
        """Choose a model; False, with the reason emitted by ``refused``, if this panel cannot use it."""
        return self._use_entry(choice_entry(choice, self._needs))

    def state(self) -> dict[str, object] | None:
        """The choice as JSON-compatible data, for the settings."""
        choice = self.choice()
        return None if choice is None else asdict(choice)

    def restore_state(self, raw: object) -> bool:
        """Choose the result of ``state``, or its JSON; False if it cannot be used."""
        choice = choice_of(raw)
        return choice is not None and self.set_choice(choice)

    def set_network(self, network: str) -> None:
        """Choose the student or the teacher of the chosen run."""
        if network in self.networks():
            self._network = network
            self._emit_choice()

    def set_checkpoint(self, checkpoint: str | int) -> None:
        """Choose a checkpoint of the chosen run: "best", "last" or a step."""
        if self._facts is not None and (checkpoint in ("best", "last") or checkpoint in self._facts.steps):
            self._checkpoint = checkpoint
            self._emit_choice()

    # Interpolation
    def interpolation_ends(self) -> tuple[str, str] | None:
        """The titles of the initial and the tuned model; None if there is nothing to interpolate with."""
        entry = self._entry
        if entry is None or entry.kind != "run" or not self.interpolates or self.steps() == ():
            return None
        if self._initial:
            return self._initial_title, entry.title
        start = initial_weights(RunDir(entry.name))
        return (f"the initial weights ({Path(start).name})", f"the tuned weights of {entry.title}") if start else None

    def interpolates_with_another(self) -> bool:
        """Whether the user has chosen another initial model."""
        return self._initial != ""

    def set_alpha(self, alpha: float) -> None:
        """Interpolate with ``alpha`` as the share of the chosen run's weights."""
        if alpha != self.alpha and self.interpolation_ends() is not None:
            self.alpha = alpha
            self._emit_interpolated()

    def set_initial(self, entry: ModelEntry) -> None:
        """Interpolate the chosen run with this model, half of each. Refused if the architectures differ."""
        if self._entry is not None and (problem := interpolation_problem(self._entry, entry)):
            self.refused.emit(problem)
            return
        name = f"{OPEN_CLIP if entry.kind == 'open_clip' else ''}{entry.name}{'@best' if entry.kind == 'run' else ''}"
        self._set_initial(entry.recent.model if entry.recent is not None else name, 0.5)
        self._emit_interpolated()

    def _set_initial(self, model: str, alpha: float) -> None:
        self._initial, self._initial_title, self.alpha = model, "", alpha
        if model:
            title = Path(run_and_checkpoint(model)[0] or model).name
            entry = choice_entry(ModelChoice(model, "", title), self._needs)
            self._initial_title = (listed_entry(self._services.store, entry, self._needs) or entry).title

    def _emit_interpolated(self) -> None:
        self._emit_choice()
        if (choice := self.choice()) is not None:
            self.interpolated.emit(choice)

    def _alpha_text(self) -> str:
        if self.alpha == 1.0:
            return ""
        return f"alpha {self.alpha:g}" + (f" with {self._initial_title}" if self._initial else "")

    def choose_run(self, run_id: int) -> bool:
        """Choose a run at its best checkpoint; False, with the reason emitted by ``refused``, if it cannot be used."""
        store = self._services.store
        try:
            return self._use_entry(run_entry(store, store.run(run_id), self._needs))
        except StoreError as error:
            self.refused.emit(str(error))
            return False

    def choose_default(self) -> None:
        """Choose the newest usable run, otherwise an included model, unless the user chooses a model first."""
        store, needs = self._services.store, self._needs

        def choose(entries: list[ModelEntry]) -> None:
            if self._entry is None:
                self._use_first(entries)

        self._tasks.run(lambda: [*run_entries(store, needs), *included_entries(needs)], choose)

    def choose_included(self) -> None:
        """Choose an included model, if this panel can use one."""
        self._use_first(included_entries(self._needs))

    def restore(self) -> bool:
        """Choose the most recent model that this panel can use; False if there is none."""
        return self._use_first(choice_entry(choice, self._needs) for choice in recent_choices(self._services.settings))

    def _use_first(self, entries: Iterable[ModelEntry]) -> bool:
        """Choose the first usable entry; False if there is none."""
        entry = next((entry for entry in entries if not entry.reason), None)
        return entry is not None and self._use_entry(entry)

    def choose_folder(self, folder: Path) -> bool:
        """Choose the model in ``folder``; False, with the reason emitted by ``refused``, if there is none."""
        entry = folder_entry(folder.absolute(), self._needs)
        if entry is None:
            self.refused.emit(f"{folder} contains no model: neither a run nor a folder saved by open_clip.")
            return False
        return self._use_entry(entry)

    # The list
    def open(self, typed: str = "") -> None:
        """Open the list of models, with ``typed`` in its search line."""
        facts = self._facts if self._entry is not None and self._entry.kind == "run" else None
        self.popover.show_run(facts, self._checkpoint, self._network, self.interpolates)
        self.popover.open_below(self, typed)
        self._fill()

    def refresh(self) -> None:
        """Check for new checkpoints of the chosen run; an open list is read again."""
        entry = self._entry
        if entry is not None and entry.kind == "run" and (facts := run_facts(RunDir(entry.name))) != self._facts:
            if facts.steps:
                self._entry = replace(entry, reason="")
                self._set_run(entry, self._checkpoint, self._network)
            else:
                self._entry, self._facts = replace(entry, reason=missing_reason(Path(entry.name))), facts
            self._emit_choice()
        if "popover" in vars(self) and self.popover.isVisible():
            self._fill()

    def _fill(self) -> None:
        """Read the available models in a thread: it reads every run folder."""
        self._filling += 1
        store, needs, choices = self._services.store, self._needs, recent_choices(self._services.settings)

        def read() -> Groups:
            recent = (self._renamed_entry(choice_entry(choice, needs)) for choice in choices[:_MAX_RECENT])
            return [
                ("Recent", [entry for entry in recent if not entry.reason]),
                ("Runs", run_entries(store, needs)),
                ("Included", included_entries(needs)),
                ("Pretrained, by open_clip", pretrained_entries(needs)),
                (UNTRAINED, untrained_entries(needs)),
            ]

        self._tasks.run(read, self._show_groups)

    def _show_groups(self, groups: Groups) -> None:
        self._filling -= 1
        if not self._filling:  # otherwise a newer list will be shown
            self.popover.show_groups(groups)

    def _renamed_entry(self, entry: ModelEntry) -> ModelEntry:
        """A recent choice with its current title, since its run may have been renamed."""
        choice = entry.recent
        current = listed_entry(self._services.store, entry, self._needs)
        if choice is None or current is None:
            return entry
        checkpoint = run_and_checkpoint(choice.model)[1]
        checkpoint = f"step {count(int(checkpoint))}" if checkpoint.isdecimal() else checkpoint
        title = " · ".join(filter(None, (current.title, choice.network, checkpoint)))
        return replace(entry, title=title, metric=current.metric, about=current.about)

    # Choosing
    def _use_entry(self, entry: ModelEntry) -> bool:
        """Choose ``entry`` with the checkpoint, network and interpolation of its recent choice; False if unusable."""
        if entry.reason:
            self.refused.emit(f"{entry.title} cannot be used here. {entry.reason}")
            return False
        recent = entry.recent
        current = (
            listed_entry(self._services.store, entry, self._needs)
            if entry.run_id is None or recent is not None
            else None
        )
        title, run_id = (current.title, current.run_id) if current is not None else (entry.title, entry.run_id)
        if current is None and recent is not None and entry.kind != "open_clip":
            title = Path(entry.name).name
        chosen = ModelEntry(entry.kind, entry.name, title, "", run_id)
        name = parse_interpolated(recent.model) if recent is not None and self.interpolates else None
        self._set_initial(name.initial if name is not None else "", name.alpha if name is not None else 1.0)
        if chosen.kind == "run":
            checkpoint = run_and_checkpoint(recent.model)[1] if recent is not None else "best"
            step_or_name = int(checkpoint) if checkpoint.isdecimal() else checkpoint
            self._set_run(chosen, step_or_name, recent.network if recent is not None else "")
        else:
            self._checkpoint, self._network, self._facts = "", "", None
        self._entry = chosen
        self._emit_choice()
        return True

    def _set_run(self, entry: ModelEntry, checkpoint: str | int, network: str) -> None:
        """Use ``checkpoint`` and ``network`` if the run has them, otherwise its best checkpoint and default network."""
        run = RunDir(entry.name)
        self._facts = facts = run_facts(run)
        self._checkpoint = checkpoint if checkpoint == "last" or checkpoint in facts.steps else "best"
        if not network and self._checkpoint == "best":
            try:
                network = default_network(run, "best")
            except UserError:  # the files are on another machine
                network = ""
        self._network = network if network in facts.networks else next(iter(facts.networks), "")

    # Signals
    def _emit_choice(self) -> None:
        choice = self.choice()
        self._show()
        if choice is None:
            return
        step = self.step() if self._entry and self._entry.kind == "run" else None
        last_emitted, self._emitted = self._emitted, choice
        is_newer = step != self._step
        self._step = step
        if last_emitted is None or (last_emitted.model, last_emitted.network) != (choice.model, choice.network):
            if self.alpha == 1.0:
                remember(self._services.settings, choice)
            self.changed.emit(choice)
        elif is_newer:
            self.renewed.emit(choice)

    def _show(self) -> None:
        choice = self.choice()
        self.setText(self.short_title() or _NOTHING)
        self.set_muted(choice is None)
        lines = (choice.title, choice.model) if choice is not None else (self._entry.reason,) if self._entry else ()
        self.setToolTip(plain_tip("\n".join([*lines, "Click to choose another model"])))
        self.setAccessibleDescription(choice.title if choice is not None else _NOTHING)
        self.shown.emit()

    def short_title(self) -> str:
        """A title such as ``sd-clip demo · run 1 · teacher · best``; "" if nothing is chosen."""
        if self._entry is None:
            return ""
        checkpoint = f"step {count(self._checkpoint)}" if isinstance(self._checkpoint, int) else self._checkpoint
        return " · ".join(filter(None, (self._entry.title, self._network, checkpoint, self._alpha_text())))

    def _schedule_refresh(self, run_id: int) -> None:
        if self._entry is not None and self._entry.run_id == run_id and not self._refresh_timer.isActive():
            self._refresh_timer.start()

    # Keys and folders
    def keyPressEvent(self, event: QKeyEvent) -> None:
        text = event.text()
        if event.key() in (Qt.Key.Key_Down, Qt.Key.Key_Return, Qt.Key.Key_Enter):
            self.open()
        elif text.strip() and text.isprintable() and not event.modifiers() & Qt.KeyboardModifier.ControlModifier:
            self.open(text)
        else:
            super().keyPressEvent(event)

    def _ask_folder(self) -> None:
        if folder := ask_folder(self, "Choose the folder of a run, or of a model saved by open_clip"):
            self.choose_folder(folder)

    def dragEnterEvent(self, event: QDragEnterEvent) -> None:
        accept_file(event)

    def dropEvent(self, event: QDropEvent) -> None:
        path = Path(dropped_file(event))
        self.choose_folder(path if path.is_dir() else path.parent)
