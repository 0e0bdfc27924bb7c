"""Records of the store: any text, several threads, and two windows at once."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import literal, select

from core.spec.config import RunConfig, parse_config
from core.spec.presets import preset_config
from core.spec.run.status import RunState, own_status
from sdgui.store.queue import Slots
from sdgui.store.records import BestPoint, MetricSummary, Progress, RunLabel, StoreError
from sdgui.store.run_table.tagging import TagChange
from sdgui.store.store import Store
from tests.sdgui.store.conftest import OpenStore
from tests.sdgui.store.folders import link_arm, make_folder


def test_an_experiment_survives_reopening(open_store: OpenStore, tmp_path: Path) -> None:
    store = open_store(tmp_path)
    config = preset_config("sd-clip", "tiny")
    made = store.add_experiment(config)
    store.tag_experiment(made.id, ["baseline", "Emoji", "emoji"])
    store.set_experiment_note(made.id, "first try\nwith two lines")
    (found,) = open_store(tmp_path).experiments()
    assert found.config == config
    assert (found.name, found.problem, found.note) == ("sd-clip", "", "first try\nwith two lines")
    assert found.tags == ("baseline", "Emoji")


def test_tags_that_differ_only_in_case_are_one_tag_in_any_script(store: Store) -> None:
    experiment = store.add_experiment(preset_config("clip", "tiny")).id
    first, second = store.add_run(experiment).id, store.add_run(experiment).id
    tags = ["Draft", "Ähnlich", "Straße", "\u3042", "A"]
    store.tag_run(first, tags)
    again = store.tag_run(second, ["dRAFT", "äHNLICH", "STRASSE", "\u3042", "a"])
    assert set(again.tags) == set(store.tags()) == set(tags)
    assert store.change_tags({first: TagChange(add=("ähnlich",), remove=("DRAFT",))}) == {
        first: TagChange(add=("Draft",))
    }
    others = {"\u30a2", "\uff21"}  # katakana for hiragana, and a full-width letter: differences other than case
    store.change_tags({first: TagChange(add=tuple(others))})
    assert set(store.run(first).tags) == {*tags, *others} - {"Draft"}


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(name=st.text(st.characters(), min_size=1, max_size=60))
def test_names_may_be_anything(store: Store, name: str) -> None:
    made = store.add_experiment(preset_config("clip", "tiny"))
    try:
        renamed = store.rename_experiment(made.id, name)
    except StoreError:
        assert not any(char.isprintable() and not char.isspace() for char in name)
        return
    run = store.add_run(made.id)
    run.folder.mkdir()
    assert run.folder.parent == store.runs_folder
    assert store.experiment(made.id) == renamed
    assert renamed.config is not None


def test_a_deeply_nested_config_is_listed_and_renamed(store: Store) -> None:
    made = store.add_experiment("[" * 10**5)
    assert made.config is None
    assert store.rename_experiment(made.id, "nested").name == "nested"


def test_a_config_that_no_longer_validates_is_listed_with_its_problem(file_store: Store) -> None:
    text = json.dumps({"name": "old", "optim": {"epoch": 3}})
    made = file_store.add_experiment(text)
    (found,) = file_store.experiments()
    assert found.name == "old"
    assert found.config is None
    assert "optim.epochs" in found.problem
    assert file_store.rename_experiment(made.id, "older").name == "older"
    with pytest.raises(StoreError, match=r"optim\.epochs"):
        file_store.add_run(made.id)
    assert file_store.runs() == []
    fixed = file_store.edit_experiment(made.id, preset_config("clip", "tiny"))
    assert fixed.problem == ""


def test_invalid_json_is_kept_and_shown(file_store: Store) -> None:
    made = file_store.add_experiment("{broken", name="odd")
    assert file_store.experiment(made.id).config_json == "{broken"
    assert "not JSON" in file_store.experiment(made.id).problem


def test_a_run_keeps_its_record(store: Store) -> None:
    run = store.add_run(store.add_experiment(preset_config("clip", "tiny")).id)
    progress = Progress(
        state=RunState.RUNNING,
        offset=120,
        step=7,
        total_steps=10,
        started=5.0,
        best=BestPoint("val/student/mean_recall", 0.5, 6),
        summaries={
            "train/loss": MetricSummary(math.nan, 7, 0.25, 6),
            "diag/x": MetricSummary(math.inf, 7, math.nan, 0),
        },
    )
    store.record(run.id, progress)
    store.record(run.id, progress)
    found = store.run(run.id)
    assert (found.state, found.offset, found.step, found.best) == (RunState.RUNNING, 120, 7, progress.best)
    summary = store.summaries([run.id])[run.id]
    assert set(summary) == {"train/loss", "diag/x"}
    assert math.isnan(summary["train/loss"].last)
    assert summary["train/loss"].best == 0.25
    assert summary["diag/x"].last == math.inf


def test_the_bin_restores_and_permanent_deletion_does_not(store: Store) -> None:
    experiment = store.add_experiment(preset_config("clip", "tiny"))
    run = store.add_run(experiment.id)
    make_folder(run, store)
    store.delete_run(run.id)
    assert store.runs() == []
    assert [item.id for item in store.runs(deleted=True)] == [run.id]
    assert store.restore_run(run.id).deleted is None
    store.delete_experiment(experiment.id)
    assert store.experiments() == []
    store.restore_experiment(experiment.id)
    for restored in (
        lambda: store.delete_experiment(experiment.id, permanently=True, folders=True),
        lambda: store.delete_run(run.id, permanently=True, folder=True),
    ):
        with pytest.raises(
            StoreError, match="another window has restored it"
        ):  # as from a window that listed it before
            restored()
    assert run.dir.config.is_file(), "another window restored it meanwhile"
    store.delete_experiment(experiment.id)
    store.delete_experiment(experiment.id, permanently=True, folders=True)
    assert (store.experiments(deleted=True), store.runs(), run.folder.exists()) == ([], [], False)
    assert list(store.runs_folder.iterdir()) == []
    with pytest.raises(StoreError, match="it was deleted"):
        store.run(run.id)
    assert store.add_experiment(preset_config("clip", "tiny")).id > experiment.id


def test_runs_are_numbered_within_their_experiment_outside_the_bin(store: Store) -> None:
    one, other = (store.add_experiment(preset_config("clip", "tiny"), name) for name in ("one", "other"))
    first, second, third = (store.add_run(one.id) for _ in range(3))
    alone = store.add_run(other.id)
    everything = [run.id for run in (first, second, third, alone)]
    assert {run_id: label.name for run_id, label in store.run_labels(everything).items()} == {
        first.id: "one · run 1",
        second.id: "one · run 2",
        third.id: "one · run 3",
        alone.id: "other · run 1",
    }
    make_folder(first, store)
    store.delete_run(first.id)
    labels = store.run_labels([third.id, first.id, 999])
    assert labels == {third.id: RunLabel("one · run 2", 2), first.id: RunLabel(f"one · run {first.key}", 0)}
    assert store.run_labels([]) == {}


def test_a_run_keeps_its_colour_and_runs_of_an_arm_have_shades_of_one(store: Store) -> None:
    apart, *arms = (store.add_experiment(preset_config("clip", "tiny"), name) for name in ("apart", "one", "other"))
    studies = [store.add_study(store.studies_folder / name, name) for name in ("before", "this")]
    link_arm(store, studies[0].id, "elsewhere", apart.id)
    for arm in arms:
        link_arm(store, studies[1].id, arm.name, arm.id)
    seeds = [store.add_run(arm.id) for _ in range(2) for arm in arms]  # seed by seed, as a study trains
    labels = store.run_labels([run.id for run in seeds])
    assert [labels[run.id].color for run in seeds] == [0, 1, 20, 21], "shades of two colours"
    assert store.arm_colors(studies[1].id) == {"one": 0, "other": 1}
    single = [store.add_run(apart.id).id for _ in range(2)]
    assert [store.run_labels(single)[run].color for run in single] == [2, 22], "also for an arm of another study"
    for run in seeds:
        store.mark_failed(run.id, "It ended.")
    store.delete_experiment(arms[0].id, permanently=True)
    remaining = store.run_labels([seeds[1].id, *single])
    assert [remaining[run].color for run in (seeds[1].id, *single)] == [1, 2, 22], (
        "colours do not change after a deletion"
    )
    link_arm(store, studies[0].id, "joined", store.add_experiment(preset_config("clip", "tiny"), "joined").id)
    assert store.run_labels(single)[single[0]].color == 2


def test_a_live_run_is_not_deleted(file_store: Store) -> None:
    experiment = file_store.add_experiment(preset_config("clip", "tiny"))
    run = file_store.add_run(experiment.id)
    make_folder(run, file_store)
    run.dir.write_status(own_status())
    with pytest.raises(StoreError, match="still active"):
        file_store.delete_run(run.id, permanently=True, folder=True)
    with pytest.raises(StoreError, match="still active"):
        file_store.delete_experiment(experiment.id)
    assert run.dir.config.is_file()


def test_a_run_of_a_deleted_experiment_waits_until_it_is_restored(store: Store) -> None:
    first, second = (store.add_experiment(preset_config("clip", "tiny"), name) for name in ("first", "second"))
    binned, other = store.add_run(first.id, queued=True), store.add_run(second.id, queued=True)
    store.delete_experiment(first.id)
    assert [run.id for run in store.queue()] == [other.id]
    store.restore_experiment(first.id)
    assert [run.id for run in store.queue()] == [binned.id, other.id]
    store.delete_experiment(first.id)
    taken = store.take_next({"": Slots(at_once=9)})
    assert taken is not None
    assert taken.id == other.id
    assert store.take_next({"": Slots(at_once=9)}) is None


def test_a_window_killed_while_recording_leaves_a_complete_record(open_store: OpenStore, tmp_path: Path) -> None:
    store = open_store(tmp_path)
    run = store.add_run(store.add_experiment(RunConfig(name="x")).id)
    code = f"""
