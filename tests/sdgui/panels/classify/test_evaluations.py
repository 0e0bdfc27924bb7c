"""Evaluations one after another, few-shot curves and comparisons, with stand-ins for the view and the worker."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest
from PySide6.QtCore import QObject, Signal
from PySide6.QtWidgets import QWidget
from pytestqt.qtbot import QtBot

from core.spec.run.model_names import InterpolatedName
from sdgui.panels.classify.evaluations import CANCELLED, Evaluations
from sdgui.panels.classify.model import Evaluation, EvaluationResult, Settings, Target
from sdgui.panels.classify.results import ResultList
from sdgui.shared.pickers.entries import ModelChoice
from sdgui.widgets.message import Message
from sdgui.widgets.message_bar import MessageBar
from sdgui.widgets.progress_strip import ProgressStrip
from sdgui.worker.replies import Cancelled, CodeNeeded, Failure
from tests.sdgui.panels.classify.classifying import a_result, an_evaluation


class Session(QObject):
    working = Signal(str, str, int, int)

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[tuple[str, tuple[Any, ...], dict[str, Any]]] = []
        self.cancelled: list[str] = []
        self.is_busy = False

    def busy(self, _purpose: str) -> bool:
        return self.is_busy

    def cancel(self, purpose: str) -> None:
        self.cancelled.append(purpose)

    def drop(self, _purpose: str) -> None:
        """Nothing is open."""

    def worker_of(self, evaluation: Evaluation) -> str:
        return evaluation.target.model

    def evaluate(self, *given: Any, **more: Any) -> None:
        self.calls.append(("evaluate", given, more))

    def few_shot(self, *given: Any) -> None:
        self.calls.append(("few-shot", given, {}))

    def compare(self, *given: Any) -> None:
        self.calls.append(("compare", given, {}))


class Source(QObject):
    run_requested = Signal()

    def __init__(self) -> None:
        super().__init__()
        self.wrong, self.selected_evaluations, self.saved = "", list[Evaluation](), 0
        self.model = "run@best"
        self.options = SimpleNamespace(settings=lambda: Settings(k=7))

    def problem(self) -> str:
        return self.wrong

    def matches(self, target: Target) -> bool:
        return target.model == self.model

    def evaluations(self) -> list[Evaluation]:
        return self.selected_evaluations

    def save(self) -> None:
        self.saved += 1


class Compare:
    def __init__(self) -> None:
        self.shown: list[object] = []
        self.at: Evaluation | None = None

    def first(self) -> Evaluation | None:
        return self.at

    def show_difference(self, a: Evaluation, b: Evaluation, answer: object) -> None:
        self.shown.append((a, b, answer))

    def show_failure(self, _a: Evaluation, _b: Evaluation) -> None:
        self.shown.append("failed")

    def choose(self, first: Evaluation, second: Evaluation) -> None:
        self.shown.append(("choose", first, second))


class View(QWidget):
    few_shot_requested = Signal(str, int)
    compare_requested = Signal(object, object)
    evaluation_requested = Signal(object)

    def __init__(self) -> None:
        super().__init__()
        self.source, self.strip, self.bar = Source(), ProgressStrip(self), MessageBar(self)
        self.results, self.compare = ResultList(self), Compare()
        self.curves = SimpleNamespace(show_few_shot=lambda *what: self.few.append(what))
        self.few: list[tuple[Any, ...]] = []
        self.busy: list[str] = []

    def set_busy(self, text: str) -> None:
        self.busy.append(text)
        if text:
            self.strip.start(text)
        else:
            self.strip.finish()


class Parts:
    def __init__(self, view: View) -> None:
        self.view, self.session, self.messages = view, Session(), list[Message]()
        self.evaluations = Evaluations(cast(Any, view), cast(Any, self.session), self.messages.append)

    def end(self, number: int, outcome: EvaluationResult | Failure) -> None:
        """Answer the evaluation that was asked for as the ``number``-th."""
        _, (_, done, failed), _ = self.session.calls[number]
        (failed if isinstance(outcome, Failure) else done)(outcome)


@pytest.fixture
def parts(qtbot: QtBot) -> Parts:
    view = View()
    qtbot.addWidget(view)
    return Parts(view)


METHODS = [an_evaluation("image"), an_evaluation("knn"), an_evaluation("zero-shot")]


def test_selected_methods_are_evaluated_one_after_another(parts: Parts) -> None:
    view, source = parts.view, parts.view.source
    source.wrong = "Choose a model."
    source.run_requested.emit()
    assert [(message.level, message.text) for message in parts.messages] == [("error", "Choose a model.")]
    source.wrong = ""
    parts.session.is_busy = True
    source.run_requested.emit()
    assert (parts.session.calls, source.saved) == ([], 0), "one is under way"
    parts.session.is_busy = False
    source.selected_evaluations = METHODS[:2]
    view.bar.show_message(Message("info", "of before"))
    source.run_requested.emit()
    assert (view.bar.message, source.saved) == (None, 1)
    assert view.busy == ["Linear probe: opening the model"]
    assert [given[0] for _, given, _ in parts.session.calls] == METHODS[:1]
    parts.end(0, a_result(METHODS[0]))
    assert [given[0] for _, given, _ in parts.session.calls] == METHODS[:2]
    parts.end(1, a_result(METHODS[1]))
    assert [result.evaluation for result in view.results.results()] == METHODS[1::-1]
    assert view.busy[-1] == ""
    assert len(parts.messages) == 1


def test_incompatible_methods_are_reported_at_the_end(parts: Parts) -> None:
    parts.evaluations.start(METHODS)
    parts.end(0, Failure("No layer."))
    parts.end(1, a_result(METHODS[1]))
    assert parts.messages == []
    parts.end(2, Failure("No prompts."))
    (told,) = parts.messages
    assert (told.level, told.text) == ("warning", "Linear probe: No layer.")
    assert told.details == "Zero-shot (photo prompts): No prompts."
    assert [result.evaluation for result in parts.view.results.results()] == METHODS[1:2]
    parts.evaluations.start(METHODS[:2])
    parts.end(3, a_result(METHODS[0]))
    parts.end(4, a_result(METHODS[1]))
    assert parts.messages == [told], "what was refused the last time is not told again"


def test_a_failure_of_the_last_method_or_of_all_methods_is_reported(parts: Parts) -> None:
    parts.evaluations.start(METHODS[:2])
    parts.end(0, a_result(METHODS[0]))
    parts.end(1, Failure("No images."))
    assert (parts.messages[-1].level, parts.messages[-1].text) == ("warning", "20 nearest: No images.")
    parts.evaluations.start(METHODS[:2])
    parts.end(2, CodeNeeded("The model needs its code."))
    parts.end(3, CodeNeeded("The model needs its code."))
    assert (parts.messages[-1].level, parts.messages[-1].text) == ("error", "The model needs its code.")
    assert parts.messages[-1].remedy is not None, "the code can be allowed"


def test_weights_that_are_interpolated_during_an_evaluation_are_evaluated_after_it(parts: Parts) -> None:
    evaluation = METHODS[0].with_target(model="/run@best")
    parts.view.source.model = "/run@best"
    parts.evaluations.start([evaluation])
    parts.session.is_busy = True
    for alpha in (0.4, 0.5):
        model = str(InterpolatedName("/run@best", "", alpha))
        parts.evaluations.follow_interpolation(ModelChoice(model, evaluation.target.weights, f"alpha {alpha}"))
    assert len(parts.session.calls) == 1
    parts.session.is_busy = False
    parts.end(0, a_result(evaluation))
    (_, given, _) = parts.session.calls[-1]
    assert (given[0].target.model, given[3]) == (model, "interpolated")


def test_a_failed_or_cancelled_evaluation_can_be_repeated(parts: Parts) -> None:
    parts.view.source.selected_evaluations = METHODS[:1]
    parts.evaluations.start(METHODS[:1])
    parts.end(0, Failure("It crashed.", "details"))
    assert (parts.messages[0].level, parts.messages[0].details, parts.view.busy[-1]) == ("error", "details", "")
    assert parts.messages[0].remedy is not None
    parts.messages[0].remedy.do()
    assert len(parts.session.calls) == 2
    parts.evaluations.start(METHODS)
    parts.end(2, Cancelled())
    assert (parts.messages[1].level, parts.messages[1].text, parts.view.busy[-1]) == ("info", CANCELLED, "")
    assert len(parts.session.calls) == 3, "the rest is not evaluated"
    assert parts.messages[1].remedy is not None
    assert parts.messages[1].remedy.label == "Continue"


def test_a_few_shot_curve_arrives_point_by_point(parts: Parts) -> None:
    parts.view.few_shot_requested.emit("fused", 3)
    assert parts.session.calls == [], "no result is shown"
    found = a_result()
    parts.view.results.add(found)
    for kind, method in (("fused", "fused"), ("image", "image")):
        parts.view.few_shot_requested.emit(kind, 3)
        name, (evaluation, draws, _done, _failed, _partial), _ = parts.session.calls[-1]
        assert (name, evaluation.method, evaluation.target, draws) == ("few-shot", method, found.evaluation.target, 3)
        assert evaluation.settings.k == 7
    assert parts.view.busy[-1] == "Few-shot probes"
    parts.session.calls[-1][1][4]({"curve": [1]})
    assert parts.view.few == [(found.evaluation.target, "image", {"curve": [1]})]
    assert parts.view.busy[-1] == "Few-shot probes"
    parts.session.calls[-1][1][2]({"curve": [1, 2]})
    assert (parts.view.few[-1][2], parts.view.busy[-1]) == ({"curve": [1, 2]}, "")
    parts.session.calls[-1][1][3](Cancelled())
    assert (parts.messages[-1].level, parts.messages[-1].text) == ("info", CANCELLED)
    parts.session.calls[-1][1][3](Failure("It crashed."))
    assert (parts.messages[-1].level, parts.messages[-1].text) == ("error", "It crashed.")


def test_two_results_are_compared_after_evaluating_the_missing_one(parts: Parts) -> None:
    view, (a, b) = parts.view, METHODS[:2]
    view.compare_requested.emit(a, b)
    assert view.busy[-1] == "Comparing"
    _, (_, _, done, failed), _ = parts.session.calls[0]
    done({"difference": 1})
    assert (view.compare.shown, view.busy[-1]) == ([(a, b, {"difference": 1})], "")
    failed(Failure("Other images."))
    assert (view.compare.shown[-1], parts.messages[-1].text) == ("failed", "Other images.")
    view.evaluation_requested.emit(b)
    assert len(parts.session.calls) == 1, "nothing is compared"
    view.compare.at = a
    parts.session.is_busy = True
    view.evaluation_requested.emit(b)
    assert len(parts.session.calls) == 1
    assert "Another evaluation is running" in parts.messages[-1].text
    parts.evaluations.set_busy("Evaluating")
    done({"difference": 1})
    assert view.busy[-1] == "Evaluating", "the evaluation can still be cancelled"
    parts.session.is_busy = False
    view.results.add(a_result(a))
    view.evaluation_requested.emit(b)
    name, given, more = parts.session.calls[-1]
    assert (name, given[0], more) == ("evaluate", b, {"worker": a.target.model})
    assert view.busy[-1] == "20 nearest: opening the model"
    given[1](a_result(b))
    assert [result.evaluation for result in view.results.results()] == [b, a]
    current = view.results.current()
    assert current is not None
    assert current.evaluation == a, "the one that is shown stays"
    assert (view.compare.shown[-1], view.busy[-1]) == (("choose", a, b), "")
