"""Side effects of the store's methods, on SQLite."""

from __future__ import annotations

import sqlite3
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from core.spec.config import override
from core.spec.data.fixes import Fix
from core.spec.presets import preset_config
from core.spec.run.folder import slug
from core.spec.run.status import RunState
from sdgui.store.local import panel_results
from sdgui.store.local.fixes import BasketChange
from sdgui.store.queue import Slots
from sdgui.store.records import THIS_COMPUTER, BestPoint, MetricSummary, Place, Progress, StoreError
from sdgui.store.sessions import NAME_LENGTH
from sdgui.store.store import Store
from sdgui.store.tables import FixRow, PanelResultRow
from tests.sdgui.store.folders import make_folder


@pytest.fixture
def store(file_store: Store) -> Store:
    return file_store


@pytest.fixture
def experiment(store: Store) -> int:
    return store.add_experiment(preset_config("clip", "tiny"), "mine").id


def ended(store: Store, run_id: int, state: RunState, offset: int = 0) -> None:
    store.record(run_id, Progress(state=state, offset=offset, ending=state.value if not state.alive else ""))  # type: ignore[arg-type]


def test_renaming_changes_config_and_time(store: Store, experiment: int) -> None:
    before = store.experiment(experiment)
    assert (before.name, before.config.name if before.config else "") == ("mine", "mine")
    time.sleep(0.01)
    renamed = store.rename_experiment(experiment, "  other\n\x00\x07 name ")
    assert renamed.name == "other name"
    assert renamed.config is not None
    assert renamed.config.name == "other name"
    assert store.changed_times()[experiment] == renamed.changed > before.changed
    time.sleep(0.01)
    edited = store.edit_experiment(experiment, override(renamed.config, ["name=third", "seed=4"]))
    assert (edited.name, edited.changed > renamed.changed, edited.created) == ("third", True, before.created)
    draft = store.edit_experiment(experiment, '{"optim": {"epochs": -1}}')
    assert (draft.name, draft.config) == ("third", None)
    assert "epochs" in draft.problem
    assert '"name": "third"' in draft.config_json


def test_a_copy_has_tags_and_note_and_a_valid_name(store: Store, experiment: int) -> None:
    store.tag_experiment(experiment, ["Draft", "draft", " ", "long"])
    store.set_experiment_note(experiment, "why")
    store.add_run(experiment)
    copy = store.duplicate_experiment(experiment)
    assert store.runs(copy.id) == []
    assert (copy.name, copy.note, set(copy.tags)) == ("mine copy", "why", {"Draft", "long"})
    assert copy.config is not None
    assert copy.config.name == "mine copy"
    assert store.duplicate_experiment(experiment).name == "mine copy 2"
    store.rename_experiment(experiment, "x" * NAME_LENGTH)
    assert store.duplicate_experiment(experiment).name == "x" * (NAME_LENGTH - 5) + " copy"
    with pytest.raises(StoreError, match="121 characters"):
        store.rename_experiment(experiment, "x" * (NAME_LENGTH + 1))
    with pytest.raises(StoreError, match="at least one character"):
        store.rename_experiment(experiment, " \n")


def test_a_new_record_replaces_the_old_one(store: Store, experiment: int) -> None:
    run = store.add_run(experiment).id
    best, metric = BestPoint("val/mean_recall", 0.5, 3), MetricSummary(0.4, 4, 0.5, 3)
    store.record(run, Progress(RunState.RUNNING, 10, best=best, summaries={"a": metric, "b": metric}))
    store.record(run, Progress(RunState.DONE, 9))
    assert (store.run(run).state, store.run(run).best) == (RunState.RUNNING, best), "an older record"
    store.record(run, Progress(RunState.RUNNING, 12, summaries={"b": metric}))
    assert (store.run(run).best, dict(store.summaries([run])[run])) == (None, {"b": metric})
    assert dict(store.summaries([*range(1000, 1600), run])[run]) == {"b": metric}, "of very many runs too"
    store.record(run, Progress(RunState.DONE, 1), rewritten=True)
    assert (store.run(run).state, store.run(run).offset, store.summaries([run])[run]) == (RunState.DONE, 1, {})
    store.record(99, Progress(RunState.DONE, 1))


