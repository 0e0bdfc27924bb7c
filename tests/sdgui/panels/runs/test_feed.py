"""From the runs' histories to the plots: each point once, whatever is watched, resumed or renamed meanwhile."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from PySide6.QtCore import QObject, Signal
from pytestqt.qtbot import QtBot

from core.spec.run.events import Event, Metrics, RunStarted
from sdgui.app.start import make_application
from sdgui.panels.runs import feed as curve_feed
from sdgui.panels.runs.feed import CurveFeed
from sdgui.panels.runs.plots.grid import PlotGrid
from sdgui.runs.history import RunHistory
from sdgui.store.records import RunLabel

LOSS, OTHER = "train/loss", "train/other"


class Tails(QObject):
    """A tailer in miniature: histories that the test fills."""

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
        self.feed = CurveFeed(tails, self.grid, self.labels, self.grid)
        self.appended: list[tuple[str, list[float]]] = []
        append = self.grid.append

        def noted(key: str, metric: str, x: Any, y: Any, times: Any = None) -> None:
            self.appended.append((metric, list(x)))
            append(key, metric, x, y, times)

        self.grid.append = noted  # type: ignore[method-assign]

    def labels(self, run_ids: Sequence[int]) -> dict[int, RunLabel]:
        return {run_id: RunLabel(self.names[run_id], run_id) for run_id in run_ids}

    def steps(self, run_id: int, metric: str = LOSS) -> list[float]:
        self.feed._flush()
        return self.grid.points(str(run_id), metric)[0].tolist()


@pytest.fixture
def watched(qtbot: QtBot) -> Watched:
    return Watched(qtbot)


def losses(*steps: int, value: float = 1.0) -> list[Event]:
    return [Metrics(step=step, values={LOSS: value}, time=float(step)) for step in steps]


def started(step: int) -> Event:
    return RunStarted(step=step, total_steps=99, config_digest="d", time=float(step))


def test_points_that_follow_are_appended_and_each_is_there_once(qtbot: QtBot, watched: Watched) -> None:
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


def test_what_was_loaded_before_is_shown_and_what_is_not_watched_is_not(watched: Watched) -> None:
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


def test_a_run_that_is_no_longer_watched_is_gone_with_what_waits_of_it(watched: Watched) -> None:
    watched.feed.watch((1, 2))
    watched.tails.report(1, *losses(1))
    watched.tails.report(2, *losses(1, 2))
    watched.feed.watch((2,))
    assert watched.steps(2) == [1, 2]
    assert watched.grid.runs() == ["2"]
    assert watched.tails.hidden == [1]
    watched.feed.close()
    assert watched.tails.hidden == [1, 2]


def test_much_is_handed_over_in_several_turns(qtbot: QtBot, watched: Watched, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(curve_feed, "_AT_ONCE", -1)
    watched.feed.watch((1,))
    watched.tails.report(1, Metrics(step=1, values={f"train/{number}": 1.0 for number in range(5)}))
    watched.feed._flush()
    assert len(watched.grid.metrics()) == 1
    qtbot.waitUntil(lambda: len(watched.grid.metrics()) == 5)


def test_a_run_that_was_renamed_is_called_so(watched: Watched) -> None:
    watched.feed.watch((1,))
    watched.names[1] = "renamed"
    watched.feed.rename()
    assert watched.grid.legend.item(0).text() == "renamed"
