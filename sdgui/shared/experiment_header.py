"""The header of panels that launch: the selected experiment, the machine of the next run, Queue and Launch.

Flow: the panel's ``select`` and ``refresh`` -> ``show_experiment`` or ``show_selection``; the buttons trigger the
window's actions.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress

from PySide6.QtCore import Signal
from PySide6.QtGui import QAction
from PySide6.QtWidgets import QMenu, QPushButton, QWidget

from core.spec.errors import UserError
from core.spec.machines.answers import Gpu
from core.spec.machines.machine import LOCAL, Machine
from sdgui.runs.machines.hosts import Hosts
from sdgui.shared.run_texts import experiment_line, study_line
from sdgui.shared.services import Selection, Services
from sdgui.store.records import Place, StoreError
from sdgui.widgets.actions import ActionButton, Actions
from sdgui.widgets.elided_label import ElidedLabel
from sdgui.widgets.formats import count
from sdgui.widgets.layouts.boxes import hbox, vbox
from sdgui.widgets.plain_text import plain_tip
from sdgui.widgets.style.theme import set_role, theme


class ExperimentHeader(QWidget):
    """The header: title, a second line, the machine, and the buttons Queue and Launch."""

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
        launch = ActionButton(actions["launch"], self)
        set_role(launch, "primary")
        self.place.set_actions(actions)
        self._row.addWidget(self.place)
        self._row.addWidget(ActionButton(actions["queue"], self))
        self._row.addWidget(launch)

    def show_experiment(self, experiment_id: int | None) -> None:
        """Show name and state of an experiment; show nothing for None or a deleted experiment."""
        title = line = ""
        if experiment_id is not None:
            with suppress(StoreError):  # deleted or unreachable; reported once by the window
                experiment = self._store.experiment(experiment_id)
                title, line = experiment.name, experiment_line(experiment, self._store.run_count(experiment_id))
        self._show(title, line)

    def show_selection(self, selection: Selection) -> None:
        """Show the selected experiment; otherwise the study or "all runs", which cannot be launched."""
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


_HERE = "This computer"
_MAX_LENGTH = 24  # displayed characters of a machine's name or a device


class PlaceButton(QPushButton):
    """Chooses machine and device, such as ``cluster · GPU 2``. The menu is created when it is opened."""

    chosen = Signal(object)  # Place

    def __init__(self, hosts: Hosts, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._hosts = hosts
        self._machines_action: QAction | None = None
        set_role(self, "flat")
        self.places = QMenu(self)
        self.places.aboutToShow.connect(self.fill)
        self.setMenu(self.places)
        hosts.place_changed.connect(lambda _place: self._show())
        self.chosen.connect(hosts.set_place)
        theme().changed.connect(self._show)
        self._show()

    def set_actions(self, actions: Actions) -> None:
        """Set the window's actions; the menu offers the one that opens the panel *Machines*."""
        self._machines_action = actions["machines"]

    def fill(self) -> None:
        """Fill the menu with the machines and their known devices."""
        self.places.clear()
        try:
            machines = self._hosts.listing()
        except UserError as error:
            self.places.addAction(str(error)).setEnabled(False)
            machines = [self._hosts.machines.list.find(LOCAL)]
        for machine in machines:
            self._add(machine)
        if self._machines_action is not None:
            self.places.addSeparator()
            manage = self.places.addAction("Machines…")
            manage.triggered.connect(self._machines_action.trigger)

    def _add(self, machine: Machine) -> None:
        facts, host = self._hosts.facts(machine.name), "" if machine.is_local else machine.name
        gpus: Sequence[Gpu] = () if facts is None or machine.launcher == "slurm" else facts.gpus
        title = _title(host).replace("&", "&&")
        if not gpus:
            self.places.addAction(self._choice(title, Place(host)))
            return
        menu = self.places.addMenu(title)
        menu.addAction(self._choice("First free GPU", Place(host)))
        menu.addSeparator()
        for gpu in gpus:
            menu.addAction(self._choice(_device(gpu), Place(host, gpu.device)))
        whole_gpus = [gpu.device for gpu in gpus if gpu.device == str(gpu.index)]
        if len(whole_gpus) > 1:
            menu.addSeparator()
            menu.addAction(self._choice(f"All {count(len(whole_gpus))} GPUs", Place(host, ",".join(whole_gpus))))

    def _choice(self, title: str, place: Place) -> QAction:
        action = QAction(title, self.places)
        action.setCheckable(True)
        action.setChecked(place == self._hosts.place)
        action.triggered.connect(lambda: self.chosen.emit(place))
        return action

    def _show(self) -> None:
        place = self._hosts.place
        name = _title(place.host)
        short = name if len(name) <= _MAX_LENGTH else name[: _MAX_LENGTH - 1] + "…"
        devices = f" · GPU {place.devices[:_MAX_LENGTH]}" if place.devices else ""  # a MIG instance has a long UUID
        self.setText((short + devices).replace("&", "&&"))
        self.setIcon(theme().icon("ph.hard-drives" if place.host else "ph.laptop", "accent_text"))
        device_text = f"GPU {place.devices}" if place.devices else "the first free device"
        self.setToolTip(plain_tip(f"The next run trains on: {name}, {device_text}"))
        self.setAccessibleName(f"Machine of the next run: {name}, {device_text}")


def _title(host: str) -> str:
    return host or _HERE


def _device(gpu: Gpu) -> str:
    used = "free" if gpu.free else f"{gpu.used / 1024:.1f} of {gpu.memory / 1024:.1f} GiB in use"
    return " · ".join(part for part in (f"GPU {gpu.index}", gpu.name, used) if part).replace("&", "&&")