def test_a_waiting_run_stays_waiting_whatever_its_folder_says(store: Store, experiment: int) -> None:
    run = store.add_run(experiment, queued=True).id
    store.record(run, Progress(RunState.INTERRUPTED, 5, step=7))
    assert (store.run(run).state, store.run(run).step) == (RunState.QUEUED, 7)


def test_the_queue_keeps_places_order_and_former_states(store: Store, experiment: int) -> None:
    first, second, third = (store.add_run(experiment, queued=True).id for _ in range(3))
    store.enqueue(first)
    assert [run.id for run in store.queue()] == [first, second, third], "it is already queued"
    store.reorder_queue([third])
    assert [run.id for run in store.queue()] == [third, first, second]
    store.delete_run(first)
    assert [run.id for run in store.queue()] == [third, second]
    store.restore_run(first)
    assert [run.id for run in store.queue()] == [third, first, second], "after undo, it is at its former position"
    paused = store.add_run(experiment).id
    ended(store, paused, RunState.PAUSED)
    store.enqueue(paused)
    assert store.run(paused).state is RunState.QUEUED
    assert store.unqueue(paused).state is RunState.PAUSED
    assert store.unqueue(third).state is RunState.INTERRUPTED
    assert [run.id for run in store.queue()] == [first, second]
    busy = store.add_run(experiment).id
    assert store.take_next({"": Slots(at_once=1)}) is None
    taken = store.take_next({"": Slots(at_once=2)})
    assert taken is not None
    assert (taken.id, taken.state, taken.queue_position) == (first, RunState.STARTING, None)
    assert taken.launched is not None
    ended(store, busy, RunState.DONE)
    ended(store, first, RunState.DONE)
    store.delete_experiment(experiment)
    assert store.queue() == []
    assert store.take_next({"": Slots(at_once=5)}) is None


def test_a_run_that_could_not_start_leaves_the_queue(store: Store, experiment: int) -> None:
    run = store.add_run(experiment).id
    failed = store.mark_failed(run, "No such program.")
    assert (failed.state, failed.ending, failed.failure) == (RunState.FAILED, "failed", "No such program.")
    assert (failed.queue_position, failed.launched, failed.finished is not None) == (None, None, True)
    waits = store.add_run(experiment, queued=True).id
    assert store.mark_failed(waits, "No such program.").queue_position is None
    assert store.queue() == []


def test_a_key_is_read_from_a_folder_once(store: Store, experiment: int, tmp_path: Path) -> None:
    keys = [
        store.run(
            store.add_imported(
                experiment,
                str(tmp_path / place / "run-abc1"),
                preset_config("clip", "tiny"),
                Progress(RunState.STARTING, 0),
            )
        ).key
        for place in ("one", "two")
    ]
    assert keys[0] == "abc1"
    assert keys[1] not in ("", "abc1")


def test_a_folder_name_is_plain() -> None:
    assert slug("Größe: my RUN/2") == "groe-my-run-2"
    assert slug("…") == "run"
    assert len(slug("x" * 90)) == 40


CONFIG = preset_config("clip", "tiny")


def test_the_latest_runs_are_those_last_started_or_ended(store: Store) -> None:
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


def test_a_run_of_another_program_names_its_machine(store: Store) -> None:
    run = store.add_run(store.add_experiment(CONFIG).id).id
    store.record_devices(run, "1,2", "far")
    found = store.run(run)
    assert (found.devices, found.machine, found.remote_folder) == ("1,2", "far", None)
    store.record_devices(run, "3")
    store.record_remote_folder(run, "far.lab", "/there/one")
    found = store.run(run)
    assert (found.devices, found.machine, found.remote_folder) == ("3", "", ("far.lab", "/there/one"))
    other = store.add_run(store.experiments()[0].id, queued=True, place=Place("far", "0")).id
    assert store.request_place(other, THIS_COMPUTER).machine == ""
    store.record_devices(other, "5", "far")
    progress = Progress(RunState.STARTING, 0)
    like = store.run(store.add_imported(found.experiment_id, "stage-2", CONFIG, progress, first_stage=other))
    assert (like.devices, like.machine, like.devices_asked) == ("5", "far", "")


