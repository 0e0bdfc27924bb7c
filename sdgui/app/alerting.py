"""Alerts: a thread watches active runs; alerts appear in the message bar and as desktop notifications.

Flow: the active runs of the store and the follower -> ``core.spec.alerts`` reads their folders -> ``Alerts.alerted`` ->
``Alerting``.
"""

from __future__ import annotations

import html
import queue
import shutil
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from PySide6.QtCore import QObject, QProcess, Qt, QTimer, Signal
from PySide6.QtWidgets import QApplication, QSystemTrayIcon, QWidget

from core.spec.alerts.sending import send
from core.spec.alerts.watching import POLL_SECONDS, RunAlert, Watcher
from core.spec.run.status import RunState
from sdgui.runs.follower import Follower
from sdgui.runs.poller import Poller
from sdgui.shared.services import Services
from sdgui.store.records import Run, StoreError, StoreUnavailableError
from sdgui.store.store import Store
from sdgui.widgets.message import Remedy, ShowMessage, warning
from sdgui.widgets.style.theme import theme

_START_MS = 1000  # delay between opening the window and watching runs


class Alerts(QObject):
    """Watches the runs of this home, local or mirrored. Other people's runs alert their owners."""

    alerted = Signal(int, object)  # run id, RunAlert
    trouble = Signal(str)  # a run cannot be watched, or an alert cannot be sent

    def __init__(self, store: Store, follower: Follower, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._store, self._watcher = store, Watcher(store.home)
        self._started: queue.SimpleQueue[int] = queue.SimpleQueue()
        self._ids: dict[Path, int] = {}
        self._attached = False
        self._poller = Poller("alerts", "The runs' alerts", self._poll, self.trouble.emit)
        follower.state_changed.connect(self._on_state_changed)

    def start(self) -> None:
        """Start watching active runs, including runs that start later."""
        self._poller.begin()

    def close(self) -> None:
        self._poller.stop()

    def _on_state_changed(self, run_id: int, state: RunState) -> None:
        if state is not RunState.QUEUED:
            self._started.put(run_id)

    def _poll(self) -> float:
        if not self._attached:
            for run in self._store.runs():
                if run.state.alive:
                    self._watch(run)
            self._attached = True
        while not self._started.empty():
            run_id = self._started.get()
            try:
                self._watch(self._store.run(run_id))
            except StoreUnavailableError:
                self._started.put(run_id)  # the next poll tries again
                break
            except StoreError:  # deleted in the meantime
                pass
        for alert in self._watcher.poll():
            self.alerted.emit(self._ids[alert.run.path], alert)
            threading.Thread(target=self._send, args=(alert,), name="alert", daemon=True).start()
        while self._watcher.problems:
            self.trouble.emit(self._watcher.problems.pop())
        return POLL_SECONDS

    def _watch(self, run: Run) -> None:
        if run.is_own:
            self._ids[run.folder] = run.id
            self._watcher.add(run.dir)

    def _send(self, alert: RunAlert) -> None:
        with suppress(RuntimeError):  # the window has been deleted
            for failure in send(alert):
                self.trouble.emit(failure)


class Alerting(QObject):
    """Shows alerts, from the start of the window until ``close``."""

    def __init__(
        self, services: Services, show: ShowMessage, name: Callable[[int], str], open_run: Callable[[int], object],
        is_on_screen: Callable[[int], bool], window: QWidget,
    ) -> None:  # fmt: skip
        """``name``: returns the name of a run as shown in the tree. ``is_on_screen``: Runs shows this run."""
        super().__init__(window)
        self._show, self._name, self._open_run, self._window = show, name, open_run, window
        self._is_on_screen = is_on_screen
        self.alerts = Alerts(services.store, services.follower, self)
        self._tray: QSystemTrayIcon | None = None
        self.alerts.alerted.connect(self._on_alerted, Qt.ConnectionType.QueuedConnection)
        self.alerts.trouble.connect(self._warn, Qt.ConnectionType.QueuedConnection)
        QTimer.singleShot(_START_MS, self, self.alerts.start)

    def close(self) -> None:
        self.alerts.close()
        if self._tray is not None:
            self._tray.hide()

    def _warn(self, sentence: str) -> None:
        self._show(warning(sentence))

    def _on_alerted(self, run_id: int, alert: RunAlert) -> None:
        text = f"{self._name(run_id)} {alert.alert.text}."
        is_reported = alert.alert.cause == "failed" and self._is_on_screen(run_id)  # Runs shows the reason
        if alert.alert.cause != "ended" and not is_reported:  # finished runs are always reported by the window
            self._show(warning(text, remedy=Remedy("Show run", lambda: self._open_run(run_id))))
        if alert.rules.desktop and QApplication.applicationState() != Qt.ApplicationState.ApplicationActive:
            self._notify(text)

    def _restyle(self) -> None:
        if self._tray is not None:
            self._tray.setIcon(theme().icon("ph.bell"))

    def _notify(self, text: str) -> None:
        """Notify by the system tray, or otherwise by ``notify-send``; a desktop without both shows nothing."""
        if sys.platform not in ("win32", "darwin"):  # the other desktops read markup
            text = html.escape(text, quote=False)
        if QSystemTrayIcon.isSystemTrayAvailable() and QSystemTrayIcon.supportsMessages():
            if self._tray is None:
                self._tray = QSystemTrayIcon(theme().icon("ph.bell"), self)
                theme().changed.connect(self._restyle)
                self._tray.messageClicked.connect(self._window.activateWindow)
                self._tray.show()
            self._tray.showMessage("sdgui", text)
        elif (program := shutil.which("notify-send")) is not None:
            QProcess.startDetached(program, ["--app-name=sdgui", "--", "sdgui", text])
