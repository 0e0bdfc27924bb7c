"""Time travel in Classify: the confusion matrix of the shown result at every saved checkpoint of its run.

Flow: a result is shown -> the steps of its run -> slider -> the same evaluation at that step, in one worker for all
steps -> the matrix. Results of steps are cached but not listed.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

from PySide6.QtCore import QObject

from core.spec.run.folder import RunDir
from core.spec.run.model_names import run_and_checkpoint, tuned_name
from sdgui.panels.classify.model import Evaluation, EvaluationResult
from sdgui.panels.classify.view import ClassifyView
from sdgui.panels.classify.work import ClassifySession
from sdgui.runs.background_tasks import BackgroundTasks
from sdgui.runs.models import run_facts
from sdgui.shared.time_travel import TimeTravel, last_step_up_to
from sdgui.widgets.message import error
from sdgui.worker.replies import Cancelled, Failure

_NO_STEPS = ("saved",)  # methods without a slider: a saved probe was fitted on the features of one step
_CACHE_SIZE = 200  # cached results of steps


class ClassifyTravel(QObject):
    """Controls the slider below the matrix; ``shown_result`` is the result that the matrix shows."""

    def __init__(self, travel: TimeTravel, view: ClassifyView, session: ClassifySession) -> None:
        super().__init__(view)
        self._travel, self._view, self._session = travel, view, session
        self._tasks = BackgroundTasks(self)
        self._listed_result: EvaluationResult | None = None  # the result selected in the list
        self._own_step = 0  # step of the listed result
        self._shown_step = 0  # step of ``shown_result``
        self._run: Path | None = None
        self._cache: dict[Evaluation, EvaluationResult] = {}  # results of steps
        self.shown_result: EvaluationResult | None = None
        view.stepped.connect(self._follow_slider)
        travel.moved.connect(self._follow_other_panel)

    def follow(self, result: EvaluationResult | None) -> None:
        """Offer the checkpoints of the run of a newly shown result."""
        self._session.drop("step")
        self._listed_result = self.shown_result = result
        self._run = None
        if result is None:
            return
        model = result.evaluation.target.model
        folder, checkpoint = run_and_checkpoint(model)
        if not folder or tuned_name(model) != model or result.evaluation.method in _NO_STEPS:
            self._view.matrix.offer_steps((), 0)
            return

        def offer(steps: tuple[int, ...], own_step: int) -> None:
            if self._listed_result is not result:
                return
            self._run, self._own_step = (Path(folder), own_step) if len(steps) > 1 else (None, 0)
            self._shown_step = own_step
            self._view.matrix.offer_steps(steps if self._run is not None else (), own_step)

        self._tasks.run(partial(_steps_of, Path(folder), checkpoint), lambda steps_and_own: offer(*steps_and_own))

    def _follow_slider(self, step: int) -> None:
        if self._run is not None:
            self._show_step(step)
            self._travel.go(self._run, step)

    def _follow_other_panel(self, run: Path, step: int) -> None:
        """Go to the step of this run that another panel shows."""
        slider = self._view.matrix.time
        if run == self._run and slider.steps and slider.step() != last_step_up_to(slider.steps, step):
            slider.set_steps(slider.steps, step)
            if self._view.isVisible():
                self._show_step(slider.step())

    def show_slider_step(self) -> None:
        """Show the step that another panel has set while this panel was hidden."""
        slider = self._view.matrix.time
        if self._run is not None and slider.step() != self._shown_step:
            self._show_step(slider.step())

    def _show_step(self, step: int) -> None:
        result = self._listed_result
        if result is None or self._run is None:
            return
        self._session.drop("step")
        if step == self._own_step:
            self._show_result(result, step)
            return
        evaluation = result.evaluation.with_target(model=f"{self._run}@{step}")
        if evaluation in self._cache:
            self._show_result(self._cache[evaluation], step)
            return

        def done(stepped: EvaluationResult) -> None:
            self._cache = dict([*self._cache.items(), (evaluation, stepped)][-_CACHE_SIZE:])
            self._show_result(stepped, step)

        def failed(failure: Failure) -> None:
            if not isinstance(failure, Cancelled):
                self._view.bar.show_message(error(failure.text, failure.details))

        self._session.evaluate(evaluation, done, failed, "step", worker=str(self._run))

    def _show_result(self, result: EvaluationResult, step: int) -> None:
        self.shown_result, self._shown_step = result, step
        self._view.matrix.show_step(result, step, step == self._own_step)


def _steps_of(run: Path, checkpoint: str) -> tuple[tuple[int, ...], int]:
    """The saved steps in ascending order, and the step of ``checkpoint`` ("last", "best", number); 0 if unknown."""
    facts = run_facts(RunDir(run))
    number = int(checkpoint) if checkpoint.isdecimal() else 0
    step = {"last": facts.last, "best": facts.best}.get(checkpoint, number)
    return tuple(sorted(facts.steps)), step or 0
