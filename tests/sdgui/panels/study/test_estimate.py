"""Time and memory that a study will take, before it starts, from finished runs with the same settings."""

from __future__ import annotations

from pathlib import Path

import pytest
from pytestqt.qtbot import QtBot

from core.spec.config import override
from core.spec.run.status import RunState
from sdgui.panels.study.estimate import Estimate, estimate
from sdgui.store.records import Run
from tests.sdgui.panels.study.studying import Open, a_study, with_study

STUDY = a_study(steps=300)


def finished(folder: Path, arm: str, seconds: float, memory_gib: float) -> Run:
    """A run of 100 steps that has the settings of ``arm``, with data, seed and length of its own."""
    own = [f"data.train={folder / 'pairs.csv'}", "seed=7", "optim.epochs=3", "name=earlier"]
    config = override(STUDY.recipe(STUDY.arm(arm)), own)
    run = Run(1, 1, "k", folder, "", 0.0, RunState.DONE, started=1000.0, finished=1000.0 + seconds, step=100)
    run.dir.create()
    run.dir.config.write_text(config.to_json(), encoding="utf-8")
    values = f'{{"runtime/memory_gib": {memory_gib}}}'
    run.dir.events.write_text(f'{{"v": 1, "kind": "metrics", "time": 1, "step": 9, "values": {values}}}\n')
    return run


def test_time_is_that_of_the_newest_run_of_each_arm_and_memory_of_the_largest(tmp_path: Path) -> None:
    runs = [
        finished(tmp_path / "new", "clip", 10, 0.5),
        finished(tmp_path / "old", "clip", 99, 4.0),
        finished(tmp_path / "sd", "sd-clip", 20, 1.5),
    ]
    assert estimate(STUDY, runs) == Estimate(4, pytest.approx(2 * 300 * (0.1 + 0.2)), 1.5)
    assert estimate(STUDY, runs).text() == ("Estimate: 4 runs, 3 min of training in total, up to 1.5 GiB each.")
    other = a_study(steps=300, set=["optim.batch_size=12"])
    assert estimate(other, runs).seconds is None, "a step of another batch size costs something else"
    assert estimate(STUDY, runs[:2]).unknown == ("sd-clip",)


def test_budgets_are_the_time_and_need_no_earlier_run() -> None:
    timed = a_study(steps=0, budgets=[60, 120])
    assert estimate(timed, []) == Estimate(8, 2 * 2 * (60 + 120), None)


def test_the_panel_shows_it_until_the_study_starts(qtbot: QtBot, open_study: Open) -> None:
    panel = with_study(qtbot, open_study(), a_study())
    text = "4 runs. Time and memory are unknown: no finished run has the same settings as clip, sd-clip."
    qtbot.waitUntil(lambda: text in panel.view.note.text())
    panel.toolbar.begin.click()
    qtbot.waitUntil(lambda: text not in panel.view.note.text(), timeout=20_000)
