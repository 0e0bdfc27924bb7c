"""Pauses, stops and kills studies; a study that is still running some time after a request can be killed.

Flow: the panel's buttons -> ``request`` -> ``StudyPrograms.request_end`` in a thread; then *Stop* becomes *Kill*.
"""

from __future__ import annotations

from functools import partial
from typing import Literal

from PySide6.QtCore import QObject, QTimer, Signal

from sdgui.runs.background_tasks import BackgroundTasks
from sdgui.runs.study_programs import StudyPrograms

EndRequest = Literal["pause", "stop", "kill"]

KILL_AFTER_SECONDS = 20.0  # seconds in which the runs should save and exit


class StudyEnding(QObject):
    """Sends the requests, and decides when a study may be killed."""

    refused = Signal(str)  # why a request failed; the user can try again
    kill_allowed = Signal()  # a study that is still running may be killed now

    def __init__(self, programs: StudyPrograms, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._programs = programs
        self._tasks = BackgroundTasks(self)
        self._kill_timers: dict[int, QTimer] = {}  # study id -> timer until the study may be killed

    def request(self, study_id: int, request: EndRequest) -> None:
        if request != "kill":
            self.forget(study_id)
            timer = self._kill_timers[study_id] = QTimer(self, singleShot=True)
            timer.timeout.connect(self.kill_allowed)
            timer.start(round(1000 * KILL_AFTER_SECONDS))
        programs = self._programs
        self._tasks.run(lambda: programs.request_end(study_id, request), None, partial(self._on_refused, study_id))

    def is_ending(self, study_id: int | None) -> bool:
        """Whether a request to end the study is pending."""
        return study_id in self._kill_timers

    def can_kill(self, study_id: int | None) -> bool:
        """Whether the request is old enough to offer killing the study."""
        timer = self._kill_timers.get(study_id or 0)
        return timer is not None and not timer.isActive()

    def forget(self, study_id: int | None) -> None:
        """Discard the request, because the study has ended or was resumed."""
        timer = self._kill_timers.pop(study_id or 0, None)
        if timer is not None:
            timer.stop()
            timer.deleteLater()

    def _on_refused(self, study_id: int, sentence: str) -> None:
        self.forget(study_id)
        self.refused.emit(sentence)
