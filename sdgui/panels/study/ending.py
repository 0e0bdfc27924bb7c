"""Studies that were asked to pause or stop, and when: only one still running a while later may be killed.

Flow: Study's buttons -> ``ask`` -> a thread -> ``StudyPrograms.ask_to_end``; the buttons show what can be done next.
"""

from __future__ import annotations

from functools import partial
from typing import Literal

from PySide6.QtCore import QObject, QTimer, Signal

from sdgui.runs.study_programs import StudyPrograms
from sdgui.shared.background_tasks import BackgroundTasks

EndRequest = Literal["pause", "stop", "kill"]

KILL_AFTER = 20.0  # seconds that the runs have to save and end


class StudyEnding(QObject):
    """Sends the requests, and remembers when."""

    refused = Signal(str)  # a study could not be asked, with the reason; it may be asked again
    became_overdue = Signal()  # a study that was asked may be killed now, if it is still at work

    def __init__(self, programs: StudyPrograms, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._programs = programs
        self._tasks = BackgroundTasks(self)
        self._asked: dict[int, QTimer] = {}  # study id -> what tells that it is overdue

    def ask(self, study_id: int, what: EndRequest) -> None:
        """Pause, stop or kill the study's program."""
        if what != "kill":
            self.forget(study_id)
            timer = self._asked[study_id] = QTimer(self, singleShot=True)
            timer.timeout.connect(self.became_overdue)
            timer.start(round(1000 * KILL_AFTER))
        programs = self._programs
        self._tasks.run(lambda: programs.ask_to_end(study_id, what), None, partial(self._refused, study_id))

    def asked(self, study_id: int | None) -> bool:
        """Whether the study was asked to end, and not ``forget`` since."""
        return study_id in self._asked

    def overdue(self, study_id: int | None) -> bool:
        """Whether it was asked so long ago that it may be killed."""
        timer = self._asked.get(study_id or 0)
        return timer is not None and not timer.isActive()

    def forget(self, study_id: int | None) -> None:
        """The study has ended, or the request was withdrawn."""
        timer = self._asked.pop(study_id or 0, None)
        if timer is not None:
            timer.stop()
            timer.deleteLater()

    def _refused(self, study_id: int, sentence: str) -> None:
        self.forget(study_id)
        self.refused.emit(sentence)
