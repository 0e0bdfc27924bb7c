"""Pauses, stops and kills studies; a study can be killed if it is still running some time after the request.

Flow: Study's buttons -> ``ask`` -> a thread -> ``StudyPrograms.request_end``; the buttons show the possible next step.
"""

from __future__ import annotations

from functools import partial
from typing import Literal

from PySide6.QtCore import QObject, QTimer, Signal

from sdgui.runs.background_tasks import BackgroundTasks
from sdgui.runs.study_programs import StudyPrograms

EndRequest = Literal["pause", "stop", "kill"]

KILL_AFTER = 20.0  # seconds that the runs have to save and end


class StudyEnding(QObject):
    """Sends the requests, and remembers when."""

    refused = Signal(str)  # a study could not be asked, with the reason; another attempt is possible
    became_overdue = Signal()  # a study that was asked may be killed now, if it is still running

    def __init__(self, programs: StudyPrograms, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._programs = programs
        self._tasks = BackgroundTasks(self)
        self._kill_timers: dict[int, QTimer] = {}  # study id -> timer after which it is overdue

    def ask(self, study_id: int, request: EndRequest) -> None:
        """Pause, stop or kill the study's program."""
        if request != "kill":
            self.forget(study_id)
            timer = self._kill_timers[study_id] = QTimer(self, singleShot=True)
            timer.timeout.connect(self.became_overdue)
            timer.start(round(1000 * KILL_AFTER))
        programs = self._programs
        self._tasks.run(lambda: programs.request_end(study_id, request), None, partial(self._refused, study_id))

    def is_ending(self, study_id: int | None) -> bool:
        """Whether the study has been asked to stop, and not ``forget`` since."""
        return study_id in self._kill_timers

    def overdue(self, study_id: int | None) -> bool:
        """Whether the request is old enough for a kill to be offered."""
        timer = self._kill_timers.get(study_id or 0)
        return timer is not None and not timer.isActive()

    def forget(self, study_id: int | None) -> None:
        """The study has ended, or the request was withdrawn."""
        timer = self._kill_timers.pop(study_id or 0, None)
        if timer is not None:
            timer.stop()
            timer.deleteLater()

    def _refused(self, study_id: int, sentence: str) -> None:
        self.forget(study_id)
        self.refused.emit(sentence)
