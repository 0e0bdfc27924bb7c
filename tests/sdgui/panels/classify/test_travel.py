"""The confusion matrix at every kept checkpoint of a run: one slider, one worker, shared with the other panels."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pytestqt.qtbot import QtBot

from sdgui.panels.classify.panel import ClassifyPanel
from sdgui.store.records import Run
from sdgui.worker.replies import Cancelled, Failure
from tests.sdgui.panels.classify.classifying import OpenClassify, asked, classify


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
    assert opened["weights"] == listed[0].measure.target.weights
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


def test_another_result_is_played_though_a_step_of_the_last_was_on_its_way(
    qtbot: QtBot, open_classify: OpenClassify, monkeypatch: pytest.MonkeyPatch
) -> None:
    panel = open_classify()
    keep_steps(panel)
    classify(qtbot, panel)
    tab = panel.view.matrix
    panel.view.tabs.setCurrentWidget(tab)
    qtbot.waitUntil(lambda: tab.time.steps == (1, 2, 3))
    wanted: list[tuple[Any, ...]] = []
    monkeypatch.setattr(panel.travel._session, "measure_step", lambda *what: wanted.append(what))
    tab.time.slider.setValue(0)
    qtbot.waitUntil(lambda: len(wanted) == 1)
    tab.time._next()
    assert tab.time.step() == 1, "it waits for the step"
    classify(qtbot, panel, "zero-shot")
    panel.view.tabs.setCurrentWidget(tab)
    qtbot.waitUntil(lambda: tab.time.step() == 3)
    tab.time.set_steps((1, 2, 3), 1)
    tab.time._next()
    assert tab.time.step() == 2
    bar, failed = panel.view.bar, wanted[-1][3]
    tab.time.play.setChecked(True)
    failed(Cancelled())
    assert (bar.message, tab.time.play.isChecked()) == (None, False)
    failed(Failure("It ended.", "a traceback"))
    assert (bar.text, bar._details.toPlainText()) == ("It ended.", "a traceback")
