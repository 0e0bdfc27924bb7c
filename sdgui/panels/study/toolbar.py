"""The Study panel's toolbar: which study is shown, and the buttons that act on it.

Flow: ``StudyPanel`` connects the buttons; ``show_state`` enables those that fit the study's state.
"""

from __future__ import annotations

from collections.abc import Sequence

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QComboBox, QPushButton, QWidget

from sdgui.panels.study.ending import StudyEnding
from sdgui.panels.study.machines_button import MachinesButton
from sdgui.runs.study_status import StudySnapshot
from sdgui.store.studies import StudyRecord
from sdgui.widgets.icon_button import IconButton
from sdgui.widgets.layouts.boxes import hbox
from sdgui.widgets.plain_text import plain_tip
from sdgui.widgets.still_boxes import StillComboBox
from sdgui.widgets.style.theme import set_role


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
        self.new, self.open_button = QPushButton("New …", self), QPushButton("&Open …", self)
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
        """Enable what can be done with ``study`` now; without one, or while a form is filled in, nothing is offered."""
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
        is_ending, kills = ending.asked(study_id), ending.overdue(study_id)
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
