"""A study's results as tables: what each cell says, its order, its colour, its copy and its CSV."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
from PySide6.QtCore import Qt
from PySide6.QtWidgets import QApplication
from pytestqt.qtbot import QtBot

from core.spec.config import override
from core.spec.run.status import RunState
from sdgui.panels.study.estimate import Estimate, estimate
from sdgui.panels.study.model import (
    Cell,
    Table,
    differences_table,
    interval_text,
    means_table,
    metric_heading,
    number_text,
    to_csv,
)
from sdgui.panels.study.results import ResultsModel, two_lines
from sdgui.shared.tables import CopyingTable
from sdgui.store.records import Run
from tests.sdgui.panels.study.studying import a_study

METRICS = ("test/R@1", "caption/CIDEr")


def a_mean(mean: float, spread: float | None, *values: float) -> dict[str, Any]:
    low, high = (None, None) if spread is None else (mean - spread, mean + spread)
    return {"mean": mean, "low": low, "high": high, "values": list(values)}


def an_arm(seeds: list[int], networks: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"seeds": seeds, "networks": networks} | more


def a_difference(mean: float, spread: float | None, significant: bool, *values: float) -> dict[str, Any]:
    return {
        "difference": a_mean(mean, spread, *values),
        "significant": significant,
        "p_t": None if spread is None else 0.0123 if significant else 0.3,
        "p_exact": None,
    }


def results(**changes: Any) -> dict[str, Any]:
    cost = {
        "step_seconds": {"mean": 0.25},
        "train_seconds": {"mean": 90.0},
        "ratio": {"mean": 1.5},
    }
    final = {"test/R@1": a_mean(0.4, 0.02, 0.39, 0.41), "caption/CIDEr": a_mean(0.8, None, 0.8)}
    teacher = {"test/R@1": a_mean(0.5, 0.01, 0.5, 0.5)}
    results: dict[str, Any] = {
        "metrics": list(METRICS),
        "arms": {
            "clip": an_arm([0, 1], {"final": final, "student": final}, cost=cost | {"ratio": None}),
            "sd": an_arm([0, 1], {"final": teacher, "teacher": teacher}, failed={"2": "no memory"}, cost=cost),
            "none": an_arm([], {}, failed={"0": "a", "1": "b"}),
        },
        "compare": [],
    }
    return results | changes


def texts(table: Table) -> list[list[str]]:
    return [[cell.text for cell in row] for row in table.rows]


def test_proportions_are_in_percent_and_other_scores_are_not() -> None:
    assert metric_heading("test/image_to_text_mean_rank") == "Test image → text mean rank"
    assert number_text("test/image_to_text_mean_rank", 5.25) == "5.250"
    assert number_text("test/image_to_text_MRR", 0.4056) == "40.6"
    assert (number_text("R@1", 0.4056), number_text("CIDEr", 0.8123)) == ("40.6", "0.812")
    assert (number_text("R@1", 0.02, signed=True), number_text("R@1", -0.02)) == ("+2.0", "-2.0")
    assert number_text("CIDEr", 0.5, signed=True) == "+0.500"
    assert interval_text("R@1", a_mean(0.4, 0.02)) == "40.0 [38.0, 42.0]"
    assert interval_text("R@1", a_mean(0.4, None)) == "40.0"
    assert interval_text("R@1", a_mean(0.1, 0.3)) == "10.0 [-20.0, 40.0]", "as in the export"
    assert interval_text("CIDEr", a_mean(0.1, 0.3)) == "0.100 [-0.200, 0.400]"
    assert interval_text("R@1", a_mean(-0.01, 0.02), signed=True) == "-1.0 [-3.0, +1.0]"


def test_a_mean_has_its_seeds_unit_and_cost() -> None:
    table = means_table(results(), "final")
    assert list(table.columns) == ["Arm", "Seeds", "Test R@1, %", "Caption CIDEr", "Step", "Training", "Cost"]
    assert list(table.metrics) == ["", "", *METRICS, "", "", ""]
    assert len(table.tips) == len(table.columns)
    clip, sd, none = texts(table)
    assert clip == ["clip", "2", "40.0 ± 2.0", "0.800", "250 ms", "1 min 30 s", "–"]
    assert sd[1:4] == ["2, 1 failed", "50.0 ± 1.0", "–"]
    assert sd[-1] == "1.50 x"
    assert none == ["none", "0, 2 failed", "–", "–", "–", "–", "–"]
    rows = table.rows
    assert (rows[0][1].role, rows[1][1].role, rows[1][1].tip) == ("", "error", "seed 2: no memory")
    assert rows[0][2].tip == "Test R@1: 40.0 [38.0, 42.0]\nBy seed: 39.0, 41.0"
    assert (rows[1][3].tip, rows[2][3].tip) == ("Not evaluated for the final network", "No finished run")
    assert (rows[0][0].value, rows[0][1].value, rows[0][2].value, rows[0][4].value) == ("clip", 2, 0.4, 0.25)


def test_means_are_of_the_selected_network() -> None:
    assert [row[2] for row in texts(means_table(results(), "teacher"))] == ["–", "50.0 ± 1.0", "–"]
    assert [row[2] for row in texts(means_table(results(), "student"))][:2] == ["40.0 ± 2.0", "–"]


def compared(**changes: Any) -> dict[str, Any]:
    comparison = {
        "arm": "sd",
        "baseline": "clip",
        "metrics": {"test/R@1": {"final": a_difference(0.1, 0.02, True, 0.09, 0.11)}},
        "cost_ratio": {"mean": 1.5},
    }
    return results(compare=[comparison | changes])


def test_a_difference_shows_significance_and_direction() -> None:
    table = differences_table(compared(), "final")
    (steps,) = texts(table)
    assert steps == [
        "sd",
        "clip",
        "Test R@1",
        "+10.0 ± 2.0",
        "yes (p = 0.012)",
        "yes (p = 0.012)",
        "–",
        "1.50 x",
    ]
    assert list(table.columns)[4:7] == ["Significant (t)", "Significant (Holm)", "p (exact)"]
    assert list(table.metrics) == ["test/R@1"]
    assert not table.by_column
    first = table.rows[0]
    assert (first[3].role, first[3].value) == ("good", 0.1)
    assert first[3].tip == "+10.0 [+8.0, +12.0]\nBy seed: +9.0, +11.0"
    assert first[3].exported == "+10.0 [+8.0, +12.0]"
    assert (first[4].value, math.isnan(float(first[6].value))) == (0.0123, True)
    assert len(table.tips) == len(table.columns) == len(first)

    def only(paired: dict[str, Any]) -> list[Cell]:
        changed = compared(metrics={"test/R@1": {"final": paired}}, cost_ratio=None)
        return list(differences_table(changed, "final").rows[0])

    worse = only(a_difference(-0.1, 0.02, True, -0.1, -0.1))
    assert (worse[3].role, worse[4].text) == ("error", "yes (p = 0.012)")
    lower_rank = compared(metrics={"test/text_to_image_mean_rank": {"final": a_difference(-2.0, 0.5, True, -2.0)}})
    cell = differences_table(lower_rank, "final").rows[0][3]
    assert (cell.text, cell.role) == ("-2.000 ± 0.500", "good")
    unclear = only(a_difference(0.1, 0.2, False, 0.0, 0.2))
    assert (unclear[3].role, unclear[4].text) == ("", "no (p = 0.300)")
    assert only(a_difference(0.1, None, False, 0.1))[4].text == "one seed"
    assert only(a_difference(0.1, None, False, 0.1, 0.1))[4].text == "no spread"
    assert unclear[-1].text == "–"


def test_p_values_are_adjusted_for_all_comparisons_of_final_networks() -> None:
    clear, close = a_difference(0.1, 0.02, True, 0.1), a_difference(0.1, 0.02, True, 0.1) | {"p_t": 0.03}
    metrics = {"test/R@1": {"final": clear, "student": close}, "test/R@10": {"final": close}}
    several = compared(metrics=metrics | {"a": {"final": close}})
    column = list(differences_table(several, "final").columns).index("Significant (Holm)")
    cells = [row[column].text for row in differences_table(several, "final").rows]
    assert cells == ["yes (p = 0.037)", "no (p = 0.060)", "no (p = 0.060)"]
    tiny = compared(metrics={"test/R@1": {"final": clear | {"p_t": 1e-5}}}, equal_clock={})
    (row,) = differences_table(tiny, "final").rows
    assert (row[4].text, row[column].text) == ("yes (p < 0.001)",) * 2, "no p is zero"
    assert [row[column].text for row in differences_table(several, "student").rows] == ["–"]


def test_a_difference_of_another_network_is_not_shown() -> None:
    assert texts(differences_table(compared(), "teacher")) == []


def test_a_comparison_without_runs_names_what_is_missing() -> None:
    lacking = compared(arm="none", metrics={})
    table = differences_table(lacking, "final")
    assert texts(table)[0][:3] == ["none", "clip", "none: no finished run"]
    assert len(table.rows[0]) == len(table.columns)
    assert list(table.metrics) == [""]
    apart = differences_table(compared(metrics={}), "final")
    assert texts(apart)[0][2] == "No seed finished in both arms"


def test_the_csv_guards_names_and_keeps_numbers() -> None:
    cells = [Cell("=cmd()", right=False), Cell("-1.0", -0.01, exported="-1.0 [-2.0, 0.0]")]
    first = Table(["Arm", "R@1"], ["", ""], [cells], ["", ""])
    second = Table(["=x"], [""], [], [""])
    assert to_csv([first, second]).splitlines() == ["Arm,R@1", '\'=cmd(),"-1.0 [-2.0, 0.0]"', "", "'=x"]


def model_of(table: Table) -> ResultsModel:
    model = ResultsModel()
    model.show_table(table)
    return model


def test_copying_takes_the_selected_cells_or_everything(qtbot: QtBot) -> None:
    model = model_of(means_table(results(), "final"))
    view = CopyingTable("Means")
    qtbot.addWidget(view)
    view.setModel(model)

    def copied() -> list[str]:
        view.copy()
        return QApplication.clipboard().text().splitlines()

    assert copied()[0] == "Arm\tSeeds\tTest R@1, %\tCaption CIDEr\tStep\tTraining\tCost"
    assert len(copied()) == 4
    choose = view.selectionModel()
    choose.select(model.index(0, 0), choose.SelectionFlag.Select)
    assert len(copied()) == 4, "one cell is no selection"
    choose.select(model.index(0, 1), choose.SelectionFlag.Select)
    assert copied() == ["Arm\tSeeds", "clip\t2"]
    QApplication.clipboard().clear()
    qtbot.keyClick(view, Qt.Key.Key_C, Qt.KeyboardModifier.ControlModifier)
    assert QApplication.clipboard().text() == "Arm\tSeeds\nclip\t2"


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
    for setting in ("optim.batch_size=12", "optim.micro_batch=4", "runtime.precision=bf16", "runtime.recompute=blocks"):
        other = a_study(steps=300, set=[setting])
        assert estimate(other, runs).seconds is None, f"a step with {setting} costs something else"
    assert estimate(STUDY, runs[:2]).unknown == ("sd-clip",)


def test_pauses_do_not_count_as_training_time(tmp_path: Path) -> None:
    run = finished(tmp_path / "run", "clip", seconds=90_000, memory_gib=0.5)
    lines = ['{"v": 1, "kind": "metrics", "time": 100, "step": 10, "values": {}}']
    lines += ['{"v": 1, "kind": "run_started", "time": 80000, "step": 50, "total_steps": 100, "config_digest": ""}']
    lines += [
        f'{{"v": 1, "kind": "metrics", "time": {80_000 + step}, "step": {step}, "values": {{}}}}'
        for step in (51, 75, 100)
    ]
    run.dir.events.write_text("\n".join(lines) + "\n")
    assert estimate(STUDY, [run, finished(tmp_path / "sd", "sd-clip", 100, 0.5)]).seconds == 2 * 300 * (1 + 1)


def test_budgets_are_the_time_and_need_no_earlier_run() -> None:
    timed = a_study(steps=0, budgets=[60, 120])
    assert estimate(timed, []) == Estimate(8, 2 * 2 * (60 + 120), None)


def test_long_headings_have_two_lines() -> None:
    assert two_lines("Test R@1, %") == "Test\nR@1, %"
    assert two_lines("Zero-shot acc1, %") == "Zero-shot\nacc1, %"
    assert two_lines("Significant (Holm)") == "Significant\n(Holm)"
    for short in ("Training", "CIDEr, %", "p (t)"):
        assert two_lines(short) == short
