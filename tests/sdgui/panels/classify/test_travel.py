"""The confusion matrix at every kept checkpoint of a run: one slider, one worker, shared with the other panels."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import pytest
from PySide6.QtCore import Signal
from PySide6.QtWidgets import QWidget
from pytestqt.qtbot import QtBot

from sdgui.app.start import make_application
from sdgui.panels.classify import travel as travelling
from sdgui.panels.classify.model import Evaluation, EvaluationResult
from sdgui.panels.classify.panel import ClassifyPanel
from sdgui.panels.classify.travel import ClassifyTravel
from sdgui.shared.time_travel import StepSlider, TimeTravel
from sdgui.store.records import Run
from sdgui.widgets.message_bar import MessageBar
from tests.sdgui.panels.classify.classifying import OpenClassify, a_result, an_evaluation, asked, classify


def keep_steps(panel: ClassifyPanel) -> Run:
    """Give the run steps 1 and 2 beside its own."""
    (run,) = panel._services.store.runs()
    for step in (1, 2):
        other = run.dir.checkpoints / f"step-{step:08d}"
        other.mkdir()
        (other / "checkpoint.json").write_text('{"model": {}}', encoding="utf-8")
        for network in ("student", "teacher"):
            (other / f"{network}.safetensors").write_bytes(b"")
    (run.dir.checkpoints / "best").write_text("step-00000003\n", encoding="ascii")
    return run


def test_the_matrix_of_every_kept_step(qtbot: QtBot, open_classify: OpenClassify, folder: Path) -> None:
    panel = open_classify()
    run = keep_steps(panel)
    classify(qtbot, panel)
    tab, travel = panel.view.matrix, panel._services.time_travel
    qtbot.waitUntil(lambda: tab.time.steps == (1, 2, 3))
    assert not tab.time.isHidden()
    assert tab.time.step() == 3
    listed = panel.view.results.results()
    panel.view.tabs.setCurrentWidget(tab)
    tab.time.slider.setValue(0)
    qtbot.waitUntil(lambda: "step 1:" in tab.readout.text())
    opened = asked(folder, "classify_open")[-1]
    assert opened["model"] == f"{run.folder}@1"
    assert opened["weights"] == listed[0].evaluation.target.weights
    assert travel.step(run.folder) == 1, "the other panels look at it too"
    assert panel.view.results.results() == listed, "results of steps are not listed"
    tab.ask_cell(0, 1)
    qtbot.waitUntil(lambda: tab.gallery.model.rowCount() > 0)
    assert panel.travel.shown_result is not listed[0]
    number = len(asked(folder, "classify_probe"))
    travel.go(run.folder, 3)
    qtbot.waitUntil(lambda: panel.travel.shown_result is listed[0])
    travel.go(run.folder, 1)
    qtbot.waitUntil(lambda: "step 1:" in tab.readout.text())
    assert len(asked(folder, "classify_probe")) == number, "what was measured is held"
    classify(qtbot, panel, "zero-shot")
    qtbot.waitUntil(lambda: tab.time.step() == 3)
    assert "step" not in tab.readout.text()


class Matrix:
    def __init__(self, view: QWidget) -> None:
        self.time = StepSlider(view)
        self.offered: list[tuple[int, ...]] = []
        self.shown_steps: list[tuple[EvaluationResult, int, bool]] = []

    def offer_steps(self, steps: tuple[int, ...], own: int) -> None:
        self.offered.append(steps)
        self.time.set_steps(steps, own)

    def show_step(self, *what: Any) -> None:
        self.shown_steps.append(what)


class View(QWidget):
    stepped = Signal(int)

    def __init__(self) -> None:
        super().__init__()
        self.matrix, self.bar = Matrix(self), MessageBar(self)


class Session:
    def __init__(self) -> None:
        self.calls: list[tuple[Any, ...]] = []
        self.dropped: list[str] = []

    def drop(self, purpose: str) -> None:
        self.dropped.append(purpose)

    def evaluate(self, evaluation: Evaluation, done: Any, failed: Any, _purpose: str, worker: str) -> None:
        self.calls.append((evaluation, worker, done, failed))


class Parts:
    """A run ``/runs/x`` with the steps 1, 2 and 3; the result of ``best`` is of step 3."""

    def __init__(self, qtbot: QtBot) -> None:
        self.view, self.session, self.time = View(), Session(), TimeTravel()
        qtbot.addWidget(self.view)
        self.view.show()
        self.travel = ClassifyTravel(self.time, cast(Any, self.view), cast(Any, self.session))
        self.matrix = self.view.matrix

    def move(self, step: int) -> None:
        """As the user does: the slider is there already."""
        self.matrix.time.set_steps(self.matrix.time.steps, step)
        self.view.stepped.emit(step)

    def follow(self, qtbot: QtBot, *evaluations: Evaluation) -> list[EvaluationResult]:
        found = [a_result(evaluation) for evaluation in evaluations]
        for one in found:
            self.travel.follow(one)
        self.travel._tasks.wait()
        qtbot.wait(1)
        return found


@pytest.fixture
def parts(qtbot: QtBot, monkeypatch: pytest.MonkeyPatch) -> Parts:
    make_application()
    steps = {"x": (1, 2, 3), "y": (3, 6, 9), "one": (3,)}
    monkeypatch.setattr(travelling, "_steps_of", lambda run, _which: (steps[run.name], 3))
    return Parts(qtbot)


X = an_evaluation(model="/runs/x@best")


def test_a_left_step_is_not_waited_for_and_the_own_step_is_the_result(qtbot: QtBot, parts: Parts) -> None:
    (found,) = parts.follow(qtbot, X)
    parts.session.dropped.clear()
    parts.move(1)
    assert [(evaluation.target.model, worker) for evaluation, worker, *_ in parts.session.calls] == [
        ("/runs/x@1", "/runs/x")
    ]
    assert parts.time.step(Path("/runs/x")) == 1
    parts.move(3)
    assert parts.session.dropped == ["step", "step"]
    assert (parts.matrix.shown_steps, parts.travel.shown_result) == ([(found, 3, True)], found)
    parts.move(2)
    evaluation, _, done, _ = parts.session.calls[-1]
    stepped = a_result(evaluation)
    done(stepped)
    assert parts.matrix.shown_steps[1:] == [(stepped, 2, False)]
    assert parts.travel.shown_result is stepped
    parts.travel.follow(None)
    assert parts.travel.shown_result is None
    parts.move(1)
    assert len(parts.session.calls) == 2, "nothing is shown"


def test_another_panels_step_of_the_same_run_is_followed_when_visible(qtbot: QtBot, parts: Parts) -> None:
    parts.follow(qtbot, X)
    parts.time.go(Path("/runs/y"), 1)
    assert (parts.matrix.time.step(), parts.session.calls) == (3, [])
    parts.view.hide()
    parts.time.go(Path("/runs/x"), 1)
    assert (parts.matrix.time.step(), parts.session.calls) == (1, []), "nobody looks"
    parts.view.show()
    parts.travel.show_slider_step()
    assert [evaluation.target.model for evaluation, *_ in parts.session.calls] == ["/runs/x@1"], "the slider is at 1"
    parts.session.calls.clear()
    parts.time.go(Path("/runs/x"), 2)
    assert [evaluation.target.model for evaluation, *_ in parts.session.calls] == ["/runs/x@2"]
    parts.time.go(Path("/runs/x"), 3)
    parts.time.go(Path("/runs/x"), 7)
    assert len(parts.session.calls) == 1, "the last step is the result's own"


def test_results_of_recent_steps_are_cached(qtbot: QtBot, parts: Parts, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(travelling, "_CACHE_SIZE", 1)
    parts.follow(qtbot, X)
    for step in (1, 1, 2, 1):
        count = len(parts.session.calls)
        parts.move(step)
        for evaluation, _, done, _ in parts.session.calls[count:]:
            done(a_result(evaluation))
    assert [evaluation.target.model for evaluation, *_ in parts.session.calls] == [
        f"/runs/x@{step}" for step in (1, 2, 1)
    ]
    assert [step for _, step, _ in parts.matrix.shown_steps] == [1, 1, 2, 1]
