"""Time travel in Classify: the confusion matrix of the shown result at every kept checkpoint of its run.

Flow: a result is shown -> the steps of its run -> slider -> the same evaluation of that step, in one worker for all
steps -> the matrix. Results of steps are held while their run is looked at, and not listed.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

from PySide6.QtCore import QObject

from core.spec.run.folder import RunDir
from sdgui.panels.classify.model import Measure, Measured
from sdgui.panels.classify.view import ClassifyView
from sdgui.panels.classify.work import ClassifySession
from sdgui.runs.models import run_facts
from sdgui.shared.background_tasks import BackgroundTasks
from sdgui.shared.time_travel import TimeTravel, nearest_step
from sdgui.widgets.message import error
from sdgui.worker.replies import Cancelled, Failure

_NO_STEPS = ("saved",)  # a probe of other features would be compared
_HELD = 200  # results of steps


class ClassifyTravel(QObject):
    """Controls the slider below the matrix; ``shown`` is the result that the matrix shows."""

    def __init__(self, travel: TimeTravel, view: ClassifyView, session: ClassifySession) -> None:
        super().__init__(view)
        self._travel, self._view, self._session = travel, view, session
        self._tasks = BackgroundTasks(self)
        self._found: Measured | None = None  # in the list
        self._own = 0  # the step that it is of
        self._run: Path | None = None
        self._held: dict[Measure, Measured] = {}
        self.shown: Measured | None = None
        view.stepped.connect(self._moved)
        travel.moved.connect(self._moved_elsewhere)

    def follow(self, found: Measured | None) -> None:
        """Another result is shown: offer the steps of its run, from the one that it is of."""
        self._session.drop("step")
        self._found = self.shown = found
        self._run = None
        if found is None:
            return
        self._view.matrix.time.set_busy(False)  # whoever waited for a step is not told any more
        folder, at, which = found.measure.target.model.rpartition("@")
        if not at or found.measure.method in _NO_STEPS:
            self._view.matrix.offer_steps((), 0)
            return

        def offer(steps: tuple[int, ...], own: int) -> None:
            if self._found is not found:
                return
            self._run, self._own = (Path(folder), own) if len(steps) > 1 else (None, 0)
            self._view.matrix.offer_steps(steps if self._run is not None else (), own)

        self._tasks.run(partial(_steps_of, Path(folder), which), lambda told: offer(*told))

    def _moved(self, step: int) -> None:
        if self._run is not None:
            self._go(step)
            self._travel.go(self._run, step)

    def _moved_elsewhere(self, run: Path, step: int) -> None:
        """Another panel looks at a step of this run."""
        slider = self._view.matrix.time
        if run == self._run and slider.steps and slider.step() != nearest_step(slider.steps, step):
            slider.set_steps(slider.steps, step)
            if self._view.isVisible():
                self._go(slider.step())

    def _go(self, step: int) -> None:
        found = self._found
        if found is None or self._run is None:
            return
        self._session.drop("step")
        if step == self._own:
            self._show(found, step)
            return
        measure = found.measure.other(model=f"{self._run}@{step}")
        if measure in self._held:
            self._show(self._held[measure], step)
            return
        slider = self._view.matrix.time

        def done(stepped: Measured) -> None:
            slider.set_busy(False)
            self._held = dict([*self._held.items(), (measure, stepped)][-_HELD:])
            self._show(stepped, step)

        def failed(failure: Failure) -> None:
            slider.set_busy(False)
            slider.play.setChecked(False)
            if not isinstance(failure, Cancelled):
                self._view.bar.show_message(error(failure.text, failure.details))

        slider.set_busy(True)
        self._session.measure_step(measure, str(self._run), done, failed)

    def _show(self, found: Measured, step: int) -> None:
        self._view.matrix.time.set_busy(False)
        self.shown = found
        self._view.matrix.show_step(found, step, step == self._own)


def _steps_of(run: Path, which: str) -> tuple[tuple[int, ...], int]:
    """The steps that are kept, ascending, and the one that ``which`` stands for."""
    facts = run_facts(RunDir(run))
    own = (
        facts.last if which == "last" else facts.best if which == "best" else int(which) if which.isdecimal() else None
    )
    return tuple(sorted(facts.steps)), own or 0
