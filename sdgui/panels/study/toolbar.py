"""The Study panel's toolbar: the choice of a study, and buttons for actions on the study.

Flow: ``StudyPanel`` connects the buttons; ``show_state`` enables the buttons that apply in the study's state.
"""

from __future__ import annotations

from collections.abc import Sequence

from PySide6.QtCore import Qt, Signal
from PySide6.QtGui import QAction, QKeySequence, QMouseEvent, QShortcut
from PySide6.QtWidgets import QComboBox, QMenu, QPushButton, QWidget

from core.spec.errors import UserError
from core.spec.study.machines import ANY_MACHINE, THIS_COMPUTER
from sdgui.panels.study.ending import StudyEnding
from sdgui.runs.machines.hosts import Hosts
from sdgui.runs.study_status import StudySnapshot
from sdgui.store.studies import StudyRecord
from sdgui.widgets.formats import count
from sdgui.widgets.icon_button import IconButton
from sdgui.widgets.input_boxes import NoWheelComboBox
from sdgui.widgets.layouts.boxes import hbox
from sdgui.widgets.plain_text import plain_tip
from sdgui.widgets.style.theme import set_role, theme

NEW_STUDY_SHORTCUT = "Ctrl+Shift+N"
_EXTEND_TIP = "Add seeds or arms to this study; finished runs are kept"


