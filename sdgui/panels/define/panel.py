"""Define: the selected experiment's config as a form, or the frozen config of a launched run.

Flow: store -> form -> (while typing, if valid) store. Runs keep their own frozen ``config.json``; an edit affects only
the experiment's next run. Invalid edits are kept as a draft.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from PySide6.QtCore import Qt, QTimer
from PySide6.QtWidgets import QSplitter, QWidget
from shiboken6 import isValid

from core.spec.config import ConfigError, RunConfig, read_config
from core.spec.errors import UserError
from core.spec.presets import PRESETS, Size
from core.spec.run.logged import logged_text, read_logged
from core.spec.run.status import RunState
from sdgui.panels.define.advice import AdviceBar
from sdgui.panels.define.data_cards import DataCards
from sdgui.panels.define.differences import Differences
from sdgui.panels.define.preset_bar import PresetBar
from sdgui.panels.define.saving import ConfigSaver
from sdgui.panels.define.sweep_bar import SweepBar
from sdgui.runs.chains import PREVIOUS_GENERATION, takes_teacher_from_chain
from sdgui.runs.stages import on_preset, origin, save_wants_stages, wants_stages, with_previous_generation
from sdgui.shared.experiment_header import ExperimentHeader
from sdgui.shared.form.form import ConfigForm
from sdgui.shared.form.texts import field_title
from sdgui.shared.panel import DefiningPanel
from sdgui.shared.services import Selection, Services
from sdgui.store.records import ChangedElsewhereError, Experiment
from sdgui.widgets.actions import Actions
from sdgui.widgets.empty_state import EmptyState
from sdgui.widgets.formats import count
from sdgui.widgets.layouts.boxes import vbox
from sdgui.widgets.layouts.splits import remember_sizes
from sdgui.widgets.message import Message, Remedy, error, info, warning
from sdgui.widgets.message_bar import MessageBar
from sdgui.widgets.plain_text import PlainLabel
from sdgui.widgets.style.theme import SPACE

_FAILED = (RunState.FAILED, RunState.INTERRUPTED)
_LOGGED = "Logged by a script, so it cannot be launched. Runs > Compare shows the configs of its runs."
_TYPING_PAUSE_MS = 400
_EMPTY = (
    "No experiment is selected",
    "An experiment defines what is trained and how: data, model, teacher, views and objectives. Select an experiment "
    "in the tree, or start from a preset.",
)


class DefinePanel(DefiningPanel):
    """The form, with the preset above and the differences from the preset."""

    def __init__(self, services: Services, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._services = services
        self._experiment: Experiment | None = None
        self._chosen_run: int | None = None  # run that is selected in the tree
        self._run_id: int | None = None  # the run whose frozen config is shown
        self._had_failed = False  # whether this run had failed when its config was shown
        self._frozen: RunConfig | None = None
        self._loaded: RunConfig | None = None  # the form's config before any edit
        self._undoable: Message | None = None  # offers to undo the last change of several settings
        self._unwritten: Message | None = None  # reports that the last save failed
        self.saver = ConfigSaver(services)
        self.head = ExperimentHeader(services, self)
        self.preset_bar = PresetBar(self)
        self.bar = MessageBar(self)
        self.hint = PlainLabel(self, role="small")
        self.advice = AdviceBar(services, self)
        self.form = ConfigForm(self)
        self.sweep_bar = SweepBar(services, self.form, self)
        self.cards = DataCards(self.form, services, self)
        self.differences = Differences(self)
        self.split = QSplitter(Qt.Orientation.Horizontal, self)
        self.split.addWidget(self.form)
        self.split.addWidget(self.differences)
        self.split.setStretchFactor(0, 3)
        self.split.setStretchFactor(1, 1)
        self.split.setSizes([640, 264])
        self.split.setChildrenCollapsible(True)
        self._empty = EmptyState("ph.sliders-horizontal", *_EMPTY, parent=self)
        bars = (self.head, self.preset_bar, self.hint, self.advice, self.sweep_bar)
        # The message bar is above the form, not over it, so that the note on read-only settings is always visible.
        parts = (*bars, self.bar, (self.split, 1), (self._empty, 1))
        vbox(*parts, into=self, margins=(2 * SPACE, SPACE, 2 * SPACE, SPACE))
        self._timer = QTimer(self, singleShot=True, interval=_TYPING_PAUSE_MS)
        self._timer.timeout.connect(self.save)
        self.form.changed.connect(self._on_form_changed)
        self.preset_bar.preset_chosen.connect(self._start_from)
        self.preset_bar.staged.connect(self._set_staged)
        self.advice.applied.connect(self._follow_advice)
        self.advice.described.connect(self._offer_labels)
        self.cards.held_out.connect(self._follow_advice)
        self.cards.open_requested.connect(lambda source: self.source_requested.emit("data", source))
        self.sweep_bar.created.connect(lambda folder: self.source_requested.emit("study", folder))
        self.differences.field_chosen.connect(self.form.focus_field)
        remember_sizes(self.split, services.settings, "define/split")
        self._show_nothing()

    def set_actions(self, actions: Actions) -> None:
        """Connect the buttons of the header and of the empty page."""
        self.head.set_actions(actions)
        self._empty.set_content(*_EMPTY, "New experiment", actions["new"].shortcut().toString())
        self._empty.activated.connect(actions["new"].trigger)

    # Display
    def select(self, selection: Selection) -> None:
        """Show the selected run's frozen config, or the experiment's config if no run is selected."""
        self.head.show_experiment(selection.experiment_id)
        self.sweep_bar.show_experiment(selection.experiment_id)
        is_same_experiment = self._experiment is not None and self._experiment.id == selection.experiment_id
        if is_same_experiment and self._chosen_run == selection.run_id:
            return
        self.save()
        if not is_same_experiment:
            self.form.scroll_to_top()
        self._show_chosen(selection.experiment_id, selection.run_id)

    def _show_chosen(self, experiment_id: int | None, run_id: int | None) -> None:
        self._chosen_run, self._run_id = run_id, None
        if experiment_id is None:
            self._show_nothing()
        elif run_id is None:
            self._show_experiment(self.saver.stored(experiment_id))
        elif self._has_failed(run_id):
            self._show_failed(experiment_id, run_id)
        else:
            self._show_run(experiment_id, run_id)

    def _has_failed(self, run_id: int) -> bool:
        return (self._services.follower.state(run_id) or self._services.store.run(run_id).state) in _FAILED

    def _show_failed(self, experiment_id: int, run_id: int) -> None:
        """Show the experiment of a failed run, with the reason and a link to the run's frozen config."""
        self._show_experiment(self.saver.stored(experiment_id))
        lines = self._services.store.run(run_id).failure.strip().splitlines()
        reason = lines[0] if lines else "It exited unexpectedly."
        remedy = Remedy("Show the launched config", lambda: self._show_run(experiment_id, run_id))
        self.bar.show_message(warning(f"This run failed: {reason} Edit the settings and launch again.", remedy=remedy))

    def config(self, experiment_id: int) -> RunConfig | None:
        """The form's config if this experiment is shown; None for another experiment or a frozen config."""
        is_shown = self._experiment is not None and self._experiment.id == experiment_id and self._frozen is None
        return self.form.config() if is_shown else None

    def refresh(self) -> None:
        """Show changes made elsewhere: the first run, a new name, or a config from another window.

        An edited form keeps its edits; only the name is updated.
        """
        shown_experiment = self._experiment
        self.head.show_experiment(shown_experiment.id if shown_experiment is not None else None)
        if shown_experiment is None or self._run_id is not None or shown_experiment.id in self.saver.unsaved:
            return
        self._experiment = experiment = self._services.store.experiment(shown_experiment.id)
        is_edited = self.form.config() != self._loaded
        if shown_experiment.config is None or experiment.config is None:
            if experiment.config != shown_experiment.config:
                self._show_experiment(experiment)
        elif not is_edited and experiment.config != shown_experiment.config:
            self.saver.begin(experiment)
            self._load(experiment.config, read_only=False)
        elif experiment.name != shown_experiment.name:
            self.form.set_value("name", experiment.name)
        self._show_hint(experiment)

    def on_enter(self) -> None:
        """Check whether the shown run has failed, or the training data was created, in the meantime."""
        run_id, experiment = self._run_id, self._experiment
        if run_id is not None and experiment is not None and not self._had_failed and self._has_failed(run_id):
            self._show_failed(experiment.id, run_id)
        self.advice.read_again()

    def focus_search(self) -> None:
        self.form.focus_search()

    def on_leave(self) -> None:
        self.save()

    def _show_nothing(self) -> None:
        self._experiment = self._frozen = None
        self._loaded = self.form.config()  # the hidden form does not belong to any experiment
        self.bar.clear()
        self.advice.clear()
        for widget in (self.head, self.preset_bar, self.hint, self.split):
            widget.hide()
        self._empty.show()

    def _load(self, config: RunConfig, read_only: bool) -> None:
        self._show_form(config, read_only)
        self._loaded = self.form.config()

    def _show_form(self, config: RunConfig, read_only: bool) -> None:
        staged = self._is_staged(config)
        if staged and not read_only:
            config = with_previous_generation(config)
        base = origin(config)
        self.form.set_config(config, base[0] if base else None)
        self.form.set_read_only(read_only)
        self.preset_bar.show_origin(config.preset, base[1] if base else "", read_only, staged)
        self._empty.hide()
        self.head.show()
        self.preset_bar.show()
        self.split.show()
        self._show_differences()

    def _show_experiment(self, experiment: Experiment) -> None:
        self._experiment, self._frozen, self._run_id = experiment, None, None
        if experiment.config is None:
            self._show_nothing()
            self._experiment = experiment
            problem = error(experiment.problem, experiment.config_json)
            self.bar.show_message(info(_LOGGED) if experiment.logged_project else problem)
            return
        self.bar.clear()
        self._load(experiment.config, read_only=False)
        if draft := self.saver.begin(experiment):
            self.form.set_draft(draft)
        self._show_hint(experiment)

    def _show_run(self, experiment_id: int, run_id: int) -> None:
        self._run_id, self._had_failed = run_id, self._has_failed(run_id)
        run, self._experiment = self._services.store.run(run_id), self.saver.stored(experiment_id)
        try:
            logged = read_logged(run.dir.config)
            frozen = None if logged else read_config(run.dir.config)
            message = info(_LOGGED, logged_text(logged) if logged else "")
        except ConfigError as problem:
            frozen, message = None, error(f"This run's config cannot be shown: {problem}")
        if frozen is None:
            self._show_nothing()
            self._experiment = self.saver.stored(experiment_id)
            self.bar.show_message(message)
            return
        self._frozen = frozen
        self._load(frozen, read_only=True)
        self.hint.hide()
        copy = Remedy("Edit as a new experiment", lambda: self.new_experiment_requested.emit(frozen))
        self.bar.show_message(info("Read-only: the settings this run was launched with.", remedy=copy))

    def _show_hint(self, experiment: Experiment) -> None:
        text = runs_hint(self._services.store.run_count(experiment.id))
        self.hint.setText(text)
        self.hint.setVisible(bool(text))

    # Editing
    def _on_form_changed(self) -> None:
        if self._undoable is not None and self.bar.message is self._undoable:
            self.bar.clear()  # a pending Undo would overwrite the current edits
        self._timer.start()
        self._show_differences()

    def _show_differences(self) -> None:
        config = self._frozen or (self._experiment.config if self._experiment else None)
        preset = PRESETS.get(config.preset) if config else None
        changes = self.form.differences()
        self.preset_bar.show_differences(len(changes))
        self.differences.show_changes(changes, preset.title if preset else "the defaults")
        self.advice.show_config(self.form.config(), self._frozen is not None)

    def save(self) -> bool:
        """Save the config if the form is valid, otherwise a draft; returns whether the form is valid."""
        self._timer.stop()
        experiment = self._experiment
        if experiment is None or self._frozen is not None or experiment.config is None:
            return False
        config = self.form.config()
        if config is None:
            self.saver.keep_draft(experiment.id, self.form.draft())
            return False
        if config not in (self._loaded, experiment.config):  # the stored config may be newer than an unedited form
            self.saver.keep_draft(experiment.id, self.form.draft())
            on_refused = partial(self._on_write_failed, experiment)
            self._experiment = self.saver.write(experiment, config, self._on_written, on_refused)
        else:
            self.saver.drop_draft(experiment.id)
        self._loaded = config
        return True

    def _on_written(self, edited: Experiment, stored: Experiment) -> None:
        if self._experiment is edited:  # no newer edit exists
            self._experiment = stored
        if not isValid(self):  # the window was closed before the write finished
            return
        if self._unwritten is not None and self.bar.message is self._unwritten:
            self.bar.clear()
        self.edited.emit(stored.id)

    def _on_write_failed(self, before: Experiment, edited: Experiment, problem: UserError) -> None:
        """Report a failed write; the form or the draft keeps the edits, and the next save submits them again."""
        is_shown = self._experiment is edited
        if is_shown:
            self._experiment, self._loaded = before, before.config
        if not isValid(self):  # the window was closed in the meantime
            return
        if not isinstance(problem, ChangedElsewhereError):
            self._unwritten = error(str(problem), remedy=Remedy("Try again", self.save) if is_shown else None)
        elif is_shown:
            self._unwritten = self._conflict_message(before.id, problem)
        else:
            show = Remedy("Show the experiment", lambda: self.experiment_requested.emit(before.id))
            self._unwritten = warning(str(problem), remedy=show)
        self.bar.show_message(self._unwritten)

    def _conflict_message(self, experiment_id: int, problem: ChangedElsewhereError) -> Message:
        """A message that offers to load the config of another window, or to overwrite that config with the edits."""

        def reload() -> None:
            self.saver.drop_draft(experiment_id)
            self._show_experiment(self._services.store.experiment(experiment_id))

        def keep_mine() -> None:
            self.saver.set_base_config(experiment_id, problem.stored)
            self.save()

        return warning(str(problem), "", Remedy("Reload", reload), Remedy("Keep mine", keep_mine))

    def ready_to_launch(self) -> bool:
        """Save; if a field is invalid, show why, focus the first invalid field and return False."""
        self.form.refuse({})  # the data may have been fixed in the meantime
        if self._frozen is not None or self.save():
            return True
        self._show_errors()
        return False

    def refuse(self, problems: dict[str, str]) -> None:
        """Show why the experiment cannot be launched, next to its fields, until the fields are edited."""
        self.form.refuse(problems)
        self._show_errors()

    def _show_errors(self) -> None:
        errors = self.form.errors()
        if errors:
            field, sentence = next(iter(errors.items()))
            remainder = f" And {len(errors) - 1} more." if len(errors) > 1 else ""
            go = Remedy("Go to the field", lambda: self.form.focus_field(field))
            self.bar.show_message(error(f"{field_title(field)}: {sentence}{remainder}", remedy=go))
            self.form.focus_field(field)

    def _start_from(self, preset: str, size: Size) -> None:
        if self._experiment is None or self._experiment.config is None:
            return
        previous_config = self.form.config() or self._experiment.config
        after = on_preset(previous_config, preset, size).model_copy(update={"preset": preset})
        self._show_form(after, read_only=False)
        self.save()
        text = f"All settings now match {PRESETS[preset].title} ({size}), except for name, data and seed."
        self._offer_undo(text, previous_config)

    # Stages, advice
    def _is_staged(self, config: RunConfig) -> bool:
        experiment = self._experiment
        return experiment is not None and wants_stages(config, experiment.id, self._services.settings)

    def _set_staged(self, staged: bool) -> None:
        if self._experiment is None:
            return
        save_wants_stages(staged, self._experiment.id, self._services.settings)
        checkpoint = self.form.draft()["teacher.checkpoint"]
        if staged and self._experiment.config is not None and takes_teacher_from_chain(self._experiment.config):
            self.form.set_value("teacher.checkpoint", PREVIOUS_GENERATION)
        elif not staged and checkpoint == PREVIOUS_GENERATION:
            self.form.set_value("teacher.checkpoint", "")

    def _follow_advice(self, values: dict[str, object]) -> None:
        previous_config = self.form.config()
        self.form.set_values(values)
        self.save()
        titles = ", ".join(field_title(field) for field in values)
        self._offer_undo(f"Settings adapted to this data: {titles}.", previous_config)

    def _offer_labels(self, facts: dict[str, Any]) -> None:
        labels = facts["labels"]
        self.form.set_choices("data.label", list(labels), [f"{classes} classes" for classes in labels.values()])

    def _offer_undo(self, text: str, before: RunConfig | None) -> None:
        """Report a change of several settings, with an Undo button until the next edit."""

        def undo() -> None:
            if before is not None:
                self._show_form(before, read_only=False)
                self.save()

        self._undoable = info(text, remedy=Remedy("Undo", undo) if before is not None else None)
        self.bar.show_message(self._undoable)


def runs_hint(runs: int) -> str:
    """A note that an edit does not affect the experiment's existing ``runs``; "" if there are none."""
    if not runs:
        return ""
    runs_keep = "its run keeps its" if runs == 1 else f"its {count(runs)} runs keep their"
    return f"Changes apply to the next run; {runs_keep} own config."
