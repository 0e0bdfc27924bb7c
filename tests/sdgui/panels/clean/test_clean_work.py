"""What Clean asks of a worker, by hand: one ranking at a time, what is dropped, cancelled, recalled and saved."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast
from unittest.mock import Mock

import pytest
from pytestqt.qtbot import QtBot

from sdgui.panels.clean.model import PairState, RankedPairs
from sdgui.panels.clean.work import CleanWork, source_key
from sdgui.shared.pickers.entries import ModelChoice
from sdgui.store.records import StoreError
from sdgui.store.store import Store
from sdgui.worker.pool import WorkerPool
from sdgui.worker.replies import Cancelled, Failure
from tests.sdgui.panels.clean.cleaning import some_pairs
from tests.sdgui.panels.scripted_workers import Worker, Workers


class Works:
    """The work over workers in miniature, and what it told."""

    def __init__(self, store: Store) -> None:
        self.workers = Workers()
        self.work = CleanWork(cast(WorkerPool, self.workers), store)
        self.outcomes: list[tuple[str, Any]] = []
        for name in ("ranked", "rank_failed", "saved", "save_failed", "mark_failed"):
            getattr(self.work, name).connect(lambda outcome, *_run, name=name: self.outcomes.append((name, outcome)))
        self.work.progress.connect(lambda *progress: self.outcomes.append(("progress", progress)))

    def rank(self, model: str, data: str = "/d.csv") -> Worker:
        self.work.rank(ModelChoice(model, "", model), {"model": model, "data": data, "weights": ""})
        return self.workers[model]


@pytest.fixture
def works(qapp: object, tmp_path: Path) -> Iterator[Works]:
    store = Store.open(tmp_path)
    works = Works(store)
    yield works
    works.work.background.wait()
    store.close()


def names(works: Works) -> list[str]:
    return [name for name, _ in works.outcomes]


def test_one_ranking_runs_at_a_time_and_the_shown_one_can_be_saved(qtbot: QtBot, works: Works) -> None:
    work = works.work
    assert (work.is_ranking, work.model) == (False, "")
    work.cancel()
    work.save(RankedPairs(some_pairs(), {}), Path("/x.csv"), False)
    worker = works.rank("/one")
    do, request = worker.asked[0]
    assert (do, request["most"], request["model"], request["data"]) == ("noise_open", 3000, "/one", "/d.csv")
    assert work.is_ranking
    worker.progress.emit(1, "encoding", 1, 2)
    assert works.outcomes == [("progress", ("encoding", 1, 2))]
    two = works.rank("/two")
    assert worker.given_up == ["noise_open"], "nobody waits for it any more"
    worker.done.emit(1, some_pairs())
    two.done.emit(1, some_pairs(names="wxyz"))
    assert not work.is_ranking
    qtbot.waitUntil(lambda: "ranked" in names(works))
    assert [outcome.pairs[0].caption for name, outcome in works.outcomes if name == "ranked"] == ["w"]
    assert work.model == "/two"
    ranking = next(outcome for name, outcome in works.outcomes if name == "ranked")
    ranking.set_states({ranking.pairs[0].key: PairState(True)})
    work.save(ranking, Path("/x.csv"), True)
    do, request = two.asked[-1]
    assert (do, request["to"], request["replace"], request["pairs"], request["data"]) == (
        "noise_save", "/x.csv", True, [["/w.png", "w"]], "/d.csv",
    )  # fmt: skip
    three = works.rank("/three")
    assert "noise_save" not in two.given_up, "the shown one goes on saving"
    three.failed.emit(1, Failure("It ended."))
    assert (work.model, names(works)[-1]) == ("/two", "rank_failed")
    two.done.emit(2, {"path": "/x.csv", "images": 3, "captions": 3})
    assert works.outcomes[-1][0] == "saved"
    work.save(ranking, Path("/x.csv"), True)
    work.cancel()
    assert two.given_up == ["noise_save"]
    two.failed.emit(3, Cancelled())
    assert works.outcomes[-1][0] == "save_failed"


def test_a_save_goes_on_when_another_ranking_is_shown(qtbot: QtBot, works: Works) -> None:
    work, one = works.work, works.rank("/one")
    one.done.emit(1, some_pairs())
    qtbot.waitUntil(lambda: names(works) == ["ranked"])
    work.save(works.outcomes[0][1], Path("/x.csv"), False)
    works.rank("/two").done.emit(1, some_pairs())
    qtbot.waitUntil(lambda: names(works) == ["ranked"] * 2)
    assert (one.given_up, work.model, work.is_busy) == ([], "/two", True)
    saved: list[tuple[object, str]] = []
    work.saved.connect(lambda answer, run: saved.append((answer, run)))
    answer = {"path": "/x.csv", "images": 3, "captions": 3}
    one.done.emit(2, answer)
    assert (saved, work.is_busy) == ([(answer, "/one")], False)


def test_the_last_ranking_of_a_run_and_its_data_is_restored_with_marks(
    qtbot: QtBot, works: Works, tmp_path: Path
) -> None:
    work, store = works.work, works.work._store
    work.recall("/one", "/d.csv")
    work.background.wait()
    qtbot.wait(5)
    assert works.outcomes == [], "it never ranked"
    worker = works.rank("/one")
    worker.done.emit(1, some_pairs())
    qtbot.waitUntil(lambda: names(works) == ["ranked"])
    first = works.outcomes[0][1]
    basket = Mock()
    work.set_states(first, {("/a.png", "a"): PairState(True)}, basket)
    work.background.wait()
    assert store.pair_marks(source_key("/d.csv")) == {("/a.png", "a"): True}
    works.rank("/two").done.emit(1, some_pairs())
    qtbot.waitUntil(lambda: names(works) == ["ranked"] * 2)
    works.outcomes.clear()
    work.recall("/one", "/d.csv")
    qtbot.waitUntil(lambda: names(works) == ["ranked"])
    again = works.outcomes[0][1]
    assert (again.marks, again.ranked_at > 0, first.ranked_at) == ({("/a.png", "a"): True}, True, 0.0)
    assert work.title == "/one", "the title of the model that ranked"
    by_one = {"model": "/one", "weights": ""}
    assert [work.is_by(by_one), work.is_by({**by_one, "weights": "teacher"})] == [True, False]
    works.outcomes.clear()
    store.save_result("clean", "/old", source_key("/d.csv"), {"list": 5})
    work.recall("/old", "/d.csv")
    work.background.wait()
    qtbot.wait(5)
    assert works.outcomes == [], "another version's ranking"
    works.rank("/two")
    work._recalled("/one", (again, some_pairs()))
    assert (works.outcomes, work.is_ranking) == ([], True), "pairs are being ranked"
    assert source_key(str(tmp_path / "a" / ".." / "d.csv")) == source_key(str(tmp_path / "d.csv"))


def test_a_failed_store_is_reported_and_the_shown_ranking_stays(
    qtbot: QtBot, works: Works, monkeypatch: pytest.MonkeyPatch
) -> None:
    work, store = works.work, works.work._store
    works.rank("/one").done.emit(1, some_pairs())
    qtbot.waitUntil(lambda: names(works) == ["ranked"])
    ranking = works.outcomes[0][1]

    def full(*_: object) -> None:
        raise StoreError("The disk is full.")

    monkeypatch.setattr(store, "mark_pairs", full)
    monkeypatch.setattr(store, "save_result", full)
    work.set_states(ranking, {("/a.png", "a"): PairState(True)}, Mock())
    qtbot.waitUntil(lambda: works.outcomes[1:] == [("mark_failed", "The disk is full.")])
    works.rank("/two").done.emit(1, some_pairs(names="wxyz"))
    qtbot.waitUntil(lambda: works.outcomes[2:] == [("rank_failed", Failure("The disk is full."))])
    assert work.model == "/one"
