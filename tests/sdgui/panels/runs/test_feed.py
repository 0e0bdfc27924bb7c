"""From the runs' histories to the plots: each point once, whatever is watched, resumed or renamed meanwhile."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from PySide6.QtCore import QObject, Signal
from pytestqt.qtbot import QtBot

from core.spec.run.events import CheckpointSaved, Evaluated, Event, Log, Metrics, RunFinished, RunStarted
from sdgui.app.start import make_application
from sdgui.panels.runs import feed as curve_feed
from sdgui.panels.runs.event_log import EventLog
from sdgui.panels.runs.feed import CurveFeed
from sdgui.panels.runs.model import LogLine, event_lines
from sdgui.panels.runs.plots.charts import ancestors_key, curve_key
from sdgui.panels.runs.plots.grid import PlotGrid
from sdgui.panels.runs.tabs import RunTabs
from sdgui.runs.history import RunHistory
from sdgui.store.records import RunLabel, StoreError
from sdgui.store.store import Store

LOSS, OTHER = "train/loss", "train/other"


class Tails(QObject):
    """A follower in miniature: histories that the test fills."""

    curves_changed = Signal(int, object)
    curves_loaded = Signal(int)

    def __init__(self) -> None:
        super().__init__()
        self.histories: dict[int, RunHistory] = {}
        self.hidden: list[int] = []

    def show(self, run_id: int) -> RunHistory:
        return self.histories.setdefault(run_id, RunHistory())

    def hide(self, run_id: int) -> None:
        self.hidden.append(run_id)
        self.histories.pop(run_id, None)

    def history(self, run_id: int) -> RunHistory | None:
        return self.histories.get(run_id)

    def report(self, run_id: int, *events: Event) -> None:
        self.curves_changed.emit(run_id, self.show(run_id).apply(events))


class Watched:
    """A feed over a grid, and what it handed over."""

    def __init__(self, qtbot: QtBot) -> None:
        make_application()
        self.tails, self.grid, self.names = Tails(), PlotGrid(), {1: "first", 2: "second"}
        qtbot.addWidget(self.grid)
        tails: Any = self.tails
        find = {Path("/runs/first"): 1, Path("/runs/second"): 2}.get
        self.feed = CurveFeed(tails, self.grid, self.labels, self.grid, find)
        self.appended: list[tuple[str, list[float]]] = []
        append = self.grid.append

        def noted(key: str, metric: str, x: Any, y: Any, times: Any = None) -> None:
            self.appended.append((metric, list(x)))
            append(key, metric, x, y, times)

        self.grid.append = noted  # type: ignore[method-assign]

    def labels(self, run_ids: Sequence[int]) -> dict[int, RunLabel]:
        return {run_id: RunLabel(self.names[run_id], run_id) for run_id in run_ids}

    def steps(self, run_id: int | str, metric: str = LOSS) -> list[float]:
        self.feed._flush()
        return self.grid.points(str(run_id), metric)[0].tolist()


@pytest.fixture
def watched(qtbot: QtBot, monkeypatch: pytest.MonkeyPatch) -> Watched:
    monkeypatch.setattr(curve_feed, "_TIME_SLICE_MS", 60_000)  # one flush plots all, however busy the machine is
    return Watched(qtbot)


def losses(*steps: int, value: float = 1.0) -> list[Event]:
    return [Metrics(step=step, values={LOSS: value}, time=float(step)) for step in steps]


def test_a_plot_of_a_run_that_is_no_longer_shown_is_removed(watched: Watched) -> None:
    watched.feed.watch((1,))
    watched.tails.report(1, Metrics(step=1, values={LOSS: 1.0, OTHER: 2.0}, time=1.0))
    watched.feed._flush()
    assert watched.grid.metrics() == [LOSS, OTHER]
    watched.feed.watch((2,))
    assert watched.grid.metrics() == [LOSS, OTHER], "nothing moves before the other run's curves are known"
    watched.tails.report(2, *losses(1, 2))
    watched.feed._flush()
    assert watched.grid.metrics() == [LOSS], "no plot is left that only says that it has no points"
    watched.tails.report(2, Metrics(step=3, values={OTHER: 2.0}, time=3.0))
    assert watched.steps(2, OTHER) == [3.0]


def started(step: int) -> Event:
    return RunStarted(step=step, total_steps=99, config_digest="d", time=float(step))


def test_curves_are_drawn_while_the_registry_is_out_of_reach(watched: Watched, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_run_ids: Sequence[int]) -> dict[int, RunLabel]:
        raise StoreError("the registry cannot be reached")

    monkeypatch.setattr(watched.feed, "_labels", refuse)
    watched.feed.watch((1,))
    watched.tails.report(1, started(0), *losses(1, 2))
    assert watched.steps(1) == [1, 2]


def test_followed_points_are_appended_once_each(qtbot: QtBot, watched: Watched) -> None:
    watched.feed.watch((1,))
    watched.tails.report(1, started(0), *losses(1, 2, 3))
    assert watched.steps(1) == [1, 2, 3]
    watched.tails.report(1, *losses(4, 5))
    assert watched.steps(1) == [1, 2, 3, 4, 5]
    assert watched.appended == [(LOSS, [4, 5])]
    qtbot.waitUntil(lambda: not watched.feed._timer.isActive())
    watched.tails.report(1, *losses(6))
    qtbot.waitUntil(lambda: len(watched.appended) == 2 and not watched.feed._timer.isActive())


def test_a_resume_that_voids_points_replaces_the_curve(watched: Watched) -> None:
    watched.feed.watch((1,))
    watched.tails.report(1, started(0), *losses(1, 2, 3))
    assert watched.steps(1) == [1, 2, 3]
    watched.tails.report(1, started(1), *losses(2, 3, 4, value=7.0))
    assert watched.steps(1) == [1, 2, 3, 4]
    assert watched.grid.points("1", LOSS)[1].tolist() == [1, 7, 7, 7]
    assert watched.appended == []


def test_a_restarted_curve_is_replaced(watched: Watched) -> None:
    """As after its file was replaced: as many points as before, other steps."""
    watched.feed.watch((1,))
    watched.tails.report(1, *losses(1, 2, 3))
    assert watched.steps(1) == [1, 2, 3]
    watched.tails.histories[1] = RunHistory()
    watched.tails.report(1, *losses(7, 8, 9, 10))
    assert watched.steps(1) == [7, 8, 9, 10]


def test_loaded_points_are_shown_and_unwatched_ones_are_not(watched: Watched) -> None:
    watched.tails.show(1).apply([started(0), *losses(1, 2)])
    watched.tails.report(2, *losses(1))
    watched.feed.watch((1,))
    assert watched.steps(1) == [1, 2]
    assert watched.grid.runs() == ["1"]
    assert watched.grid.legend.isHidden()
    watched.feed.watch((1, 2))
    assert not watched.grid.legend.isHidden()
    watched.tails.curves_loaded.emit(2)
    assert watched.steps(2) == [1]


def test_an_unwatched_run_is_removed_with_its_pending_points(watched: Watched) -> None:
    watched.feed.watch((1, 2))
    watched.tails.report(1, *losses(1))
    watched.tails.report(2, *losses(1, 2))
    watched.feed.watch((2,))
    assert watched.steps(2) == [1, 2]
    assert watched.grid.runs() == ["2"]
    assert watched.tails.hidden == [1]
    watched.feed.watch(())
    assert watched.tails.hidden == [1, 2]


def test_large_updates_are_delivered_in_batches(
    qtbot: QtBot, watched: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(curve_feed, "_TIME_SLICE_MS", -1)
    watched.feed.watch((1,))
    watched.tails.report(1, Metrics(step=1, values={f"train/{number}": 1.0 for number in range(5)}))
    watched.feed._flush()
    assert len(watched.grid.metrics()) == 1
    qtbot.waitUntil(lambda: len(watched.grid.metrics()) == 5)


def test_events_are_listed_by_time() -> None:
    events: list[Event] = [
        RunStarted(step=0, total_steps=9, config_digest="d", device="cpu", precision="fp32", time=1.0),
        Log(level="warning", message="a row is skipped", time=2.0),
        Evaluated(step=3, values={"val/student/mean_recall": 0.5}, time=3.0),
        CheckpointSaved(step=3, name="step-00000003", best=True, time=4.0),
        Log(level="info", message="half way", time=5.0),
        RunFinished(step=9, time=6.0),
    ]
    history = RunHistory()
    history.apply(events)
    lines = event_lines(history)
    assert [moment for moment, _, _ in lines] == [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]
    assert [sentence.split()[0] for _, _, sentence in lines] == ["Training", "a", "Validated", "Saved", "half", "Ended"]


def test_new_lines_are_appended_and_other_changes_reset_the_list() -> None:
    make_application()
    log = EventLog()
    lines: list[LogLine] = [(float(index), "warning", f"line {index}") for index in range(4)]
    for number in (2, 2, 4, 1):
        first = log.item(0)
        log.set_lines(lines[:number])
        assert log.count() == number
        assert (log.item(0) is first) == (first is not None and number > 1), "lines are kept, and also their selection"
        assert log.item(number - 1).text() == f"{clock(number - 1.0)}   line {number - 1}"
        assert not log.item(number - 1).icon().isNull()
    log.set_lines([(0.0, "info", "another run")])
    assert (log.count(), log.item(0).icon().isNull()) == (1, True)


def clock(moment: float) -> str:
    return time.strftime("%H:%M:%S", time.localtime(moment))


def ancestral(watched: Watched, run_id: int) -> list[float]:
    """The steps of the curve of the runs that ``run_id`` continues."""
    return watched.steps(ancestors_key(str(run_id)))


def forked(folder: str, step: int, kind: str = "fork") -> Event:
    parent = {"run": "x", "folder": folder, "step": step, "kind": kind}
    return RunStarted(step=step, total_steps=99, config_digest="d", time=float(step), parent=parent)


def test_the_curve_of_a_fork_begins_with_that_of_its_ancestors(watched: Watched) -> None:
    watched.names[3] = "third"
    watched.feed.watch((3,))
    watched.tails.report(3, forked("/runs/second", 4), *losses(5, 6))
    watched.tails.report(2, forked("/runs/first", 2, "continue"), *losses(3, 4, 5))
    watched.tails.report(1, started(0), *losses(1, 2, 3))
    assert watched.steps(3) == [5, 6]
    assert ancestral(watched, 3) == [1, 2, 3, 4, 5], "no gap before the fork's first point"
    series = watched.grid._cards[LOSS].series[curve_key(ancestors_key("3"), LOSS)]
    assert (series.name, series.is_ancestral) == ("second ← first (parents)", True)
    assert series.times.tolist() == [-2.0, -1.0, -1.0, 0.0, 1.0], "before the fork"
    assert series.nearest("step", 5.0, slack=1.0) == 3, "the last point is read off the fork's own curve"
    assert series.dots("step", 0.0, 9.0, max_dots=40).tolist() == [0, 1, 2, 3]
    assert not watched.grid.legend.isHidden()
    assert [name for name, _ in watched.grid.legend.shown_entries().values()] == ["third", "second ← first (parents)"]
    watched.feed.watch((3, 2))
    assert ancestral(watched, 3) == [], "the parent draws itself"
    assert ancestral(watched, 2) == [1, 2, 3]
    assert [name for name, _ in watched.grid.legend.shown_entries().values()] == ["third", "second", "first (parent)"]
    watched.feed.watch((3,))
    assert ancestral(watched, 3) == [1, 2, 3, 4, 5]
    watched.feed.watch(())
    assert sorted(watched.tails.hidden) == [1, 2, 3]
    assert not watched.tails.histories


@pytest.mark.parametrize(
    "start",
    [forked("/runs/first", 0, "fine-tune"), forked("/elsewhere", 4), forked("/runs/second", 4), started(0)],
    ids=["another count of steps", "not in the store", "itself", "no parent"],
)
def test_other_runs_have_no_ancestral_curve(watched: Watched, start: Event) -> None:
    watched.feed.watch((2,))
    watched.tails.report(2, start, *losses(5, 6))
    assert watched.steps(2) == [5, 6]
    assert list(watched.grid._cards[LOSS].series) == [curve_key("2", LOSS)]
    assert list(watched.tails.histories) == [2]


@pytest.mark.parametrize("name", ["a\ud800b", "a\0b", "a closed database"])
def test_a_parent_that_cannot_be_looked_up_is_left_out(name: str, tmp_path: Path) -> None:
    store = Store.open(tmp_path)
    if name == "a closed database":
        store.close()
    tabs = SimpleNamespace(_services=SimpleNamespace(store=store))
    assert RunTabs._find_run(tabs, Path("/", name)) is None  # type: ignore[arg-type]
    store.close()
