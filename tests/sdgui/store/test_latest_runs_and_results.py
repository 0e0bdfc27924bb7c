"""What is listed first and what panels find again: the latest runs, places told by others, results, later fixes."""

from __future__ import annotations

import sqlite3
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from core.spec.data.fixes import Fix
from core.spec.presets import preset_config
from core.spec.run.status import RunState
from sdgui.store.own import panel_results
from sdgui.store.own.fixes import Exchange
from sdgui.store.records import HERE, Place, Progress
from sdgui.store.store import Store
from sdgui.store.tables import FixRow, PanelResultRow
from tests.sdgui.store.folders import make_folder

CONFIG = preset_config("clip", "tiny")


@pytest.fixture
def store(file_store: Store) -> Store:
    return file_store


def test_the_latest_runs_are_those_that_ended_or_began_last(store: Store) -> None:
    assert store.newest_run() is None
    one, other = (store.add_experiment(CONFIG, name).id for name in ("one", "other"))
    first, second, third, binned = (store.add_run(one).id for _ in range(4))
    gone = store.add_run(other).id
    assert [run.id for run in store.latest_runs(9)] == [gone, binned, third, second, first]
    store.delete_run(binned)
    store.delete_experiment(other)
    now = time.time() + 60
    store.record(first, Progress(RunState.DONE, 1, finished=now, ending="done"))
    store.record(second, Progress(RunState.FAILED, 1, finished=now - 9e6, ending="failed"))
    assert [run.id for run in store.latest_runs(9)] == [first, third, second]
    assert [run.id for run in store.latest_runs(2)] == [first, third]
    newest = store.newest_run()
    assert newest is not None
    assert newest.id == first
    states = (RunState.FAILED, RunState.STARTING)
    assert [run.id for run in store.latest_runs(9, states)] == [third, second]
    assert store.latest_runs(9, ()) == []


def test_where_another_program_trains_a_run_is_told(store: Store) -> None:
    run = store.add_run(store.add_experiment(CONFIG).id).id
    store.record_devices(run, "1,2", "far")
    found = store.run(run)
    assert (found.devices, found.machine, found.remote_folder) == ("1,2", "far", None)
    store.record_devices(run, "3")
    store.record_remote_folder(run, "far.lab", "/there/one")
    found = store.run(run)
    assert (found.devices, found.machine, found.remote_folder) == ("3", "", ("far.lab", "/there/one"))
    other = store.add_run(store.experiments()[0].id, queued=True, place=Place("far", "0")).id
    assert store.place(other, HERE).machine == ""
    store.record_devices(other, "5", "far")
    store.copy_place(run, other)
    assert (store.run(run).devices, store.run(run).machine, store.run(run).devices_asked) == ("5", "far", "")


def test_a_folder_is_deleted_with_its_run_only_where_that_is_asked_for_good(store: Store, tmp_path: Path) -> None:
    experiment = store.add_experiment(CONFIG).id
    runs = [store.add_run(experiment) for _ in range(3)]
    for run in runs:
        make_folder(run, store)
    store.delete_run(runs[0].id, folder=True)
    assert runs[0].folder.is_dir(), "it is in the bin, and can be taken out"
    store.delete_run(runs[1].id)
    store.delete_run(runs[1].id, for_good=True, folder=True)
    assert not runs[1].folder.exists()
    store.delete_experiment(experiment, folders=True)
    assert [run.folder.is_dir() for run in runs] == [True, False, True]
    store.delete_experiment(experiment, for_good=True)
    assert [run.folder.is_dir() for run in runs] == [True, False, True]


def test_results_of_a_panel_come_newest_first_and_leave_one_by_one(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [100.0]
    monkeypatch.setattr(panel_results, "time", SimpleNamespace(time=lambda: now[0]))
    for number, (subject, data) in enumerate((("/a", "x"), ("/b", "x"), ("/a", "y"), ("/a", "x"))):
        now[0] += 1.0
        store.keep_result("classify", subject, data, {"n": number})
    store.keep_result("clean", "/a", "x", {"n": 9})

    def kept() -> list[tuple[str, str, float, object]]:
        return [(one.subject, one.data, one.made, one.content["n"]) for one in store.kept_results("classify")]

    assert kept() == [("/a", "x", 104.0, 3), ("/a", "y", 103.0, 2), ("/b", "x", 102.0, 1)]
    for which, number in (((), 3), (("/b",), 1), (("", "y"), 2), (("/a", "y"), 2)):
        last = store.last_result("classify", *which)
        assert last is not None
        assert last.content == {"n": number}
    assert store.last_result("classify", "/b", "y") is None
    store.forget_result("classify", "/a", "x")
    store.forget_result("classify", "/a", "none")
    assert [one[:2] for one in kept()] == [("/a", "y"), ("/b", "x")]
    assert len(store.kept_results("clean")) == 1
    with sqlite3.connect(store.database) as database:
        table = PanelResultRow.__tablename__
        database.execute(f"UPDATE {table} SET content = '[1]' WHERE subject = ?", (b"/b",))
    assert [one[:2] for one in kept()] == [("/a", "y")], "what another program wrote is left out"
    assert store.last_result("classify", "/b") is None
    for number in range(41):
        now[0] += 1.0
        store.keep_result("search", f"/{number}", "", {"n": number})
    assert [one.content["n"] for one in store.kept_results("search")] == [*range(40, 0, -1)]


def test_a_fix_of_a_later_version_is_kept_as_it_is(store: Store) -> None:
    before = time.time()
    put = store.put_fixes("/d.csv", [Fix(kind="wrong", path="/a.png", caption="a"), Fix(kind="wrong", path="/b.png")])
    assert [one.later for one in put.put] == ["", ""]
    assert all(before <= one.fix.found <= time.time() for one in store.fixes()), "found now, where that is not told"
    with sqlite3.connect(store.database) as database:
        database.execute(f"UPDATE {FixRow.__tablename__} SET kind = 'rotated' WHERE path = ?", (b"/b.png",))
    later = store.fixes()[1]
    assert (later.later, later.fix.kind, later.fix.path) == ("rotated", "excluded", "/b.png")
    taken = store.take_fixes([later.id])
    assert (taken.put, [one.later for one in taken.removed]) == ((), ["rotated"])
    store.exchange_fixes(Exchange(put=taken.removed))
    assert [one.later for one in store.fixes()] == ["", "rotated"]