import sys
from pathlib import Path
from core.spec.run.status import RunState
from sdgui.store.records import MetricSummary, Progress
from sdgui.store.registry.address import parse_address
from sdgui.store.store import Store
store = Store.open(Path(sys.argv[1]), parse_address(sys.argv[2]) if sys.argv[2] else None)
for n in range(1, 100000):
    values = {{f"m{{i}}": MetricSummary(n, n, n, n) for i in range(8)}}
    store.record({run.id}, Progress(state=RunState.RUNNING, offset=n, step=n, summaries=values))
"""
    address = "" if store.registry is None else store.registry.url.render_as_string(hide_password=False)
    process = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path), address], env=os.environ | {"PYTHONPATH": _root()}
    )
    while store.run(run.id).offset < 20 and process.poll() is None:
        time.sleep(0.01)
    process.kill()
    process.wait()
    found = store.run(run.id)
    assert found.step == found.offset >= 20
    assert {value.last for value in store.summaries([run.id])[run.id].values()} == {float(found.offset)}


def _root() -> str:
    return str(Path(parse_config.__code__.co_filename).resolve().parents[3])


def test_closing_waits_for_the_sessions_of_other_threads(file_store: Store) -> None:
    reading, go_on = threading.Event(), threading.Event()
    values: list[int | None] = []

    def read() -> None:
        with file_store._read() as session:
            reading.set()
            go_on.wait(120)
            values.append(session.scalar(select(literal(1))))

    reader, closer = threading.Thread(target=read), threading.Thread(target=file_store.close)
    reader.start()
    assert reading.wait(120)
    closer.start()
    closer.join(0.05)
    assert closer.is_alive()
    go_on.set()
    for thread in (reader, closer):
        thread.join(120)
    assert values == [1]
