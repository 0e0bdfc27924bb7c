"""Where a study is trained: a button that names the machines, and a menu in which they are ticked.

Flow: ``Hosts`` lists the machines, the study's folder the selected ones -> the menu -> ``machines_chosen`` ->
``StudyPrograms.choose_machines``.
"""

from __future__ import annotations

from collections.abc import Sequence

from PySide6.QtCore import Signal
from PySide6.QtGui import QAction, QMouseEvent
from PySide6.QtWidgets import QMenu, QPushButton, QWidget

from core.spec.errors import UserError
from core.spec.study.machines import ANY, HERE
from sdgui.runs.machines.hosts import Hosts
from sdgui.widgets.formats import count
from sdgui.widgets.plain_text import plain_tip
from sdgui.widgets.style.theme import set_role, theme

_LONGEST = 20  # characters of a machine's name


class MachinesButton(QPushButton):
    """``This computer``, ``gpu``, ``3 machines``, ``Any machine``."""

    machines_chosen = Signal(object)  # list[str]: names of machines, HERE and ANY

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._hosts: Hosts | None = None
        self._on: list[str] = [HERE]
        set_role(self, "flat")
        self.machines = _StaysOpen(self)
        self.machines.aboutToShow.connect(self.fill)
        self.setMenu(self.machines)
        theme().changed.connect(self._show)
        self._show()

    def set_hosts(self, hosts: Hosts) -> None:
        """Who knows the machines."""
        self._hosts = hosts

    def show_chosen(self, on: Sequence[str]) -> None:
        """Name these machines; none is this computer."""
        if list(on or [HERE]) != self._on:
            self._on = list(on or [HERE])
            self._show()

    def fill(self) -> None:
        """This computer, each machine of the list, and all of them."""
        self.machines.clear()
        names: list[str] = []
        try:
            names = (
                [machine.name for machine in self._hosts.listing() if not machine.is_local]
                if self._hosts is not None
                else []
            )
        except UserError as error:
            self.machines.addAction(str(error)).setEnabled(False)
        for title, name in ((_title(HERE), HERE), *((name, name) for name in names)):
            self._add(title, name)
        self.machines.addSeparator()
        self._add("Any that is free", ANY)
        if not names:
            self.machines.addAction("Add others in Machines (Ctrl+4)").setEnabled(False)

    def _add(self, title: str, name: str) -> None:
        action = QAction(title.replace("&", "&&"), self.machines)
        action.setCheckable(True)
        action.setChecked(name in self._on)
        action.triggered.connect(lambda checked: self._tick(name, checked))
        action.setData(name)
        self.machines.addAction(action)

    def _tick(self, name: str, checked: bool) -> None:
        """*Any* stands alone; with nothing ticked it is this computer."""
        if name == ANY:
            on = [ANY] if checked else [HERE]
        else:
            on = [ticked for ticked in self._on if ticked not in (name, ANY)] + ([name] if checked else [])
        self._on = on or [HERE]
        for action in self.machines.actions():
            action.setChecked(action.data() in self._on)
        self._show()
        self.machines_chosen.emit(list(self._on))

    def _show(self) -> None:
        names = ", ".join(_title(name) for name in self._on)
        text = _title(self._on[0]) if len(self._on) == 1 else f"{count(len(self._on))} machines"
        text = text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"
        self.setText(text.replace("&", "&&"))
        self.setIcon(theme().icon("ph.laptop" if self._on == [HERE] else "ph.hard-drives", "accent_text"))
        self.setToolTip(plain_tip(f"The study's runs train on: {names}; each gets the first device that is free"))
        self.setAccessibleName(f"Where the study is trained: {names}")


class _StaysOpen(QMenu):
    """Several machines are ticked one after another."""

    def mouseReleaseEvent(self, event: QMouseEvent) -> None:
        action = self.activeAction()
        if action is not None and action.isCheckable() and action.isEnabled():
            action.trigger()
            return
        super().mouseReleaseEvent(event)


def _title(name: str) -> str:
    return {HERE: "This computer", ANY: "Any machine"}.get(name, name)