class StudyToolbar(QWidget):
    """The toolbar in one row."""

    def __init__(self, hosts: Hosts, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.box = NoWheelComboBox(self)
        self.box.setAccessibleName("Study")
        self.box.setToolTip("Current study")
        self.box.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        self.box.setMinimumContentsLength(8)
        policy = self.box.sizePolicy()
        policy.setRetainSizeWhenHidden(True)  # so that the buttons do not move
        self.box.setSizePolicy(policy)
        self.new, self.open_button = QPushButton("New…", self), QPushButton("&Open…", self)
        self.start, self.pause, self.stop = (QPushButton(text, self) for text in ("&Start", "Pa&use", "Sto&p"))
        self.machines = MachinesButton(hosts, self)
        self.export = QPushButton("E&xport", self)
        self.extend = IconButton("ph.plus", _EXTEND_TIP, parent=self)
        self.folder = IconButton("ph.folder-open", "Show the study's folder", parent=self)
        self.delete = IconButton("ph.trash", "Move the study to the bin; its folder is kept", parent=self)
        self._build()

    def _build(self) -> None:
        set_role(self.start, "primary")
        for button, tip in (
            (self.new, f"Create a study from presets and experiments ({NEW_STUDY_SHORTCUT})"),
            (self.open_button, "Open a bundled study, a study file, or a study folder"),
            (self.start, "Start or continue the study; failed runs are retried"),
            (self.pause, "Save a checkpoint of each active run and end it; Resume continues from the checkpoint"),
            (self.stop, "Like Pause, but if the study does not end, it can be killed after a while"),
            (self.export, "Export the results as Markdown, CSV or JSON"),
        ):
            button.setToolTip(plain_tip(tip))
        # not the button's own shortcut, which would be off while the empty page has the button instead
        QShortcut(QKeySequence(NEW_STUDY_SHORTCUT), self).activated.connect(self.new.click)
        actions = (self.machines, self.start, self.pause, self.stop, self.export, self.extend, self.folder, self.delete)
        hbox((self.box, 1), *actions, self.new, self.open_button, into=self)

    def show_studies(self, studies: Sequence[StudyRecord]) -> None:
        """List the studies, newest first."""
        self.box.clear()
        for study in reversed(studies):
            self.box.addItem(study.name, study.id)
            self.box.setItemData(self.box.count() - 1, plain_tip(str(study.folder)), Qt.ItemDataRole.ToolTipRole)

    def choose(self, study_id: int | None) -> None:
        """Select a study in the box without emitting a signal."""
        self.box.setCurrentIndex(self.box.findData(study_id))

    def show_state(
        self, study: StudyRecord | None, snapshot: StudySnapshot | None, editing: bool, ending: StudyEnding
    ) -> None:
        """Enable the buttons that apply to ``study``; none if there is no study or a form is open."""
        actions = (self.machines, self.start, self.pause, self.stop, self.export)
        for widget in (*actions, self.extend, self.folder, self.delete):
            widget.setVisible(study is not None and not editing)
        self.box.setVisible(study is not None)
        self.new.setVisible(not editing and study is not None)
        self.new.setEnabled(not editing)
        self.open_button.setVisible(not editing)
        state = snapshot.state if snapshot is not None else "gone"
        is_ready = snapshot is not None and snapshot.study is not None and not editing
        alive = snapshot is not None and snapshot.alive
        study_id = study.id if study is not None else None
        is_ending, can_kill = ending.is_ending(study_id), ending.can_kill(study_id)
        self.box.setEnabled(not editing)
        self.start.setText("&Start" if state in ("not started", "gone", "extended") else "Re&sume")
        self.start.setEnabled(is_ready and not alive and state != "done")
        if self.start.isVisibleTo(self):  # either Start or Pause is shown, so that the row fits next to the tree
            self.start.setVisible(not alive)
            self.pause.setVisible(alive)
        self.machines.setEnabled(is_ready and not alive)
        self.machines.show_chosen(snapshot.machines if snapshot is not None else ())
        self.pause.setEnabled(is_ready and alive and not is_ending)
        self.stop.setEnabled(is_ready and alive and (can_kill or not is_ending))
        self.stop.setText("&Kill" if can_kill else "Sto&p")
        self.export.setEnabled(is_ready and snapshot is not None and snapshot.results is not None)
        self.folder.setEnabled(study is not None and not editing)
        self.delete.setEnabled(self.folder.isEnabled() and not alive)
        is_sweep = snapshot is not None and snapshot.is_sweep
        self.extend.set_tip("Add trials to this sweep" if is_sweep else _EXTEND_TIP)
        self.extend.setEnabled(is_ready and (is_sweep or not alive))


_MAX_NAME_LENGTH = 20  # of a machine's name


class MachinesButton(QPushButton):
    """A button that chooses the machines; its text is, for example, ``This computer`` or ``3 machines``."""

    machines_chosen = Signal(object)  # list[str]: names of machines, THIS_COMPUTER and ANY_MACHINE

    def __init__(self, hosts: Hosts, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._hosts = hosts  # lists the machines
        self._chosen_names: list[str] = [THIS_COMPUTER]
        set_role(self, "flat")
        self.machines = _StaysOpen(self)
        self.machines.aboutToShow.connect(self.fill)
        self.setMenu(self.machines)
        theme().changed.connect(self._show)
        self._show()

    def show_chosen(self, names: Sequence[str]) -> None:
        """Show the chosen machines; [] stands for this computer."""
        if list(names or [THIS_COMPUTER]) != self._chosen_names:
            self._chosen_names = list(names or [THIS_COMPUTER])
            self._show()

    def fill(self) -> None:
        """Fill the menu: this computer, each listed machine, and any free machine."""
        self.machines.clear()
        names: list[str] = []
        try:
            names = [machine.name for machine in self._hosts.listing() if not machine.is_local]
        except UserError as error:
            self.machines.addAction(str(error)).setEnabled(False)
        for title, name in ((_title(THIS_COMPUTER), THIS_COMPUTER), *((name, name) for name in names)):
            self._add(title, name)
        self.machines.addSeparator()
        self._add("Any free machine", ANY_MACHINE)
        if not names:
            self.machines.addAction("Add machines in Machines (Ctrl+4)").setEnabled(False)

    def _add(self, title: str, name: str) -> None:
        action = QAction(title.replace("&", "&&"), self.machines)
        action.setCheckable(True)
        action.setChecked(name in self._chosen_names)
        action.triggered.connect(lambda checked: self._tick(name, checked))
        action.setData(name)
        self.machines.addAction(action)

    def _tick(self, name: str, checked: bool) -> None:
        """Handle a tick: *Any free machine* excludes the others; without ticks, this computer is chosen."""
        if name == ANY_MACHINE:
            names = [ANY_MACHINE] if checked else [THIS_COMPUTER]
        else:
            names = [other for other in self._chosen_names if other not in (name, ANY_MACHINE)] + (
                [name] if checked else []
            )
        self._chosen_names = names or [THIS_COMPUTER]
        for action in self.machines.actions():
            action.setChecked(action.data() in self._chosen_names)
        self._show()
        self.machines_chosen.emit(list(self._chosen_names))

    def _show(self) -> None:
        titles = [_title(name) for name in self._chosen_names]
        names = ", ".join(titles)
        text = titles[0] if len(titles) == 1 else f"{count(len(titles))} machines"
        text = text if len(text) <= _MAX_NAME_LENGTH else text[: _MAX_NAME_LENGTH - 1] + "…"
        self.setText(text.replace("&", "&&"))
        self.setIcon(
            theme().icon("ph.laptop" if self._chosen_names == [THIS_COMPUTER] else "ph.hard-drives", "accent_text")
        )
        self.setToolTip(plain_tip(f"The study's runs train on: {names}. Each run uses the first free device"))
        self.setAccessibleName(f"Machines of the study: {names}")


class _StaysOpen(QMenu):
    """A menu that stays open, so that several machines can be ticked."""

    def mouseReleaseEvent(self, event: QMouseEvent) -> None:
        action = self.activeAction()
        if action is not None and action.isCheckable() and action.isEnabled():
            action.trigger()
            return
        super().mouseReleaseEvent(event)


def _title(name: str) -> str:
    return {THIS_COMPUTER: "This computer", ANY_MACHINE: "Any machine"}.get(name, name)
