"""Parts of the Study panel by themselves: toolbar, the study's own page, the plot, requests to end."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest
from PySide6.QtCore import Qt
from pytestqt.qtbot import QtBot

from core.spec.study import Study
from sdgui.panels.study import ending as study_ending
from sdgui.panels.study.ending import StudyEnding
from sdgui.panels.study.error_bars import Bar, ErrorBars
from sdgui.panels.study.toolbar import StudyToolbar
from sdgui.panels.study.view import StudyView, state_text
from sdgui.runs.study_programs import StudyProgramError
from sdgui.runs.study_status import StudyRunSnapshot, StudySnapshot
from sdgui.store.studies import StudyRecord
from tests.sdgui.panels.study.studying import a_study
from tests.sdgui.panels.study.test_study_tables import a_mean, an_arm


class Programs:
    """Takes requests; refuses those in ``refused``."""

    def __init__(self) -> None:
        self.requests: list[tuple[int, str]] = []
        self.refused: set[str] = set()

    def ask_to_end(self, study_id: int, request: str) -> None:
        if request in self.refused:
            raise StudyProgramError("It runs elsewhere.")
        self.requests.append((study_id, request))


def an_ending() -> tuple[StudyEnding, Programs]:
    programs = Programs()
    return StudyEnding(cast(Any, programs)), programs


def a_record(tmp_path: Path, study_id: int = 1, name: str = "mine") -> StudyRecord:
    return StudyRecord(id=study_id, name=name, folder=tmp_path / name, created=0.0, arms={})


def a_run(arm: str, seed: int = 0, state: str = "done", **more: Any) -> StudyRunSnapshot:
    return StudyRunSnapshot(arm, seed, state, more.pop("message", ""), Path(f"/{arm}/{seed}"), **more)


def a_look(state: Any = "done", study: Study | None = None, **more: Any) -> StudySnapshot:
    return StudySnapshot(Path("/a"), state, study or a_study(), **more)


def test_actions_depend_on_the_state(qtbot: QtBot, tmp_path: Path) -> None:
    toolbar, (ending, _) = StudyToolbar(), an_ending()
    qtbot.addWidget(toolbar)
    record = a_record(tmp_path)

    def enabled(look: StudySnapshot | None, editing: bool = False, study: StudyRecord | None = record) -> str:
        toolbar.show_state(study, look, editing, ending)
        names = ("begin", "pause", "stop", "export", "more", "folder", "bin", "box")
        return " ".join(name for name in names if getattr(toolbar, name).isEnabled())

    full: dict[str, Any] = {"results": {}}
    assert enabled(a_look("not started")) == "begin more folder bin box"
    assert toolbar.begin.text() == "&Start"
    assert enabled(a_look("running")) == "pause stop folder box"
    assert enabled(a_look("starting")) == "pause stop folder box"
    assert enabled(a_look("paused", **full)) == "begin export more folder bin box"
    assert toolbar.begin.text() == "Re&sume"
    assert enabled(a_look("done", **full)) == "export more folder bin box"
    assert enabled(a_look("failed")) == "begin more folder bin box"
    assert toolbar.begin.text() == "Re&sume"
    assert enabled(a_look("grown", **full)) == "begin export more folder bin box"
    assert toolbar.begin.text() == "&Start"
    assert enabled(StudySnapshot(Path("/a"), "gone", problem="gone")) == "folder bin box"
    assert enabled(None, editing=True) == ""
    assert enabled(a_look("not started"), editing=True) == ""
    assert enabled(None, study=None) == "box"


def test_a_pending_request_disables_its_button_until_a_kill_is_possible(
    qtbot: QtBot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    toolbar, (ending, programs) = StudyToolbar(), an_ending()
    qtbot.addWidget(toolbar)
    record, look = a_record(tmp_path), a_look("running")

    def buttons() -> tuple[bool, bool, str]:
        toolbar.show_state(record, look, False, ending)
        return toolbar.pause.isEnabled(), toolbar.stop.isEnabled(), toolbar.stop.text()

    assert buttons() == (True, True, "Sto&p")
    ending.ask(1, "pause")
    qtbot.waitUntil(lambda: programs.requests == [(1, "pause")])
    assert buttons() == (False, False, "Sto&p")
    assert not ending.asked(2), "another study was not asked"
    monkeypatch.setattr(study_ending, "KILL_AFTER", 0.0)
    with qtbot.waitSignal(ending.became_overdue):
        ending.ask(1, "pause")
    assert buttons() == (False, True, "&Kill")
    ending.forget(1)
    assert buttons() == (True, True, "Sto&p")


def test_the_kill_button_appears_by_itself_and_a_kill_is_no_request(
    qtbot: QtBot, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(study_ending, "KILL_AFTER", 0.02)
    ending, programs = an_ending()
    with qtbot.waitSignal(ending.became_overdue):
        ending.ask(3, "stop")
    assert ending.overdue(3)
    ending.forget(3)
    ending.ask(3, "kill")
    qtbot.waitUntil(lambda: programs.requests == [(3, "stop"), (3, "kill")])
    assert not ending.asked(3)


def test_a_refused_request_is_reported_and_cleared(qtbot: QtBot) -> None:
    ending, programs = an_ending()
    programs.refused = {"stop"}
    with qtbot.waitSignal(ending.refused) as said:
        ending.ask(3, "stop")
    assert said.args == ["It runs elsewhere."]
    assert not ending.asked(3)


def test_the_newest_study_is_listed_first(qtbot: QtBot, tmp_path: Path) -> None:
    toolbar = StudyToolbar()
    qtbot.addWidget(toolbar)
    toolbar.show_studies([a_record(tmp_path, 1, "old"), a_record(tmp_path, 2, "new")])
    toolbar.show_studies([a_record(tmp_path, 1, "old"), a_record(tmp_path, 2, "new")])
    assert [toolbar.box.itemText(row) for row in range(toolbar.box.count())] == ["new", "old"]
    toolbar.choose(1)
    assert (toolbar.box.currentText(), toolbar.box.currentData()) == ("old", 1)


def test_a_state_shows_the_progress_of_the_study() -> None:
    runs = (a_run("clip"), a_run("sd", state="failed"), a_run("clip", 1, "waiting"))
    assert state_text(a_look("not started")) == "Not started yet."
    assert state_text(a_look("running", runs=runs, seconds_left=480.0)) == (
        "Running. 1 of 3 runs finished, 1 failed, about 8 min left."
    )
    assert state_text(a_look("paused", runs=runs[:1])) == "Paused; all runs are saved. 1 of 1 runs finished."
    assert state_text(a_look("done", problem="It is wrong.\nvery")) == "It is wrong."


@pytest.fixture
def view(qtbot: QtBot) -> StudyView:
    view = StudyView()
    qtbot.addWidget(view)
    view.show()
    return view


def test_the_page_of_a_study_shows_what_its_numbers_lack(view: StudyView) -> None:
    view.show_look(a_look("running", a_study(seeds=[4])), {})
    assert view.note.text().splitlines() == [
        "Only one seed: intervals and tests need at least two. Add seeds.",
        "No run has finished yet; the tables fill as runs finish.",
    ]
    assert not view.bars.isVisibleTo(view)
    assert view.about.text() == "2 arms, seeds 4"
    failed = tuple(a_run("sd", seed, "failed", message="no memory") for seed in range(4))
    view.show_look(a_look("failed", runs=failed, results_problem="It has version 7.", results_stamp=1.0), {})
    assert view.note.text().splitlines() == [
        "It has version 7.",
        *(f"sd, seed {seed}, failed: no memory" for seed in range(3)),
    ]
    assert view.note.isVisibleTo(view)
    for state, expected in (("running", ["far cannot be reached.", "It is tried again."]), ("paused", [])):
        look = a_look(state, results=RESULTS, results_stamp=2.0, trouble="far cannot be reached.\nIt is tried again.")
        view.show_look(look, {})
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


def test_the_plot_follows_the_selected_cell_and_the_network(view: StudyView) -> None:
    view.show_look(a_look(results=RESULTS, results_stamp=1.0), {"clip": 3})
    assert view.note.isHidden()
    assert view.bars.title.text() == "test/R@1, %: means of seeds with 95 % intervals"
    assert [(bar.mean, bar.color) for bar in view.bars.bars()] == [(40.0, 3)]
    model = view.means.model()
    view.means.setCurrentIndex(model.index(0, 3))
    assert view.bars.title.text() == "caption/CIDEr: one seed an arm", "no interval with one seed"
    view.means.setCurrentIndex(model.index(0, 0))
    assert view.bars.title.text().startswith("caption/CIDEr"), "a name is of no metric"
    assert view.bars.isVisibleTo(view)
    view.means.setCurrentIndex(model.index(0, 2))
    view.network.setCurrentIndex(2)
    view.network.activated.emit(2)
    assert [bar.mean for bar in view.bars.bars()] == [50.0]
    assert view.means.model().index(0, 2).data() == "50.0 [48.0, 52.0]"


def test_arms_keep_the_order_of_the_study_until_sorted(view: StudyView) -> None:
    assert not view.costs.isVisibleTo(view), "there is nothing to show yet"
    values = {"zebra": 0.095, "ant": 0.1, "bee": None}
    arms = {
        name: an_arm([0], {"final": {} if value is None else {"test/R@1": a_mean(value, None, value)}})
        for name, value in values.items()
    }
    view.show_look(a_look(results=RESULTS | {"arms": arms, "metrics": ["test/R@1"]}, results_stamp=1.0), {})
    model = view.means.model()

    def order() -> list[str]:
        return [str(model.index(row, 0).data()) for row in range(3)]

    assert order() == ["zebra", "ant", "bee"]
    view.means.sortByColumn(2, Qt.SortOrder.DescendingOrder)
    assert order() == ["ant", "zebra", "bee"], "by what the numbers are, not by their words"
    view.means.sortByColumn(0, Qt.SortOrder.AscendingOrder)
    assert order() == ["ant", "bee", "zebra"]
    assert view.tables.cornerWidget() is view.network
    heads = [view.runs.headerItem().text(column) for column in range(7)]
    assert heads == ["Arm", "Seed", "State", "Where", "Progress", "Time", "Message"]
    heads = [view.arms.headerItem().text(column) for column in range(3)]
    assert heads == ["Arm and its differences", "First arm", "This arm"]
    assert [view.network.itemText(row).split()[0] for row in range(3)] == ["final", "student", "teacher"]
    assert view.note.wordWrap()


def test_new_results_replace_the_old_and_equal_ones_do_not(view: StudyView) -> None:
    view.show_look(a_look(results=RESULTS, results_stamp=1.0), {})
    changed = {"clip": an_arm([0], {"final": {"test/R@1": a_mean(0.6, None, 0.6)}})}
    newer = RESULTS | {"arms": changed, "metrics": ["test/R@1"]}
    view.show_look(a_look(results=newer, results_stamp=2.0), {})
    assert view.tables_now()[0].rows[0][2].text == "60.0"
    assert [bar.mean for bar in view.bars.bars()] == [60.0]
    moved = replace(a_look(results=RESULTS, results_stamp=2.0), folder=Path("/other"))
    view.show_look(moved, {})
    assert view.tables_now()[0].rows[0][2].text == "40.0 [38.0, 42.0]", "another study's, of the same second"
    view.show_look(a_look(), {})
    assert view.tables_now()[0].rows == ()
    assert not view.bars.isVisibleTo(view)


def test_runs_are_listed_with_their_progress(qtbot: QtBot, view: StudyView) -> None:
    runs = (
        a_run("clip", 0, "done", seconds=90.0, seconds_left=1.0),
        a_run("clip", 1, "training", step=1200, total=4000, seconds_left=60.0, device="1"),
        a_run("sd", 0, "measuring", step=4000, total=4000),
        a_run("sd", 1, "failed", message="no memory"),
        a_run("sd", 2, "training", message="gpu cannot be reached", machine="gpu", device="0"),
    )
    view.show_look(a_look("running", runs=runs, trouble="gpu cannot be reached"), {})
    assert "gpu cannot be reached" in view.note.text()
    rows = [view.runs.topLevelItem(row) for row in range(view.runs.topLevelItemCount())]
    assert [[row.text(column) for column in range(7)] for row in rows] == [
        ["clip", "0", "done", "", "", "1 min 30 s", ""],
        ["clip", "1", "training", "GPU 1", "1\u2009200/4\u2009000", "1 min left", ""],
        ["sd", "0", "evaluating", "", "", "", ""],
        ["sd", "1", "failed", "", "", "", "no memory"],
        ["sd", "2", "training", "gpu, GPU 0", "", "", "gpu cannot be reached"],
    ]
    right = [bool(rows[0].textAlignment(column) & Qt.AlignmentFlag.AlignRight) for column in range(7)]
    assert right == [False, True, False, False, True, True, False], "figures stand at the right"
    assert not any(row.icon(2).isNull() for row in rows)
    assert rows[3].toolTip(6) == "no memory"
    assert (view.progress.value(), view.progress.maximum(), view.progress.isHidden()) == (1, 5, False)
    view.runs.setCurrentItem(rows[3])
    view.show_look(a_look("running", runs=(*runs[:4], a_run("sd", 2, "training"))), {})
    assert view.runs.currentIndex().row() == 3, "the row that was chosen stays chosen"
    with qtbot.waitSignal(view.run_requested) as signal:
        view.runs.itemActivated.emit(view.runs.topLevelItem(1), 0)
    assert signal.args == [Path("/clip/1")]
    view.show_look(a_look("not started"), {})
    assert (view.runs.topLevelItemCount(), view.progress.isHidden()) == (0, True)


def test_arms_are_listed_with_their_differences(view: StudyView) -> None:
    arms = [
        {"name": "clip", "preset": "clip"},
        {"name": "hot", "preset": "clip", "set": ["optim.clip_norm=7"]},
        {"name": "long", "preset": "clip", "set": ["optim.clip_norm=7"], "as_long_as": "clip", "train": "val"},
        {"name": "lost", "config": "/nowhere/arm.json"},
    ]
    view.show_look(a_look(study=a_study(arms=arms)), {})
    first, hot, long, lost = (view.arms.topLevelItem(row) for row in range(4))
    assert (first.childCount(), first.text(1)) == (0, "")
    assert (hot.childCount(), hot.text(1)) == (1, "1 difference")
    assert hot.text(2) == first.text(2)
    assert long.text(2).endswith(", trained on val, as long as clip")
    change = hot.child(0)
    assert (change.text(0), change.text(2)) == ("Optimiser · Gradient clipping", "7")
    assert change.text(1) not in ("", "7")
    assert "/nowhere/arm.json" in lost.text(2)
    view.show_look(a_look(study=a_study()), {})
    assert view.arms.topLevelItemCount() == 2


def test_means_are_drawn_with_intervals_seeds_and_names(qtbot: QtBot) -> None:
    bars = ErrorBars()
    qtbot.addWidget(bars)
    bars.set_bars(
        "R@1", [Bar("clip", 40.0, 30.0, 55.0, (39.0, 41.0), "40.0 [30, 55]"), Bar("sd", 20, None, None, (), "20")]
    )
    assert bars.accessibleDescription() == "clip 40.0 [30, 55]; sd 20"
    assert bars.accessibleName() == "R@1"
    plot = bars._plot
    kinds = [type(item).__name__ for item in plot.getPlotItem().items]
    assert (kinds.count("ErrorBarItem"), kinds.count("ScatterPlotItem")) == (1, 4)
    whisker = next(item for item in plot.getPlotItem().items if type(item).__name__ == "ErrorBarItem")
    assert (float(whisker.opts["top"][0]), float(whisker.opts["bottom"][0])) == (15.0, 10.0)
    low, high = plot.getPlotItem().vb.viewRange()[1]
    assert 15.0 < low < 20.0, "all of the axis is for what was measured"
    assert 55.0 < high < 60.0
    assert plot.getPlotItem().vb.viewRange()[0] == pytest.approx([-0.6, 1.6])
    assert plot.getAxis("bottom")._tickLevels == [[(0, "clip"), (1, "sd")]]
    dots = next(item for item in plot.getPlotItem().items if type(item).__name__ == "ScatterPlotItem")
    assert [(spot.pos().x(), spot.pos().y()) for spot in dots.points()] == [
        (pytest.approx(0.14), 39.0), (pytest.approx(0.16), 41.0)
    ]  # fmt: skip
    bars.set_bars("R@1", [Bar(name, -5.0, None, None, (), "-5") for name in "abc"])
    (left, right), (low, high) = plot.getPlotItem().vb.viewRange()
    assert (left, right) == pytest.approx((-0.6, 2.6))
    assert low < -5.0 < high < 0.0
    bars.set_bars("none", [])
    assert plot.getPlotItem().items == []
