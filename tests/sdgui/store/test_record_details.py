"""What each call of the store changes besides its purpose, and what it leaves alone. On a file: it is quick."""

from __future__ import annotations

import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from core.spec.config import override
from core.spec.presets import preset_config
from core.spec.run.folder import RunDir
from core.spec.run.status import RunState, own_status
from sdgui.store.records import BestPoint, MetricSummary, Place, Progress, StoreError
from sdgui.store.sessions import NAME_LENGTH, slug
from sdgui.store.store import Store, _refuse_alive


@pytest.fixture
def store(file_store: Store) -> Store:
    return file_store


@pytest.fixture
def experiment(store: Store) -> int:
    return store.add_experiment(preset_config("clip", "tiny"), "mine").id


def ended(store: Store, run_id: int, state: RunState, offset: int = 0) -> None:
    store.record(run_id, Progress(state=state, offset=offset, ending=state.value if not state.alive else ""))  # type: ignore[arg-type]


def test_a_name_is_in_the_config_and_changes_the_time(store: Store, experiment: int) -> None:
    before = store.experiment(experiment)
    assert (before.name, before.config.name if before.config else "") == ("mine", "mine")
    time.sleep(0.01)
    renamed = store.rename_experiment(experiment, "  other\n name ")
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


def test_a_copy_has_tags_and_note_and_a_name_that_fits(store: Store, experiment: int) -> None:
    store.tag_experiment(experiment, ["Draft", "draft", " ", "long"])
    store.note_experiment(experiment, "why")
    copy = store.duplicate_experiment(experiment)
    assert (copy.name, copy.note, set(copy.tags)) == ("mine copy", "why", {"Draft", "long"})
    assert copy.config is not None
    assert copy.config.name == "mine copy"
    assert store.duplicate_experiment(experiment).name == "mine copy 2"
    assert store.duplicate_experiment(experiment, "named").name == "named"
    store.rename_experiment(experiment, "x" * NAME_LENGTH)
    assert store.duplicate_experiment(experiment).name == "x" * (NAME_LENGTH - 5) + " copy"
    with pytest.raises(StoreError, match="121 characters"):
        store.rename_experiment(experiment, "x" * (NAME_LENGTH + 1))
    with pytest.raises(StoreError, match="at least one character"):
        store.rename_experiment(experiment, " \n")


def test_the_bin_is_left_out_of_what_is_listed(store: Store, experiment: int) -> None:
    other = store.add_experiment(preset_config("clip", "tiny"), "other").id
    runs = [store.add_run(experiment) for _ in range(3)]
    for run in runs:
        ended(store, run.id, RunState.DONE)
    store.delete_run(runs[1].id)
    store.delete_experiment(other)
    assert set(store.changed_times()) == {experiment}
    assert [one.id for one in store.experiments(deleted=True)] == [other]
    assert store.run_in(runs[0].folder) == store.run(runs[0].id)
    assert store.run_in(runs[1].folder) is None
    assert (store.run_count(experiment), store.run_count(experiment, up_to=runs[2].id)) == (2, 2)
    assert store.run_count(experiment, up_to=runs[0].id) == 1
    assert set(store.some_runs([one.id for one in runs] + [99])) == {one.id for one in runs}
    assert set(store.some_runs([*range(-600, 0), runs[0].id])) == {runs[0].id}
    labels = {run_id: label.name for run_id, label in store.run_labels([one.id for one in runs]).items()}
    assert labels == {
        runs[0].id: "mine · run 1",
        runs[1].id: f"mine · run {runs[1].key}",
        runs[2].id: "mine · run 2",
    }
    store.restore_run(runs[1].id)
    assert store.run_labels([runs[2].id])[runs[2].id].name == "mine · run 3"


def test_a_run_is_alive_from_its_launch_and_no_queued_one_is(store: Store, experiment: int) -> None:
    run, waits = store.add_run(experiment), store.add_run(experiment, queued=True)
    assert (run.state, waits.state) == (RunState.STARTING, RunState.QUEUED)
    assert run.launched is not None
    assert (run.queue_position, waits.launched, waits.queue_position) == (None, None, 0)
    assert [one.id for one in store.alive_runs()] == [run.id]
    with pytest.raises(StoreError, match="still active"):
        store.enqueue(run.id)
    assert store.run(run.id).queue_position is None


def test_what_is_recorded_replaces_what_was(store: Store, experiment: int) -> None:
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


def test_a_waiting_run_stays_so_whatever_its_folder_says(store: Store, experiment: int) -> None:
    run = store.add_run(experiment, queued=True).id
    store.record(run, Progress(RunState.INTERRUPTED, 5, step=7))
    assert (store.run(run).state, store.run(run).step) == (RunState.QUEUED, 7)


