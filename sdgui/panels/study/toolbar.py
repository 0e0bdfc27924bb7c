"""The Study panel's toolbar: which study is shown, and the buttons that act on it.

Flow: ``StudyPanel`` connects the buttons; ``show_state`` enables those that fit the study's state.
"""

from __future__ import annotations

from collections.abc import Sequence

from PySide6.QtCore import Qt, Signal
from PySide6.QtGui import QAction, QMouseEvent
from PySide6.QtWidgets import QComboBox, QMenu, QPushButton, QWidget

from core.spec.errors import UserError
from core.spec.study.machines import ANY, HERE
from sdgui.panels.study.ending import StudyEnding
from sdgui.runs.machines.hosts import Hosts
from sdgui.runs.study_status import StudySnapshot
from sdgui.store.studies import StudyRecord
from sdgui.widgets.formats import count
from sdgui.widgets.icon_button import IconButton
from sdgui.widgets.layouts.boxes import hbox
from sdgui.widgets.plain_text import plain_tip
from sdgui.widgets.still_boxes import StillComboBox
from sdgui.widgets.style.theme import set_role, theme


class StudyToolbar(QWidget):
    """One row."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.box = StillComboBox(self)
        self.box.setAccessibleName("Study")
        self.box.setToolTip("Current study")
        self.box.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        self.box.setMinimumContentsLength(8)
        keeps = self.box.sizePolicy()
        keeps.setRetainSizeWhenHidden(True)  # the buttons stay where they are
        self.box.setSizePolicy(keeps)
        self.new, self.open_button = QPushButton("New…", self), QPushButton("&Open…", self)
        self.begin, self.pause, self.stop = (QPushButton(text, self) for text in ("&Start", "Pa&use", "Sto&p"))
        self.machines = MachinesButton(self)
        self.export = QPushButton("E&xport", self)
        self.more = IconButton("ph.plus", "Add seeds or arms to this study; finished runs are kept", parent=self)
        self.folder = IconButton("ph.folder-open", "Show the study's folder", parent=self)
        self.bin = IconButton("ph.trash", "Move the study to the bin; its folder is kept", parent=self)
        self._build()

    def _build(self) -> None:
        set_role(self.begin, "primary")
        for button, tip in (
            (self.new, "Create a study from presets and experiments (Ctrl+Shift+N)"),
            (self.open_button, "Open a bundled study, a study file, or a study folder"),
            (self.begin, "Start or continue the study; failed runs are retried"),
            (self.pause, "Active runs save a checkpoint and end; Resume continues from it"),
            (self.stop, "Like Pause; if the study has not ended after a while, Kill ends it at once"),
            (self.export, "Results as Markdown, CSV or JSON, and the plot; Ctrl+C copies the table"),
        ):
            button.setToolTip(plain_tip(tip))
        self.new.setShortcut("Ctrl+Shift+N")
        row = hbox((self.box, 1), into=self)
        small = (self.more, self.folder, self.bin)
        for widget in (
            self.machines,
            self.begin,
            self.pause,
            self.stop,
            self.export,
            *small,
            self.new,
            self.open_button,
        ):
            row.addWidget(widget)

    def show_studies(self, studies: Sequence[StudyRecord]) -> None:
        """List these, the newest first."""
        self.box.clear()
        for study in reversed(studies):
            self.box.addItem(study.name, study.id)
            self.box.setItemData(self.box.count() - 1, plain_tip(str(study.folder)), Qt.ItemDataRole.ToolTipRole)

    def choose(self, study_id: int | None) -> None:
        """Select a study in the box; no signal is emitted."""
        self.box.setCurrentIndex(self.box.findData(study_id))

    def show_state(
        self, study: StudyRecord | None, look: StudySnapshot | None, editing: bool, ending: StudyEnding
    ) -> None:
        """Enable the buttons that apply to ``study``; none without a study, or while a form is filled in."""
        actions = (self.machines, self.begin, self.pause, self.stop, self.export)
        for widget in (*actions, self.more, self.folder, self.bin):
            widget.setVisible(study is not None and not editing)
        self.box.setVisible(study is not None)
        self.new.setVisible(not editing)
        self.open_button.setVisible(not editing)
        state = look.state if look is not None else "gone"
        is_ready = look is not None and look.study is not None and not editing
        alive = look is not None and look.alive
        study_id = study.id if study is not None else None
        is_ending, kills = ending.is_ending(study_id), ending.overdue(study_id)
        self.box.setEnabled(not editing)
        self.begin.setText("&Start" if state in ("not started", "gone", "grown") else "Re&sume")
        self.begin.setEnabled(is_ready and not alive and state != "done")
        if self.begin.isVisibleTo(self):  # one takes the other's place, so that the row fits beside the tree
            self.begin.setVisible(not alive)
            self.pause.setVisible(alive)
        self.machines.setEnabled(is_ready and not alive)
        self.machines.show_chosen(look.on if look is not None else ())
        self.pause.setEnabled(is_ready and alive and not is_ending)
        self.stop.setEnabled(is_ready and alive and (kills or not is_ending))
        self.stop.setText("&Kill" if kills else "Sto&p")
        self.export.setEnabled(is_ready and look is not None and look.results is not None)
        self.folder.setEnabled(study is not None and not editing)
        self.bin.setEnabled(self.folder.isEnabled() and not alive)
        is_sweep = look is not None and look.is_sweep
        self.more.set_tip("Extend the sweep" if is_sweep else "Add seeds or arms to this study; finished runs are kept")
        self.more.setEnabled(is_ready and (is_sweep or not alive))


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
        self._add("Any free machine", ANY)
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
        """*Any* excludes the others; with nothing ticked it is this computer."""
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
