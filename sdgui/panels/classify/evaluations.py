"""Long requests of the Classify panel: evaluations in sequence, few-shot curves, comparisons.

Flow: ``ClassifyView`` asks -> ``ClassifySession`` -> a worker, with progress and cancelling -> results, curves and
differences in the view. One request runs at a time; the message bar shows failures.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from PySide6.QtCore import QObject

from core.spec.run.model_names import tuned_name
from sdgui.panels.classify.model import Evaluation, EvaluationResult, method_title
from sdgui.panels.classify.view import ClassifyView
from sdgui.panels.classify.work import ClassifySession
from sdgui.shared.failures import failure_message
from sdgui.shared.pickers.entries import ModelChoice
from sdgui.widgets.formats import capitalize
from sdgui.widgets.message import ShowMessage, error, info, warning
from sdgui.worker.replies import Cancelled, Failure

_LONG = ("evaluate", "interpolated", "compare", "few-shot", "probe", "apply")  # requests with a progress strip
CANCELLED = "Cancelled. Features encoded so far are kept and reused next time."


class Evaluations(QObject):
    """Evaluates the selected model and data, with one method or all methods."""

    def __init__(self, view: ClassifyView, session: ClassifySession, show_message: ShowMessage) -> None:
        super().__init__(view)
        self._view, self._session, self._show_message = view, session, show_message
        self._queue: list[Evaluation] = []  # evaluations that have not started yet
        self._total = 0  # number of evaluations that were started together
        self._failures: list[tuple[Evaluation, Failure]] = []  # of these evaluations
        self._awaited: ModelChoice | None = None  # interpolated weights that were chosen during an evaluation
        session.working.connect(self._show_progress)
        view.source.run_requested.connect(self.run)
        view.strip.cancelled.connect(self._cancel)
        view.few_shot_requested.connect(self._few_shot)
        view.compare_requested.connect(self._compare)
        view.evaluation_requested.connect(self._evaluate_and_compare)

    def set_busy(self, activity: str) -> None:
        """Show the progress of a long request; "" hides it, unless another long request is running."""
        if activity or not any(self._session.busy(purpose) for purpose in _LONG):
            self._view.set_busy(activity)

    def run(self) -> None:
        """Evaluate the selected model and data."""
        problem = self._view.source.problem()
        if problem:
            self._show_message(error(problem))
            return
        if self._session.busy("evaluate"):
            return
        self._view.bar.clear()
        self._view.source.save()
        self.start(self._view.source.evaluations())

    def start(self, evaluations: Sequence[Evaluation]) -> None:
        """Compute ``evaluations`` one after another."""
        self._queue, self._total, self._failures, self._awaited = list(evaluations), len(evaluations), [], None
        self._evaluate_next()

    def follow_interpolation(self, choice: ModelChoice) -> None:
        """Evaluate the shown result again with the interpolated weights ``choice``.

        Ignored if the result is from another model. A result of other interpolated weights is replaced. Waits for the
        end of a running evaluation.
        """
        if self._session.busy("evaluate"):
            self._awaited = choice
            return
        results, shown = self._view.results, self._view.results.current()
        if shown is None or shown.evaluation.method == "saved":
            return
        target = shown.evaluation.target
        if (tuned_name(target.model), target.weights) != (tuned_name(choice.model), choice.network):
            return
        evaluation = shown.evaluation.with_target(model=choice.model, title=choice.title)
        previous = shown if tuned_name(target.model) != target.model else None
        self._session.drop("interpolated")
        if (known := results.result_of(evaluation)) is not None:
            results.add(known, previous=previous)
            self.set_busy("")
            return

        def done(result: EvaluationResult) -> None:
            self.set_busy("")
            results.add(result, previous=previous)

        self._show_start(evaluation)
        self._session.evaluate(evaluation, done, self.failed, "interpolated")

    def _evaluate_next(self) -> None:
        if not self._queue:
            self.set_busy("")
            self._report_failures()
            self._follow_awaited()
            return
        evaluation = self._queue.pop(0)
        self._show_start(evaluation)
        self._session.evaluate(evaluation, self._add_result, lambda failure: self._handle_failure(evaluation, failure))

    def _show_start(self, evaluation: Evaluation) -> None:
        self.set_busy(f"{method_title(evaluation)}: opening the model")

    def _add_result(self, result: EvaluationResult) -> None:
        # the user may have chosen another model or other data in the meantime
        self._view.results.add(result, show=self._view.source.matches(result.evaluation.target))
        self._evaluate_next()

    def _handle_failure(self, evaluation: Evaluation, failure: Failure) -> None:
        if isinstance(failure, Cancelled):
            self._queue, self._awaited = [], None
            self.failed(failure, self.run)
        else:  # one method may not fit the model; the others continue
            self._failures.append((evaluation, failure))
            self._evaluate_next()

    def _report_failures(self) -> None:
        if self._failures and len(self._failures) == self._total:  # such as code that is not allowed yet
            self.failed(self._failures[0][1], self.run)
        elif self._failures:
            lines = [f"{method_title(evaluation)}: {failure.text}" for evaluation, failure in self._failures]
            self._show_message(warning(lines[0], "\n".join(lines[1:])))

    def _follow_awaited(self) -> None:
        choice, self._awaited = self._awaited, None
        if choice is not None:
            self.follow_interpolation(choice)

    def _show_progress(self, purpose: str, activity: str, completed: int, total: int) -> None:
        if purpose in _LONG and not self._view.strip.isHidden():
            # the window's status bar shows it beside the progress of other panels
            self._view.strip.advance(completed, total, f"Classify: {capitalize(activity)}")

    def _cancel(self) -> None:
        for purpose in _LONG:
            self._session.cancel(purpose)

    def failed(self, failure: Failure, retry: Callable[[], object] | None = None) -> None:
        """Report that a long request has failed or was cancelled; ``retry`` repeats the request."""
        self.set_busy("")
        self._show_message(failure_message(failure, CANCELLED, retry, "Continue"))

    # Curves
    def _few_shot(self, kind: str, draws: int) -> None:
        result = self._view.results.current()
        if result is None:
            return
        target = result.evaluation.target
        evaluation = Evaluation(target, "fused" if kind == "fused" else "image", self._view.source.options.settings())

        def partial(answer: dict[str, Any]) -> None:
            self._view.curves.show_few_shot(target, kind, answer)

        def done(answer: dict[str, Any]) -> None:
            self.set_busy("")
            partial(answer)

        self.set_busy("Few-shot probes")
        self._session.few_shot(evaluation, draws, done, self.failed, partial)

    # Comparing
    def _compare(self, a: Evaluation, b: Evaluation) -> None:
        def done(answer: dict[str, Any]) -> None:
            self.set_busy("")
            self._view.compare.show_difference(a, b, answer)

        def failed(failure: Failure) -> None:
            self._view.compare.show_failure(a, b)
            self.failed(failure)

        self.set_busy("Comparing")
        self._session.compare(a, b, done, failed)

    def _evaluate_and_compare(self, evaluation: Evaluation) -> None:
        """Compute ``evaluation`` in the worker of the comparison's first result, then compare both."""
        first = self._view.compare.first()
        if first is None:
            return
        if self._session.busy("evaluate"):
            self._show_message(info("Another evaluation is running; wait for it, or cancel it first."))
            return

        def done(result: EvaluationResult) -> None:
            self.set_busy("")
            self._view.results.add(result, show=False)
            self._view.compare.choose(first, evaluation)
            self._follow_awaited()

        self._show_start(evaluation)
        self._session.evaluate(evaluation, done, self.failed, worker=self._session.worker_of(first))
