"""Parts of the Study panel by themselves: toolbar, the study's own page, the plot, requests to end."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from PySide6.QtCore import Qt
from PySide6.QtGui import QAction
from PySide6.QtWidgets import QFileDialog, QWidget
from pytestqt.qtbot import QtBot

from core.spec.machines.machine import Machine, this_computer
from core.spec.study import Study
from core.spec.study.machines import ANY_MACHINE, THIS_COMPUTER
from sdgui.panels.study.ending import StudyEnding
from sdgui.panels.study.open_menu import BUNDLED_STUDIES, open_menu
from sdgui.panels.study.toolbar import MachinesButton, StudyToolbar
from sdgui.panels.study.view import StudyView
from sdgui.runs.study_status import StudyRunSnapshot, StudySnapshot
from sdgui.store.studies import StudyRecord
from tests.sdgui.panels.study.studying import a_study
from tests.sdgui.panels.study.test_study_tables import a_mean, an_arm


def a_run(arm: str, seed: int = 0, state: str = "done", **more: Any) -> StudyRunSnapshot:
    return StudyRunSnapshot(arm, seed, state, more.pop("message", ""), Path(f"/{arm}/{seed}"), **more)


def a_snapshot(state: Any = "done", study: Study | None = None, **more: Any) -> StudySnapshot:
    return StudySnapshot(Path("/a"), state, study or a_study(), **more)


def test_actions_depend_on_the_state(qtbot: QtBot, tmp_path: Path) -> None:
    toolbar, ending = StudyToolbar(cast(Any, None)), StudyEnding(cast(Any, None))
    qtbot.addWidget(toolbar)
    record = StudyRecord(id=1, name="mine", folder=tmp_path, created=0.0, arms={})

    def enabled(snapshot: StudySnapshot | None, editing: bool = False, study: StudyRecord | None = record) -> str:
        toolbar.show_state(study, snapshot, editing, ending)
        names = ("start", "pause", "stop", "export", "extend", "folder", "delete", "box")
        return " ".join(name for name in names if getattr(toolbar, name).isEnabled())

    full: dict[str, Any] = {"results": {}}
    assert enabled(a_snapshot("not started")) == "start extend folder delete box"
    assert toolbar.start.text() == "&Start"
    assert enabled(a_snapshot("running")) == "pause stop folder box"
    assert enabled(a_snapshot("starting")) == "pause stop folder box"
    assert enabled(a_snapshot("paused", **full)) == "start export extend folder delete box"
    assert toolbar.start.text() == "Re&sume"
    assert enabled(a_snapshot("done", **full)) == "export extend folder delete box"
    assert enabled(a_snapshot("failed")) == "start extend folder delete box"
    assert toolbar.start.text() == "Re&sume"
    assert enabled(a_snapshot("extended", **full)) == "start export extend folder delete box"
    assert toolbar.start.text() == "&Start"
    assert enabled(StudySnapshot(Path("/a"), "gone", problem="gone")) == "folder delete box"
    assert enabled(None, editing=True) == ""
    assert enabled(a_snapshot("not started"), editing=True) == ""
    assert enabled(None, study=None) == "box"


@pytest.fixture
def view(qtbot: QtBot) -> StudyView:
    view = StudyView()
    qtbot.addWidget(view)
    view.show()
    return view


def test_the_page_of_a_study_shows_what_its_numbers_lack(view: StudyView) -> None:
    view.show_snapshot(a_snapshot("running", a_study(seeds=[4])), {})
    assert view.note.text().splitlines() == [
        "Only one seed: intervals and tests need at least two. Add seeds.",
        "No run has finished yet. The tables are filled as runs finish.",
    ]
    assert not view.bars.isVisibleTo(view)
    assert view.about.text() == "2 arms, seeds 4"
    failed = tuple(a_run("sd", seed, "failed", message="no memory") for seed in range(4))
    view.show_snapshot(a_snapshot("failed", runs=failed, results_problem="It has version 7.", results_stamp=1.0), {})
    assert view.note.text().splitlines() == [
        "It has version 7.",
        *(f"sd, seed {seed}, failed: no memory" for seed in range(3)),
    ]
    assert view.note.isVisibleTo(view)
    for state, expected in (("running", ["far cannot be reached.", "It is tried again."]), ("paused", [])):
        snapshot = a_snapshot(
            state, results=RESULTS, results_stamp=2.0, trouble="far cannot be reached.\nIt is tried again."
        )
        view.show_snapshot(snapshot, {})
        assert view.note.text().splitlines() == expected


RESULTS = {
    "metrics": ["test/R@1", "caption/CIDEr"],
    "arms": {
        "clip": an_arm(
            [0, 1],
            {
                "final": {"test/R@1": a_mean(0.4, 0.02, 0.39, 0.41), "caption/CIDEr": a_mean(0.8, None, 0.8)},
                "teacher": {"test/R@1": a_mean(0.5, 0.02, 0.5)},
            },
        )
    },
    "compare": [],
}


def test_the_list_of_runs_keeps_its_rows_while_they_train(view: StudyView) -> None:
    runs = [a_run("clip", seed=seed) for seed in range(3)]
    view.show_snapshot(a_snapshot("running", runs=tuple(runs)), {})
    view.runs.setCurrentItem(view.runs.topLevelItem(1))
    row = view.runs.topLevelItem(1)
    trained = replace(runs[1], state="training", step=5, total=10, seconds_left=60.0)
    view.show_snapshot(a_snapshot("running", runs=(runs[0], trained)), {})
    assert view.runs.topLevelItemCount() == 2
    assert view.runs.topLevelItem(1) is row is view.runs.currentItem()
    assert [row.text(column) for column in (0, 2, 4, 5)] == ["clip", "training", "5/10", "1 min left"]


def test_the_plot_follows_the_selected_cell_and_the_network(view: StudyView) -> None:
    view.show_snapshot(a_snapshot(results=RESULTS, results_stamp=1.0), {"clip": 3})
    assert view.note.isHidden()
    assert view.bars.title.text() == "Test R@1, %: means of seeds with 95 % intervals"
    assert [(bar.mean, bar.color) for bar in view.bars.bars] == [(40.0, 3)]
    model = view.means.model()
    view.means.setCurrentIndex(model.index(0, 3))
    assert view.bars.title.text() == "Caption CIDEr: one seed per arm", "no interval with one seed"
    view.means.setCurrentIndex(model.index(0, 0))
    assert view.bars.title.text().startswith("Caption CIDEr"), "a name is of no metric"
    assert view.bars.isVisibleTo(view)
    view.means.setCurrentIndex(model.index(0, 2))
    view.network.setCurrentIndex(2)
    view.network.activated.emit(2)
    assert [bar.mean for bar in view.bars.bars] == [50.0]
    assert view.means.model().index(0, 2).data() == "50.0 ± 2.0"


def test_arms_keep_the_order_of_the_study_until_sorted(view: StudyView) -> None:
    assert not view.costs.isVisibleTo(view), "there is nothing to show yet"
    values = {"zebra": 0.095, "ant": 0.1, "bee": None}
    arms = {
        name: an_arm([0], {"final": {} if value is None else {"test/R@1": a_mean(value, None, value)}})
        for name, value in values.items()
    }
    view.show_snapshot(a_snapshot(results=RESULTS | {"arms": arms, "metrics": ["test/R@1"]}, results_stamp=1.0), {})
    model = view.means.model()

    def order() -> list[str]:
        return [str(model.index(row, 0).data()) for row in range(3)]

    assert order() == ["zebra", "ant", "bee"]
    view.means.sortByColumn(2, Qt.SortOrder.DescendingOrder)
    assert order() == ["ant", "zebra", "bee"], "by what the numbers are, not by their words"
    view.means.sortByColumn(0, Qt.SortOrder.AscendingOrder)
    assert order() == ["ant", "bee", "zebra"]


def test_arms_are_listed_with_their_differences(view: StudyView) -> None:
    arms = [
        {"name": "clip", "preset": "clip"},
        {"name": "hot", "preset": "clip", "set": ["optim.clip_norm=7"]},
        {"name": "long", "preset": "clip", "set": ["optim.clip_norm=7"], "train": "val"},
        {"name": "lost", "config": "/nowhere/arm.json"},
    ]
    view.show_snapshot(a_snapshot(study=a_study(arms=arms)), {})
    first, hot, long, lost = (view.arms.topLevelItem(row) for row in range(4))
    assert (first.childCount(), first.text(1)) == (0, "")
    assert (hot.childCount(), hot.text(1)) == (1, "1 difference")
    assert hot.text(2) == first.text(2)
    assert long.text(2).endswith(", trained on val")
    change = hot.child(0)
    assert (change.text(0), change.text(2)) == ("Optimiser · Gradient clipping", "7")
    assert change.text(1) not in ("", "7")
    assert "/nowhere/arm.json" in lost.text(2)
    view.show_snapshot(a_snapshot(study=a_study()), {})
    assert view.arms.topLevelItemCount() == 2


def listing(*names: str) -> Any:
    return SimpleNamespace(listing=lambda: [this_computer(), *(Machine(name=name, host="x") for name in names)])


@pytest.fixture
def button(qtbot: QtBot) -> MachinesButton:
    button = MachinesButton(listing("r&d", "far"))
    qtbot.addWidget(button)
    return button


def choices(button: MachinesButton) -> dict[str, QAction]:
    return {str(action.data()): action for action in button.machines.actions() if action.isCheckable()}


def ticked(button: MachinesButton) -> list[str]:
    return [name for name, action in choices(button).items() if action.isChecked()]


def test_several_machines_can_be_ticked_and_exclusive_ones_stand_alone(button: MachinesButton) -> None:
    received: list[list[str]] = []
    button.machines_chosen.connect(received.append)
    button.machines.aboutToShow.emit()
    texts = [action.text() for action in button.machines.actions() if not action.isSeparator()]
    assert texts == ["This computer", "r&&d", "far", "Any free machine"]
    assert ticked(button) == [THIS_COMPUTER]
    steps = (
        ("r&d", [THIS_COMPUTER, "r&d"], "2 machines"),
        (THIS_COMPUTER, ["r&d"], "r&&d"),
        (ANY_MACHINE, [ANY_MACHINE], "Any machine"),
        ("far", ["far"], "far"),
        ("far", [THIS_COMPUTER], "This computer"),
        (ANY_MACHINE, [ANY_MACHINE], "Any machine"),
        (ANY_MACHINE, [THIS_COMPUTER], "This computer"),
    )
    for name, on, text in steps:
        choices(button)[name].trigger()
        assert (received[-1], ticked(button), button.text()) == (on, on, text), name
    assert len(received) == len(steps)


def test_shipped_studies_files_and_folders_are_opened(qtbot: QtBot, monkeypatch: pytest.MonkeyPatch) -> None:
    parent, paths = QWidget(), list[Path]()
    qtbot.addWidget(parent)
    menu = open_menu(parent, paths.append)
    bundled = sorted(BUNDLED_STUDIES.glob("*.json"))
    actions = [action for action in menu.actions() if not action.isSeparator()]
    assert [action.text() for action in actions[:-2]] == [f"Bundled: {path.stem}" for path in bundled]
    actions[0].trigger()
    assert paths == bundled[:1]
    answers = ["", "/a/study.json", "", "/a"]
    monkeypatch.setattr(QFileDialog, "getOpenFileName", lambda *_: (answers.pop(0), ""))
    monkeypatch.setattr(QFileDialog, "getExistingDirectory", lambda *_: answers.pop(0))
    for action in (actions[-2], actions[-2], actions[-1], actions[-1]):
        action.trigger()
    assert paths[1:] == [Path("/a/study.json"), Path("/a")], "nothing is opened where nothing was chosen"
