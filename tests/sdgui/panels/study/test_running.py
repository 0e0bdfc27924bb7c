"""A study at work: started, paused, continued, stopped, shown and exported."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest
from PySide6.QtWidgets import QFileDialog
from pytestqt.qtbot import QtBot

from core.spec.run.status import RunState
from sdgui.experiments.filter import Role
from sdgui.panels.runs.panel import RunsPanel
from tests.sdgui.panels.study.studying import Open, a_study, panel_of, until, with_study


def cells(table: Any) -> list[list[str]]:
    return [[cell.text for cell in row] for row in table.rows]


def test_a_started_study_fills_queue_tables_plot_and_tree(
    qtbot: QtBot, open_study: Open, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    window = open_study()
    panel = with_study(qtbot, window, a_study())
    unknown = "4 runs. Time and memory are unknown: no finished run has the same settings as clip, sd-clip."
    qtbot.waitUntil(lambda: unknown in panel.view.note.text())
    panel.toolbar.start.click()
    until(qtbot, panel, "done")
    assert unknown not in panel.view.note.text()
    means, differences = panel.view.shown_tables()
    assert cells(means)[0][:3] == ["clip", "2", "10.5 ± 5.0"]
    assert cells(means)[1][:3] == ["sd-clip", "2", "20.5 ± 5.0"]
    (steps,) = cells(differences)
    assert steps[:6] == ["sd-clip", "clip", "Test R@1", "+10.0 ± 5.0", "yes (p = 0.010)", "yes (p = 0.010)"]
    assert steps[6] == "0.250", "the exact p comes after both verdicts"
    assert [(bar.name, len(bar.values)) for bar in panel.view.bars.bars] == [("clip", 2), ("sd-clip", 2)]
    panel.view.means.setCurrentIndex(panel.view.means.model().index(0, 0))  # an arm is no metric
    assert not panel.view.bars.isHidden()
    assert panel.view.runs.topLevelItemCount() == 4
    assert "4 of 4 runs finished" in panel.view.state.text()
    qtbot.waitUntil(lambda: [run.state for run in window.services.store.runs()] == [RunState.DONE] * 4, timeout=10000)
    qtbot.waitUntil(lambda: len(window.experiments.model.runs()) == 4, timeout=5000)
    study = window.experiments.model.index(1, 0)
    assert study.data(Role.DETAIL) == "Study · 2 arms · 4 runs"
    arms = [window.experiments.model.index(row, 0, study) for row in range(2)]
    assert [arm.data() for arm in arms] == ["clip", "sd-clip"]
    runs = [window.experiments.model.runs_of(int(arm.data(Role.EXPERIMENT))) for arm in arms]
    labels = window.services.store.run_labels([run_id for arm in runs for run_id in arm])
    colors = [[labels[run_id].color for run_id in arm] for arm in runs]
    assert [bar.color for bar in panel.view.bars.bars] == [0, 1]
    assert colors == [[20, 0], [21, 1]], "the newest first, in shades of them"
    assert "seed 1" in window.services.store.run(runs[0][0]).tags

    monkeypatch.setattr(QFileDialog, "getSaveFileName", lambda *_, **__: (str(tmp_path / "out"), ""))
    for action in panel.toolbar.export.menu().actions():
        action.trigger()
    qtbot.waitUntil(lambda: all((tmp_path / f"out.{suffix}").exists() for suffix in ("csv", "json", "md")))
    with (tmp_path / "out.csv").open(newline="") as file:
        assert list(csv.reader(file))[1][:3] == ["clip", "2", "10.5 [5.5, 15.5]"]
    assert json.loads((tmp_path / "out.json").read_text())["name"] == "two arms"
    assert (tmp_path / "out.md").read_text() == "# results\n"
    panel.toolbar.export.menu().actions()[0].trigger()
    assert panel.bar.text == f"{tmp_path / 'out.md'} already exists; choose another name."

    window.experiments.tree.setCurrentIndex(window.experiments._filter.mapFromSource(study))
    runs_panel = window.show_panel("runs")
    assert isinstance(runs_panel, RunsPanel)
    qtbot.waitUntil(lambda: len(runs_panel.tabs.view.grid.runs()) == 4)  # all runs of the study, as none is ticked

    panel.view.runs.setCurrentItem(panel.view.runs.topLevelItem(0))
    panel.view.runs.itemActivated.emit(panel.view.runs.topLevelItem(0), 0)
    assert window.panel_name == "runs"
    assert window.selection.study_id == panel._study_id()


def test_a_study_outlives_the_window_and_is_paused_and_resumed(qtbot: QtBot, open_study: Open) -> None:
    window = open_study("--delay", "0.2")
    panel = with_study(qtbot, window, a_study(steps=20))
    panel.toolbar.start.click()
    until(qtbot, panel, "running")
    window.close_without_asking()
    again = open_study("--delay", "0.0")
    panel = panel_of(again)
    until(qtbot, panel, "running")
    assert panel.toolbar.pause.isEnabled()
    panel.toolbar.pause.click()
    until(qtbot, panel, "paused")
    assert panel.toolbar.start.text() == "Re&sume"
    panel.toolbar.start.click()
    until(qtbot, panel, "done")
