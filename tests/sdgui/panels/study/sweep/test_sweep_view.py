"""A sweep in the Study panel: opened, extended, its table and its plots."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyqtgraph as pg
import pytest
from PySide6.QtWidgets import QInputDialog
from pytestqt.qtbot import QtBot

from core.spec.errors import UserError
from core.spec.reading import MAX_EXCERPT_LENGTH
from core.spec.study import StudyDir, read_study
from core.spec.study.sweep import EarlyStopping, Sweep, read_sweep
from core.spec.study.sweep_report import SweepDir, SweepReport
from sdgui.panels.study.panel import StudyPanel
from sdgui.panels.study.sweep import plots
from sdgui.panels.study.sweep.confirm import ConfirmDialog
from sdgui.panels.study.sweep.model import axes_of, best_so_far, setting_text, surface, trials_table
from sdgui.panels.study.sweep.plots import SweepPlot, objectives_of
from sdgui.panels.study.sweep.view import SweepView
from sdgui.panels.study.view import status_text
from sdgui.runs.study_status import StudySnapshot, first_status, read_study_folder
from sdgui.shared.services import Services
from tests.core.studies.sweep.test_sweep_files import RATE, sweep_dict

SPACE = {"optim.learning_rate": RATE, "runtime.precision": {"choices": ["fp32", "bf16"]}}
OBJECTIVES = [{"metric": "val/R@1", "direction": "maximize"}, {"metric": "step_seconds", "direction": "minimize"}]


def a_report(objectives: int = 2) -> SweepReport:
    """Six trials: four complete, one running, one failed."""
    trials = [
        {
            "number": number,
            "state": "complete",
            "params": {"optim.learning_rate": 10.0 ** (number - 5), "runtime.precision": ["fp32", "bf16"][number % 2]},
            "values": [0.1 * number, 0.5 - 0.1 * (number % 2)][:objectives],
            "intermediate": [[1, 0.05 * number], [2, 0.1 * number]],
            "started": 100.0 * number + 1,
            "ended": 100.0 * number + 61,
        }
        for number in range(4)
    ]
    trials.append({"number": 4, "state": "running", "params": {"optim.learning_rate": 1e-3}, "started": 500.0})
    failed = {"number": 5, "state": "failed", "params": {"optim.learning_rate": 1e-2}, "message": "out of memory"}
    importance = {"val/R@1": {"optim.learning_rate": 0.9, "runtime.precision": 0.1}}
    raw = {
        "name": "rates",
        "wanted": 8,
        "objectives": OBJECTIVES[:objectives],
        "space": SPACE,
        "importance": importance,
    }
    return SweepReport.model_validate_json(json.dumps({**raw, "trials": [*trials, failed], "best": [3]}))


def a_snapshot(report: SweepReport | None, folder: Path = Path("sweep")) -> StudySnapshot:
    study = Sweep.model_validate(sweep_dict(space=SPACE)).study([])
    return StudySnapshot(folder, "running", study, is_sweep=True, sweep=report)


def test_trials_are_rows_and_axes() -> None:
    report = a_report()
    table = trials_table(report)
    assert list(table.columns) == [
        "Trial", "State", "R@1, %", "Time per step, s", "optim.learning_rate", "runtime.precision", "Time",
    ]  # fmt: skip
    assert [cell.text for cell in table.rows[3]] == [
        "trial-3", "complete, best", "30.0", "0.4 s", "0.01", "bf16", "1 min",
    ]  # fmt: skip
    assert [cell.text for cell in table.rows[5]][:3] == ["trial-5", "failed", "–"]
    rate, precision, recall, seconds = axes_of(report)
    assert (rate.log, precision.words) == (True, ("fp32", "bf16"))
    np.testing.assert_allclose(rate.positions(), [0, 1 / 3, 2 / 3, 1])
    np.testing.assert_allclose(recall.scaled(), [0, 10, 20, 30])
    np.testing.assert_allclose(seconds.scaled(), [0.5, 0.4, 0.5, 0.4])


def test_a_long_setting_is_cut_to_one_line() -> None:
    """Laying out 9,000 characters in a cell or at an axis takes seconds."""
    assert setting_text("\n" + "x" * 9000) == "\ufffd" + "x" * (MAX_EXCERPT_LENGTH - 2) + "…"


def test_the_best_so_far_is_within_the_constraints(qtbot: QtBot) -> None:
    report = a_report(1)
    report.trials[2].feasible = False
    plot = pg.PlotWidget()
    qtbot.addWidget(plot)
    plots.history(plot, report, ["val/R@1"])
    (line,) = (item for item in plot.listDataItems() if item.opts.get("stepMode") == "right")
    numbers, values = line.getOriginalDataset()
    assert numbers.tolist() == [0, 1, 3]
    np.testing.assert_allclose(values, [0, 10, 30])


def test_long_series_of_intermediate_values_are_thinned_from_first_to_last(qtbot: QtBot) -> None:
    report = a_report().model_copy(update={"early_stopping": EarlyStopping(kind="median")})
    report.trials[0].intermediate = [(step, step / 1e6) for step in reversed(range(100_000))]
    plot = pg.PlotWidget()
    qtbot.addWidget(plot)
    plots.intermediate(plot, report, [])
    long, short, *_ = plot.listDataItems()
    steps, values = long.getOriginalDataset()
    assert 500 <= len(steps) <= 1001
    assert (steps[0], steps[-1]) == (0, 99_999)
    np.testing.assert_allclose(values, steps / 1e4)
    assert short.getOriginalDataset()[0].tolist() == [1, 2]


@pytest.mark.parametrize(
    ("rule", "title", "bottom", "scale"),
    [
        (EarlyStopping(kind="median"), "R@1, %", "Step", 100),
        (EarlyStopping(kind="asha", metric="val/student/caption_loss"), "Student caption loss", "Step", 1),
        (EarlyStopping(kind="wilcoxon"), "R@1, %", "Seed index", 100),
        (None, "Intermediate values", "Step", 1),
    ],
)
def test_intermediate_values_are_in_the_unit_of_the_metric_of_early_stopping(
    rule: EarlyStopping | None, title: str, bottom: str, scale: float, qtbot: QtBot
) -> None:
    report = a_report(1).model_copy(update={"early_stopping": rule})
    plot = pg.PlotWidget()
    qtbot.addWidget(plot)
    assert plots.intermediate(plot, report, []) == f"{title} of each trial, for early stopping"
    assert plot.getAxis("bottom").labelText == bottom
    values = plot.listDataItems()[3].getOriginalDataset()[1]
    np.testing.assert_allclose(values, [0.15 * scale, 0.3 * scale])


def test_an_axis_without_different_values_is_left_out(qtbot: QtBot) -> None:
    """A trial of an earlier space has no value for a new setting."""
    report = a_report(1)
    del report.space["runtime.precision"]
    for trial in report.trials:
        trial.params.pop("runtime.precision", None)
        trial.params |= {"optim.weight_decay": 0.1} if trial.number == 0 else {}
    assert [axis.name for axis in plots.parallel_axes(report)[0]] == ["optim.learning_rate", "val/R@1"]
    plot = SweepPlot(plots.history, [("Objective", objectives_of)])
    qtbot.addWidget(plot)
    plot.show_report(report)
    assert plot.accessibleName() == plot.title.text() == "R@1, % of each trial; line: best so far"


def test_the_running_optimum_and_the_surface_match_hand_computed_values() -> None:
    values = np.array([3.0, 1.0, 4.0])
    assert best_so_far(values, "maximize").tolist() == [3, 3, 4]
    assert best_so_far(values, "minimize").tolist() == [3, 1, 1]
    cells = surface(np.array([0.0, 1.0]), np.array([0.0, 1.0]), np.array([0.0, 1.0]), cells=10)
    assert cells.shape == (10, 10)
    assert cells[0, 0] < 0.01
    assert cells[9, 9] > 0.99
    assert cells[0, 9] == pytest.approx(0.5)


def test_every_tab_draws_the_trials(qtbot: QtBot) -> None:
    view = SweepView()
    qtbot.addWidget(view)
    view.resize(900, 600)
    view.show()
    view.show_snapshot(a_snapshot(None))
    view.show_snapshot(a_snapshot(a_report()))
    assert view.state.text() == "Running. 5 of 8 trials finished, 1 on the Pareto front."
    assert view.note.text() == "trial-5 failed: out of memory"
    titles = {}
    for index in range(view.tabs.count()):
        view.tabs.setCurrentIndex(index)
        page = view.tabs.currentWidget()
        if page in view.plots.values():
            qtbot.waitUntil(lambda page=page: any(isinstance(one, pg.PlotWidget) for one in page.children()))
            (plot,) = [one for one in page.children() if isinstance(one, pg.PlotWidget)]
            titles[view.tabs.tabText(index).replace("&", "")] = (page.title.text(), len(plot.plotItem.items))
    assert {name: drawn for name, (_, drawn) in titles.items()} == {
        "History": 2,  # points and the best so far
        "Slice": 1,
        "Contour": 2,
        "Importance": 1,
        "Timeline": 5,  # a bar each trial that began
        "Intermediate values": 4,
        "Pareto": 1,
    }
    assert titles["Pareto"][0] == "Time per step, s over R@1, %; yellow: the Pareto front"
    assert [axis.name for axis in view.parallel.axes][-1] == "val/R@1", "which colours the lines"
    view.show_snapshot(a_snapshot(None, Path("another sweep")))
    assert view.trials.model().rowCount() == 0
    for index in range(view.tabs.count()):
        view.tabs.setCurrentIndex(index)
    assert view.parallel.axes == []
    assert {plot.title.text() for plot in view.plots.values()} == {"No trial has finished yet."}
    view.show_snapshot(a_snapshot(a_report(objectives=1)))
    assert not view.tabs.isTabVisible(view.tabs.count() - 1), "one objective has no front"
    assert view.state.text() == "Running. 5 of 8 trials finished, best R@1 30.0 (trial-3)."


def test_a_sweep_with_results_that_is_opened_is_not_called_unstarted() -> None:
    assert status_text(replace(a_snapshot(None), state="not started")) == "Not started yet."
    snapshot = replace(a_snapshot(a_report()), state="not started")
    assert status_text(snapshot) == "Not running. Press Start to continue."


@pytest.mark.parametrize(("last", "step"), [(3, 1), (9, 1), (11, 2), (1000, 101)])
def test_trials_are_marked_with_whole_numbers(qapp: object, last: int, step: int) -> None:
    report = a_report()
    trials = [*report.trials[:-1], report.trials[-1].model_copy(update={"number": last})]
    axis = pg.AxisItem("bottom")
    plots._mark_trials(axis, report.model_copy(update={"trials": trials}))
    assert [text for _, text in axis._tickLevels[0]] == [str(number) for number in range(0, last + 1, step)]


def test_a_sweep_file_is_opened_shown_and_extended(
    qtbot: QtBot, services: Services, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "lr.json").write_text(json.dumps(sweep_dict()))
    record = services.studies.open(tmp_path / "lr.json")
    out = SweepDir(record.folder)
    assert read_sweep(out.sweep).data["train"] == str(tmp_path / "train.csv")
    panel = StudyPanel(services)
    qtbot.addWidget(panel)
    panel.show()
    snapshot = read_study_folder(record.folder)
    assert (snapshot.state, snapshot.is_sweep, snapshot.runs) == ("not started", True, ())
    services.studies._snapshots = {record.id: snapshot}
    services.studies.changed.emit(record.id)
    assert panel.stack.currentWidget() is panel.sweep_view
    monkeypatch.setattr(QInputDialog, "getInt", lambda *_: (25, True))
    panel.toolbar.extend.click()
    qtbot.waitUntil(lambda: read_sweep(out.sweep).trials == 25)
    (tmp_path / "bad.json").write_text(json.dumps(sweep_dict(space={"optim.learning_rat": RATE})))
    with pytest.raises(UserError, match=r"did you mean optim\.learning_rate"):
        services.studies.open(tmp_path / "bad.json")


def test_the_best_trials_are_confirmed_as_a_study_and_taken_back(
    qtbot: QtBot, services: Services, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for split in ("train", "val"):
        (tmp_path / f"{split}.csv").write_text("filepath,title\n")
    (tmp_path / "lr.json").write_text(json.dumps(sweep_dict(seeds=[0, 4])))
    record = services.studies.open(tmp_path / "lr.json")
    panel = StudyPanel(services)
    qtbot.addWidget(panel)
    panel.show()

    def show_folder() -> None:
        services.studies._snapshots = {record.id: read_study_folder(record.folder)}
        services.studies.changed.emit(record.id)

    show_folder()
    assert not panel.sweep_view.confirm.isEnabled(), "no trial is complete yet"
    report = a_report(objectives=1)
    SweepDir(record.folder).trials.write_text(report.model_dump_json())
    show_folder()
    suggested: list[tuple[int, float, str]] = []

    def accepted(dialog: ConfirmDialog) -> int:
        suggested.append((dialog.best.maximum(), dialog.seconds.value(), dialog.cost.text()))
        dialog.best.setValue(2)
        dialog.seconds.setValue(90.0)
        assert dialog.cost.text() == "9 runs, 13 min 30 s of training in total.", "with the default config's"
        return 1

    cancelled: list[ConfirmDialog] = []
    monkeypatch.setattr(ConfirmDialog, "exec", lambda dialog: cancelled.append(dialog))
    panel.sweep_view.confirm.click()
    qtbot.waitUntil(lambda: bool(cancelled))
    assert len(services.store.studies()) == 1, "cancelled"
    monkeypatch.setattr(ConfirmDialog, "exec", accepted)
    panel.sweep_view.confirm.click()
    qtbot.waitUntil(lambda: panel.bar.message is not None)
    assert suggested[0][:2] == (4, 60.0)
    assert panel.bar.message is not None
    assert panel.bar.message.text == "Created “rates confirmed”. Press Start to train its runs."
    (made,) = (study for study in services.store.studies() if study.id != record.id)
    study = read_study(StudyDir(made.folder).study)
    assert [arm.name for arm in study.arms] == ["default", "trial-3", "trial-2"]
    assert study.arms[1].set == ["optim.learning_rate=0.01", "runtime.precision=bf16"]
    assert (study.seeds, study.budgets, study.steps) == ([5, 6, 7], [90.0], 0)
    assert study.data["train"] == str(tmp_path / "train.csv")
    assert panel.toolbar.box.currentData() == made.id
    assert panel.bar.message.remedy is not None
    panel.bar.message.remedy.do()
    qtbot.waitUntil(lambda: [study.id for study in services.store.studies()] == [record.id])


def test_a_finished_sweep_that_was_extended_can_be_started(services: Services, tmp_path: Path) -> None:
    (tmp_path / "lr.json").write_text(json.dumps(sweep_dict()))
    out = SweepDir(services.studies.open(tmp_path / "lr.json").folder)
    status = first_status(0, 0.0, "")
    status.finished = True
    StudyDir(out.path).write_status(status)
    assert read_study_folder(out.path).state == "done"
    later = out.status.stat().st_mtime + 1
    os.utime(out.sweep, (later, later))
    assert read_study_folder(out.path).state == "extended"
    out.trials.write_text("{}")
    assert "trials.json" in read_study_folder(out.path).results_problem