def test_the_queue_keeps_places_orders_and_former_states(store: Store, experiment: int) -> None:
    first, second, third = (store.add_run(experiment, queued=True).id for _ in range(3))
    store.enqueue(first)
    assert [run.id for run in store.queue()] == [first, second, third], "it waits already"
    store.reorder_queue([third])
    assert [run.id for run in store.queue()] == [third, first, second]
    store.delete_run(first)
    assert [run.id for run in store.queue()] == [third, second]
    store.restore_run(first)
    assert [run.id for run in store.queue()] == [third, first, second], "undone, it waits where it waited"
    paused = store.add_run(experiment).id
    ended(store, paused, RunState.PAUSED)
    store.enqueue(paused)
    assert store.run(paused).state is RunState.QUEUED
    assert store.unqueue(paused).state is RunState.PAUSED
    assert store.unqueue(third).state is RunState.INTERRUPTED
    assert [run.id for run in store.queue()] == [first, second]
    busy = store.add_run(experiment).id
    assert store.take_next(1) is None
    taken = store.take_next(2)
    assert taken is not None
    assert (taken.id, taken.state, taken.queue_position) == (first, RunState.STARTING, None)
    assert taken.launched is not None
    ended(store, busy, RunState.DONE)
    ended(store, first, RunState.DONE)
    store.delete_experiment(experiment)
    assert store.queue() == []
    assert store.take_next(5) is None


def test_a_run_that_could_not_start_has_left_the_queue_and_can_be_tried_again(store: Store, experiment: int) -> None:
    run = store.add_run(experiment).id
    failed = store.mark_failed(run, "No such program.")
    assert (failed.state, failed.ending, failed.failure) == (RunState.FAILED, "failed", "No such program.")
    assert (failed.queue_position, failed.launched, failed.finished is not None) == (None, None, True)
    waits = store.add_run(experiment, queued=True).id
    assert store.mark_failed(waits, "No such program.").queue_position is None
    assert store.queue() == []
    again = store.mark_launched(run)
    assert (again.state, again.failure, again.launched is not None) == (RunState.STARTING, "", True)


def test_a_place_is_asked_for_until_a_run_has_started(store: Store, experiment: int) -> None:
    waits, live = store.add_run(experiment, queued=True).id, store.add_run(experiment).id
    placed = store.place(waits, Place("far", "0,1"))
    assert (placed.machine, placed.devices_asked) == ("far", "0,1")
    with pytest.raises(StoreError, match="has started"):
        store.place(live, Place("far", "0"))
    store.copy_place(live, waits)
    assert (store.run(live).machine, store.run(live).devices_asked) == ("far", "0,1")


def test_marks_of_other_data_stay(store: Store) -> None:
    pair, other = ("/a.png", "a cat"), ("/b.png", "a dog")
    store.mark_pairs("/one.csv", {pair: True, other: False})
    store.mark_pairs("/two.csv", {pair: False})
    store.mark_pairs("/one.csv", {pair: None})
    assert store.pair_marks("/one.csv") == {other: False}
    assert store.pair_marks("/two.csv") == {pair: False}
    store.mark_pairs("/two.csv", {pair: True})
    assert store.pair_marks("/two.csv") == {pair: True}


def test_a_key_is_taken_from_a_folder_once(store: Store, experiment: int, tmp_path: Path) -> None:
    keys = [
        store.run(store.add_imported(experiment, str(tmp_path / place / "run-abc1"), preset_config("clip", "tiny"))).key
        for place in ("one", "two")
    ]
    assert keys[0] == "abc1"
    assert keys[1] not in ("", "abc1")


def test_a_name_has_no_control_characters(store: Store, experiment: int) -> None:
    assert store.rename_experiment(experiment, "my\x00\x07 name").name == "my name"


def test_a_folder_name_is_plain() -> None:
    assert slug("Größe: my RUN/2") == "groe-my-run-2"
    assert slug("…") == "run"
    assert len(slug("x" * 90)) == 40


def test_a_run_at_work_is_not_deleted_wherever_it_is_kept(tmp_path: Path) -> None:
    folder = RunDir(tmp_path / "one")
    folder.create()
    folder.write_status(own_status())  # there is a folder of the same name here, and a trainer at work in it
    about = {"dir": folder, "folder": folder.path, "key": "k1", "owner_host": "other", "owner": "bob"}

    def refused(here: bool, state: RunState) -> str:
        try:
            _refuse_alive(SimpleNamespace(is_local=here, state=state, **about))  # type: ignore[arg-type]
        except StoreError as error:
            return str(error)
        return ""

    assert refused(True, RunState.DONE) == "The run one is still active; stop it before deleting it."
    assert refused(False, RunState.RUNNING) == "The run k1 is still active on other; ask bob to stop it first."
    assert refused(False, RunState.DONE) == "", "what is here is another run"
    folder.status.unlink()
    assert refused(True, RunState.DONE) == ""
