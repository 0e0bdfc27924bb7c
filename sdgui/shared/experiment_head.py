"""The head of the panels that launch: the chosen experiment, where its next run trains, Queue and Launch.

Flow: the panel's ``select`` and ``refresh`` -> ``show_experiment`` or ``show_selection``; the buttons are the window's
actions.
"""

from __future__ import annotations

from contextlib import suppress

from PySide6.QtWidgets import QWidget

from sdgui.shared.place_button import PlaceButton
from sdgui.shared.run_texts import experiment_line, study_line
from sdgui.shared.services import Selection, Services
from sdgui.store.records import StoreError
from sdgui.widgets.actions import ActionButton, Actions
from sdgui.widgets.elided_label import ElidedLabel
from sdgui.widgets.layouts.boxes import hbox, vbox
from sdgui.widgets.style.theme import set_role


class ExperimentHead(QWidget):
    """Title, a line below it, the place, and the buttons Queue and Launch."""

    def __init__(self, services: Services, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._store = services.store
        self.place = PlaceButton(services.hosts, self)
        self.title = ElidedLabel("", self, role="heading")
        self.line = ElidedLabel("", self, role="muted")
        texts = vbox(self.title, self.line, spacing=0)
        self._row = hbox((texts, 1), into=self)

    def set_actions(self, actions: Actions) -> None:
        """Add the buttons of the window's actions."""
        main = ActionButton(actions["launch"], self)
        set_role(main, "primary")
        self.place.set_actions(actions)
        self._row.addWidget(self.place)
        self._row.addWidget(ActionButton(actions["queue"], self))
        self._row.addWidget(main)

    def show_experiment(self, experiment_id: int | None) -> None:
        """Name and line of an experiment as the store has them now; None, or one that is gone, shows neither."""
        title = line = ""
        if experiment_id is not None:
            with suppress(StoreError):  # removed for good meanwhile, or out of reach: the window says so once
                experiment = self._store.experiment(experiment_id)
                title, line = experiment.name, experiment_line(experiment, self._store.run_count(experiment_id))
        self._show(title, line)

    def show_selection(self, selection: Selection) -> None:
        """The chosen experiment; else the chosen study, or all runs, of which none can be launched."""
        if selection.experiment_id is not None:
            self.show_experiment(selection.experiment_id)
            return
        title, line = "All runs", ""
        if selection.study_id is not None:
            with suppress(StoreError):
                study = self._store.study(selection.study_id)
                title, line = study.name, study_line(len(study.arms), len(selection.study_runs))
        self._show(title, line)

    def _show(self, title: str, line: str) -> None:
        self.title.setText(title)
        self.line.setText(line)
