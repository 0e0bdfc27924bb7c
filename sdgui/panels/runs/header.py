"""The header of Runs: name, progress and buttons of the current run."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from PySide6.QtCore import QSize
from PySide6.QtGui import QAction
from PySide6.QtWidgets import QWidget

from core.spec.run.events import RunStarted
from core.spec.run.status import RunState
from sdgui.runs.live import RunProgress
from sdgui.runs.stopping import Stopping
from sdgui.shared.run_texts import best_tip, state_line, stop_text, time_text
from sdgui.store.records import Run
from sdgui.widgets.actions import ActionButton, Actions
from sdgui.widgets.elided_label import ElidedLabel
from sdgui.widgets.formats import count
from sdgui.widgets.layouts.boxes import hbox, vbox
from sdgui.widgets.plain_text import PlainLabel, plain_tip
from sdgui.widgets.style.theme import theme

_ICON_SIZE = 20  # px
_RELATIONS = {"continue": "continued from", "fork": "forked at", "fine-tune": "fine-tuned from"}


class RunHeader(QWidget):
    """Icon, name, status line and buttons; the buttons trigger the window's actions."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.icon = PlainLabel(self)
        self.title = ElidedLabel("", self, role="title")
        self.line = ElidedLabel("", self, role="muted")
        self.stopping = PlainLabel(self, role="muted")
        self._state = ""
        texts = vbox(self.title, self.line, spacing=0)
        self._row = hbox(self.icon, (texts, 1), self.stopping, into=self)
        theme().changed.connect(self._restyle)

    def set_actions(self, actions: Actions) -> None:
        """Add buttons for the actions on a run; disabled ones are hidden.

        While a run is stopping, *Stop* stays visible but disabled, so that a second click does not kill the run.
        """
        for name in ("end_now", "pause", "resume", "stop", "use_search"):
            shown_for = [actions[name], actions["end_now"]] if name == "stop" else [actions[name]]
            button = ActionButton(actions[name], self)
            show = partial(_show_for, button, shown_for)
            for action in shown_for:
                action.enabledChanged.connect(show)
            show()
            self._row.addWidget(button)

    def show_run(
        self,
        name: str,
        run: Run,
        progress: RunProgress | None,
        start: RunStarted | None,
        stopping: Stopping | None,
    ) -> None:
        """Show the current state of the run."""
        state = progress.state if progress else run.state
        if str(state) != self._state:
            self._state = str(state)
            self._restyle()
        self.title.setText(name)
        self.line.setText(status_line(run, progress, start))
        self.line.setToolTip(
            plain_tip(f"{self.line.text()}\n{best_tip(progress.best if progress else run.best)}\n{run.folder}")
        )
        sentence = stop_text(stopping)[1] if state.alive else ""
        self.stopping.setText(sentence)
        self.stopping.setVisible(bool(sentence))
        self.setAccessibleName(f"{name}: {self.line.text()}")

    def show_none(self) -> None:
        """Show that no run is selected."""
        self._state = ""
        self.icon.clear()
        self.icon.setToolTip("")
        self.title.setText("No run selected")
        self.line.setText("Select a run to see its state.")
        self.line.setToolTip("")
        self.stopping.hide()
        self.setAccessibleName(self.title.text())

    def _restyle(self) -> None:
        if self._state:
            self.icon.setPixmap(theme().state_icon(self._state).pixmap(QSize(_ICON_SIZE, _ICON_SIZE)))
            self.icon.setToolTip(plain_tip(theme().state_text(self._state)))


def _show_for(button: ActionButton, actions: Sequence[QAction], *_enabled: bool) -> None:
    button.setVisible(any(action.isEnabled() for action in actions))


def status_line(run: Run, progress: RunProgress | None, start: RunStarted | None) -> str:
    """``Running · step 240 of 600 · 40 % · 15 min left · cuda:0 · bf16 · 1.2 M parameters``, without unknown parts."""
    state = progress.state if progress else run.state
    parts = [state_line(run, progress), time_text(run, progress)]
    if state == RunState.QUEUED and run.queue_position is not None:
        parts.append("queued after other runs")
    if start is not None:
        kind, step = start.parent.get("kind"), start.parent.get("step")
        if isinstance(kind, str) and kind in _RELATIONS and type(step) is int:
            parts.append(f"{_RELATIONS[kind]} step {count(step)}")
        parts += [start.device, start.precision]
        parts.append(f"{count(start.parameters)} parameters" if start.parameters else "")
        parts.append(f"{count(start.pairs)} pairs" if start.pairs else "")
    return " · ".join(part for part in parts if part)