def test_a_folder_is_deleted_with_its_run_only_on_explicit_request(store: Store, tmp_path: Path) -> None:
    experiment = store.add_experiment(CONFIG).id
    runs = [store.add_run(experiment) for _ in range(3)]
    for run in runs:
        make_folder(run, store)
    store.delete_run(runs[0].id, folder=True)
    assert runs[0].folder.is_dir(), "it is in the bin and can be restored"
    store.delete_run(runs[1].id)
    store.delete_run(runs[1].id, permanently=True, folder=True)
    assert not runs[1].folder.exists()
    store.delete_run(runs[2].id, permanently=True)
    store.delete_experiment(experiment, folders=True)
    assert [run.folder.is_dir() for run in runs] == [True, False, True]
    store.delete_experiment(experiment, permanently=True)
    assert [run.folder.is_dir() for run in runs] == [True, False, True]


def test_results_of_a_panel_are_newest_first_and_removed_one_by_one(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [100.0]
    monkeypatch.setattr(panel_results, "time", SimpleNamespace(time=lambda: now[0]))
    for number, (subject, data) in enumerate((("/a", "x"), ("/b", "x"), ("/a", "y"), ("/a", "x"))):
        now[0] += 1.0
        store.save_result("classify", subject, data, {"n": number})
    store.save_result("clean", "/a", "x", {"n": 9})

    def kept() -> list[tuple[str, str, float, object]]:
        return [(one.subject, one.data, one.made, one.content["n"]) for one in store.panel_results("classify")]

    assert kept() == [("/a", "x", 104.0, 3), ("/a", "y", 103.0, 2), ("/b", "x", 102.0, 1)]
    for which, number in (((), 3), (("/b",), 1), (("", "y"), 2), (("/a", "y"), 2)):
        last = store.last_result("classify", *which)
        assert last is not None
        assert last.content == {"n": number}
    assert store.last_result("classify", "/b", "y") is None
    store.delete_result("classify", "/a", "x")
    store.delete_result("classify", "/a", "none")
    assert [one[:2] for one in kept()] == [("/a", "y"), ("/b", "x")]
    assert len(store.panel_results("clean")) == 1
    with sqlite3.connect(store.local_file) as database:
        table = PanelResultRow.__tablename__
        database.execute(f"UPDATE {table} SET content = '[1]' WHERE subject = ?", (b"/b",))
    assert [one[:2] for one in kept()] == [("/a", "y")], "invalid content is skipped"
    assert store.last_result("classify", "/b") is None
    for number in range(41):
        now[0] += 1.0
        store.save_result("search", f"/{number}", "", {"n": number})
    assert [one.content["n"] for one in store.panel_results("search")] == [*range(40, 0, -1)]


def test_a_fix_of_a_later_version_is_kept_unchanged(store: Store) -> None:
    before = time.time()
    added = store.add_fixes("/d.csv", [Fix(kind="wrong", path="/a.png", caption="a"), Fix(kind="wrong", path="/b.png")])
    assert [one.unknown_kind for one in added.added] == ["", ""]
    assert all(before <= one.fix.found <= time.time() for one in store.fixes()), "the time of finding defaults to now"
    with sqlite3.connect(store.local_file) as database:
        database.execute(f"UPDATE {FixRow.__tablename__} SET kind = 'rotated' WHERE path = ?", (b"/b.png",))
    later = store.fixes()[1]
    assert (later.unknown_kind, later.fix.kind, later.fix.path) == ("rotated", "excluded", "/b.png")
    taken = store.remove_fixes([later.id])
    assert (taken.added, [one.unknown_kind for one in taken.removed]) == ((), ["rotated"])
    store.change_basket(BasketChange(added=taken.removed))
    assert [one.unknown_kind for one in store.fixes()] == ["", "rotated"]
