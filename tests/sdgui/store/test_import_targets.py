"""The experiment that an imported run joins, and the folders that a rebuild reads."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from core.spec.chain import Chain, ChainStage, write_chain
from core.spec.config import RunConfig, override
from core.spec.presets import preset_config
from core.spec.run.events import EventWriter, Metrics, RunStarted
from core.spec.run.folder import RunDir
from sdgui.store.records import StoreError
from sdgui.store.store import DELETED, Store, _deleting_folders

CONFIG = preset_config("clip", "tiny")


@pytest.fixture
def store(file_store: Store) -> Store:
    return file_store


def a_run(folder: Path, config: RunConfig = CONFIG, began: float = 0.0) -> Path:
    run = RunDir(folder)
    run.create()
    run.config.write_text(config.to_json(), encoding="utf-8")
    if began:
        writer = EventWriter(run.events)
        writer.write(RunStarted(step=0, total_steps=4, config_digest="x", time=began))
        writer.write(Metrics(step=2, values={"train/loss": 1.0}, time=began + 5))
        writer.close()
    return folder


def test_a_run_joins_the_experiment_of_its_config_or_name_or_a_new_one(store: Store, tmp_path: Path) -> None:
    broken = store.add_experiment('{"name": "clip", "optim": {"epochs": -1}}').id
    named = store.add_experiment(override(CONFIG, ["seed=3"]), "clip").id
    same = store.add_experiment(override(CONFIG, ["name=other"]), "other").id

    def goes(number: int, *settings: str) -> int:
        return store.import_run(a_run(tmp_path / f"r{number}", override(CONFIG, [*settings]))).experiment_id

    assert goes(1, "name=other") == same
    assert goes(2, "seed=9") == named, "of the same name"
    assert goes(3, "seed=9", "name=third") not in (broken, named, same)
    assert [one.name for one in store.experiments()] == ["clip", "clip", "other", "third"]
    chosen = store.import_run(a_run(tmp_path / "r4"), same)
    assert chosen.experiment_id == same, "in the requested experiment"
    assert [run.id for run in store.runs()] == [1, 2, 3, 4]


def test_an_imported_run_has_the_age_of_its_training(store: Store, tmp_path: Path) -> None:
    run = store.import_run(a_run(tmp_path / "job-abc7", began=1.7e9))
    assert (run.created, run.started, run.step, run.key, run.owner) == (1.7e9, 1.7e9, 2, "abc7", store.user)
    young = store.import_run(a_run(tmp_path / "young"))
    assert young.created > 1.7e9
    store.tag_run(run.id, ["mine"])
    again = store.import_run(tmp_path / "job-abc7")
    assert (again.id, again.tags) == (run.id, ("mine",))


def test_folders_are_read_oldest_first_with_stages_and_without_half_deleted_ones(store: Store) -> None:
    made = [a_run(store.runs_folder / name) for name in ("b", "a", f"gone{DELETED}")]
    chain = Chain(name="c", stages=[ChainStage(name=name, config=CONFIG) for name in ("one", "two")])
    made.append(write_chain(store.runs_folder / "chain", chain))
    made.append(write_chain(store.runs_folder / f"chain{DELETED}", chain))
    for age, folder in enumerate(made):
        os.utime(folder / "config.json", (1000 + age, 1000 + age))
    (store.runs_folder / "no-run").mkdir()
    assert store.import_folders() == []
    assert [run.folder.name for run in store.runs()] == ["b", "a", "stage-1-one"]


def test_folders_moved_aside_are_restored_on_failure(tmp_path: Path) -> None:
    one, two, none = a_run(tmp_path / "one"), a_run(tmp_path / "two"), tmp_path / "none"
    names: list[str] = []

    def refused(remove: Callable[[list[Path]], None]) -> None:
        remove([one, none, two])
        names.extend(sorted(path.name for path in tmp_path.iterdir()))
        raise KeyError("the database refused")

    with pytest.raises(KeyError), _deleting_folders() as remove:
        refused(remove)
    assert names == [f"one{DELETED}", f"two{DELETED}"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["one", "two"]
    (tmp_path / "thesis").mkdir()
    said = "thesis is not a run folder, so it was not deleted; move it elsewhere"
    with pytest.raises(StoreError, match=said), _deleting_folders() as remove:
        remove([one, tmp_path / "thesis"])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["one", "thesis", "two"]
    with _deleting_folders() as remove:
        remove([one, two])
    assert [path.name for path in tmp_path.iterdir()] == ["thesis"]
