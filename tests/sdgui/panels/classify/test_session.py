"""What Classify asks which worker, with which keys, and what it does not ask twice."""

from __future__ import annotations

from typing import Any, ClassVar, cast

import pytest
from PySide6.QtCore import QObject, Signal
from PySide6.QtWidgets import QApplication

from sdgui.panels.classify import work
from sdgui.panels.classify.model import Evaluation, EvaluationResult, Method, Settings, Target
from sdgui.panels.classify.work import ClassifySession
from sdgui.worker.pool import WorkerPool
from sdgui.worker.verbs import Verb

EMPTY: dict[str, list[int]] = {"true": [], "predicted": [], "count": []}


class Calls(QObject):
    """Requests to one worker, answered at once."""

    progress = Signal(str, str, int, int)
    asked: ClassVar[list[tuple[str, str, str, dict[str, Any]]]] = []  # worker, purpose, verb, arguments: of all workers

    def __init__(self, worker: str, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.worker, self.told = worker, list[tuple[str, str]]()

    def ask(self, purpose: str, verb: Verb[Any], done: Any, _failed: Any, partial: Any = None, **given: Any) -> None:
        self.asked.append((self.worker, purpose, verb.name, given))
        answers: dict[str, Any] = {
            "classify_open": {"opened": f"data of {given.get('model')}"},
            "classify_load_probe": {"probe": "a probe", "result": {"result": "a saved result", "confusion": EMPTY}},
        }
        result = {"result": f"{verb.name} by {self.worker}", "confusion": EMPTY}
        if partial is not None:
            partial({**result, "result": "the first of it"})
        done(answers.get(verb.name, result))

    def drop(self, purpose: str) -> None:
        self.told.append(("drop", purpose))

    def cancel(self, purpose: str) -> None:
        self.told.append(("cancel", purpose))

    def busy(self, purpose: str) -> bool:
        return (self.worker, purpose) == ("b", "apply")


class Pool:
    def client(self, model: str) -> str:
        return model


@pytest.fixture
def session(qapp: QApplication, monkeypatch: pytest.MonkeyPatch) -> ClassifySession:
    monkeypatch.setattr(work, "WorkerCalls", Calls)
    monkeypatch.setattr(Calls, "asked", [])
    return ClassifySession(cast(WorkerPool, Pool()))


def an_evaluation(model: str, method: Method = "image", data: str = "/data.csv", **settings: Any) -> Evaluation:
    target = Target(model=model, weights="student", title=model, data=data)
    return Evaluation(target, method, Settings(**settings), path="/probe.npz")


def verbs() -> list[tuple[str, str]]:
    return [(worker, verb) for worker, _, verb, _ in Calls.asked]


def never(failure: object) -> None:
    raise AssertionError(failure)


def test_each_model_has_one_worker_that_reports_progress(session: ClassifySession) -> None:
    told: list[tuple[object, ...]] = []
    session.working.connect(lambda *what: told.append(what))
    calls = cast(Calls, session.calls("a"))
    assert session.calls("a") is calls
    assert session.calls("b") is not calls
    calls.progress.emit("evaluate", "Encoding", 1, 2)
    assert told == [("evaluate", "Encoding", 1, 2)]
    assert (session.busy("apply"), session.busy("evaluate")) == (True, False)
    session.drop("step")
    session.cancel("apply")
    assert calls.told == [("drop", "step"), ("cancel", "apply")]


def test_a_measurement_opens_its_data_and_comparisons_share_a_worker(session: ClassifySession) -> None:
    found: list[EvaluationResult] = []
    opened: list[tuple[object, object]] = []
    session.data_opened.connect(lambda *what: opened.append(what))
    a, b = an_evaluation("a"), an_evaluation("b", "knn")
    session.evaluate(a, found.append, never)
    assert Calls.asked[0][3] == a.target.request()
    assert Calls.asked[1] == ("a", "evaluate", "classify_probe", {
        "opened": "data of a", "kind": "image", "standardise": False,
    })  # fmt: skip
    assert opened == [(a.target, {"opened": "data of a"})]
    session.evaluate(b, found.append, never, worker=session.worker_of(a))
    assert verbs()[2:] == [("a", "classify_open"), ("a", "classify_knn")]
    assert [one.evaluation for one in found] == [a, b]
    answers: list[dict[str, Any]] = []
    session.compare(a, b, answers.append, never)
    worker, purpose, verb, keys = Calls.asked[-1]
    assert (worker, purpose, verb, len(Calls.asked)) == ("a", "compare", "classify_compare", 5), "both are known"
    assert keys == {"a": "classify_probe by a", "b": "classify_knn by a"}
    c = an_evaluation("c")
    session.compare(c, b, answers.append, never)
    assert verbs()[5:] == [("c", "classify_open"), ("c", "classify_probe"), ("c", "classify_compare")]


def test_a_comparison_runs_on_the_machine_of_the_first_result(session: ClassifySession) -> None:
    found: list[EvaluationResult] = []
    a, b, c = (an_evaluation(name) for name in "abc")
    session.evaluate(a, found.append, never)
    session.evaluate(b, found.append, never, worker=session.worker_of(a))
    session.evaluate(c, found.append, never, worker=session.worker_of(b))
    assert {worker for worker, *_ in Calls.asked} == {"a"}
    session.evaluate(b, found.append, never)
    assert session.calls_for(b) is session.calls("b"), "on its own it is measured in its own"
    answers: list[dict[str, Any]] = []
    session.compare(b, c, answers.append, never)
    assert (Calls.asked[-1][0], len(answers)) == ("b", 1)


def test_known_results_are_not_measured_again(session: ClassifySession) -> None:
    old = an_evaluation("a")
    answer = {"result": "of yesterday", "confusion": EMPTY}
    session.register(EvaluationResult(old, answer, cast(Any, None)))
    session.register(EvaluationResult(old, {**answer, "result": "another"}, cast(Any, None)))
    session.ask("about", old, "classify_cell", lambda _: None, never)
    assert Calls.asked == [("a", "about", "classify_cell", {"result": "of yesterday"})]
    new = an_evaluation("a", "knn", k=3)
    session.ask("about", new, "classify_cell", lambda _: None, never)
    assert verbs()[1:] == [("a", "classify_open"), ("a", "classify_knn"), ("a", "classify_cell")]
    assert [purpose for _, purpose, _, _ in Calls.asked] == ["about"] * 4


def test_few_shot_draws_match_the_probe_they_are_compared_with(session: ClassifySession) -> None:
    answers: list[dict[str, Any]] = []
    points: list[dict[str, Any]] = []
    for method, kind in (("image", "image"), ("fused", "fused"), ("knn", "image")):
        evaluation = an_evaluation("a", cast(Method, method), text="caption", templates="photo")
        session.few_shot(evaluation, 5, answers.append, never, points.append)
        assert Calls.asked[-1] == ("a", "few-shot", "classify_few_shot", {
            "opened": "data of a", "kind": kind, "text": "caption", "templates": "photo", "draws": 5,
        })  # fmt: skip
    assert (len(answers), len(points)) == (3, 3)
