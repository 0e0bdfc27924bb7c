"""Shows the connection of a remote run, and the progress of fetching a checkpoint.

Flow: ``Hosts.state_changed`` and ``Hosts.fetches`` -> a line of text and a progress strip, hidden for runs of
this computer.
"""

from __future__ import annotations

from PySide6.QtWidgets import QWidget

from core.spec.machines.connection import ConnectionState
from sdgui.runs.machines.hosts import Hosts
from sdgui.store.records import Run
from sdgui.widgets.formats import duration
from sdgui.widgets.layouts.boxes import vbox
from sdgui.widgets.plain_text import PlainLabel
from sdgui.widgets.progress_strip import ProgressStrip

_MIB = 1 << 20


class RemoteStrip(QWidget):
    """The strip of one run; hidden while the machine is connected and nothing is fetched."""

    def __init__(self, hosts: Hosts, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._hosts = hosts
        self._run: Run | None = None
        self._colleague_reasons: dict[int, str] = {}  # colleagues' runs: why their curves are missing
        self.line = PlainLabel(self, role="muted", wordWrap=True)
        self.line.hide()
        self.strip = ProgressStrip(self)
        vbox(self.line, self.strip, into=self)
        hosts.state_changed.connect(self._on_state_changed)
        hosts.colleagues.status_changed.connect(self._on_status_changed)
        hosts.fetches.progressed.connect(self._on_progressed)
        hosts.fetches.fetched.connect(lambda run_id, _folder: self._on_fetch_ended(run_id))
        hosts.fetches.failed.connect(lambda run_id, _sentence: self._on_fetch_ended(run_id))
        self.strip.cancelled.connect(self._cancel)

    def show_run(self, run: Run | None) -> None:
        if run is not None and self._run is not None and run.id == self._run.id:
            return
        self._run = run
        self.strip.finish()
        if run is None or (run.is_local and not run.machine):  # trains on this computer
            self.line.hide()
        elif not run.is_local:  # a colleague's run
            self._show_text(self._colleague_reasons.get(run.id, "Finding the machine that has the curves of this run…"))
        else:  # started from this computer on another machine
            self._show_state(self._hosts.state(run.machine))

    def _on_state_changed(self, name: str, state: ConnectionState) -> None:
        if self._run is not None and self._run.is_local and self._run.machine == name:
            self._show_state(state)

    def _show_state(self, state: ConnectionState) -> None:
        name = self._run.machine if self._run is not None else ""
        texts = {
            "waiting": f"{state.message} Retrying in {duration(state.retry or 0)}; no data is lost.",
            "connecting": f"Connecting to {name}…",
            "refused": state.message,
        }
        self._show_text(texts.get(state.kind, ""))

    def _on_status_changed(self, run_id: int, sentence: str) -> None:
        self._colleague_reasons[run_id] = sentence
        if self._run is not None and self._run.id == run_id:
            self._show_text(sentence)

    def _show_text(self, text: str) -> None:
        self.line.setText(text)
        self.line.setVisible(bool(text))

    def _on_progressed(self, run_id: int, fetched_bytes: int, total_bytes: int) -> None:
        if self._run is None or self._run.id != run_id:
            return
        if self.strip.isHidden():
            self.strip.start("Fetching a checkpoint", total_bytes / _MIB, "MB")
        self.strip.advance(fetched_bytes / _MIB, total_bytes / _MIB)

    def _on_fetch_ended(self, run_id: int) -> None:
        if self._run is not None and self._run.id == run_id:
            self.strip.finish()

    def _cancel(self) -> None:
        if self._run is not None:
            self._hosts.fetches.cancel(self._run.id)
