"""Studies and marks in the store: listing, moving, the bin, and a moved home folder."""

from __future__ import annotations

from pathlib import Path

import pytest

from core.spec.presets import preset_config
from core.spec.run.events import EventWriter, RunFinished, RunStarted
from core.spec.run.folder import RunDir
from sdgui.store.records import StoreError
from sdgui.store.store import Store
from tests.sdgui.store.conftest import OpenStore
from tests.sdgui.store.folders import link_arm


@pytest.fixture
def store(file_store: Store) -> Store:
    return file_store


def trained(folder: Path) -> Path:
    """A run folder as a study leaves it."""
    run = RunDir(folder)
    run.create()
    config = preset_config("clip", "tiny")
    run.config.write_text(config.to_json(), encoding="utf-8")
    events = EventWriter(run.events)
    events.write(RunStarted(step=0, total_steps=3, config_digest=config.digest(), device="cpu"))
    events.write(RunFinished(step=3, outcome="done"))
    events.close()
    return folder


def with_a_study(store: Store) -> int:
    study = store.add_study(store.studies_folder / "noisy", "noisy")
    arm = store.add_experiment(preset_config("clip", "tiny"), "clip")
    link_arm(store, study.id, "clip", arm.id)
    store.import_run(trained(study.folder / "runs" / "clip-s0"), arm.id)
    return study.id


def test_a_study_is_listed_once_with_its_arms(store: Store) -> None:
    study_id = with_a_study(store)
    (study,) = store.studies()
    assert (study.id, study.name, list(study.arms.values())) == (study_id, "noisy", ["clip"])
    assert store.add_study(study.folder, "noisy").id == study_id
    assert len(store.studies()) == 1


def test_a_moved_home_keeps_its_studies_and_their_runs(tmp_path: Path) -> None:
    store = Store.open(tmp_path / "before")
    with_a_study(store)
    trained(store.add_run(store.experiments()[0].id).folder)
    store.close()
    (tmp_path / "before").rename(tmp_path / "after")
    store = Store.open(tmp_path / "after")
    assert store.studies()[0].folder == tmp_path / "after" / "studies" / "noisy"
    assert store.runs()[0].folder == tmp_path / "after" / "studies" / "noisy" / "runs" / "clip-s0"
    assert [run.dir.config.is_file() for run in store.runs()] == [True, True]


def test_a_moved_study_is_found_again_with_its_runs(store: Store, tmp_path: Path) -> None:
    study_id = with_a_study(store)
    away, apart = tmp_path / "elsewhere", tmp_path / "colleague" / "run"
    store.import_run(trained(apart), store.runs()[0].experiment_id)
    store.study(study_id).folder.rename(away)
    assert store.move_study(study_id, away).folder == away
    assert [run.folder for run in store.runs()] == [away / "runs" / "clip-s0", apart]
    assert store.move_study(study_id, away).folder == away, "it already exists"
    other = store.add_study(tmp_path / "other", "other")
    with pytest.raises(StoreError, match="another study"):
        store.move_study(other.id, away)


def test_the_bin_takes_the_arms_too_and_restores_them(store: Store) -> None:
    study_id = with_a_study(store)
    store.delete_study(study_id)
    assert store.studies() == []
    assert store.experiments() == []
    store.restore_study(study_id)
    assert len(store.studies()) == 1
    assert [one.name for one in store.experiments()] == ["clip"]
    with pytest.raises(StoreError, match="Study 77 does not exist"):
        store.study(77)


def test_an_arm_that_was_in_the_bin_before_its_study_stays_there(store: Store) -> None:
    study_id = with_a_study(store)
    (arm,) = store.experiments()
    store.delete_experiment(arm.id)
    store.delete_study(study_id)
    store.restore_study(study_id)
    assert [study.id for study in store.studies()] == [study_id]
    assert store.experiments() == []


def test_folders_of_studies_and_imports_stay_when_the_bin_is_emptied(open_store: OpenStore, tmp_path: Path) -> None:
    store = open_store(tmp_path / "work" / ".." / "home")
    with_a_study(store)
    (of_study,) = store.runs()
    imported = store.import_run(trained(tmp_path / "colleague" / "run"))
    own = store.add_run(imported.experiment_id)
    trained(own.folder)
    assert [store.owns(run) for run in (of_study, imported, own)] == [False, False, True]
    store.delete_run(imported.id)
    store.delete_run(imported.id, permanently=True, folder=True)
    for experiment in store.experiments():
        store.delete_experiment(experiment.id)
        store.delete_experiment(experiment.id, permanently=True, folders=True)
    assert store.runs() == []
    assert (of_study.dir.config.is_file(), imported.dir.config.is_file()) == (True, True)
    assert not own.folder.exists()


def test_a_refusal_restores_every_folder(store: Store, tmp_path: Path) -> None:
    experiment = store.add_experiment(preset_config("clip", "tiny"))
    first, second = (store.add_run(experiment.id) for _ in range(2))
    trained(first.folder)
    second.folder.mkdir()
    store.delete_experiment(experiment.id)
    with pytest.raises(StoreError, match="move it elsewhere"):
        store.delete_experiment(experiment.id, permanently=True, folders=True)
    assert sorted(store.runs_folder.iterdir()) == sorted([first.folder, second.folder])
    second.folder.rename(tmp_path / "elsewhere")
    store.delete_experiment(experiment.id, permanently=True, folders=True)
    assert list(store.runs_folder.iterdir()) == []


def test_marks_are_kept_by_source_and_can_be_undone(tmp_path: Path) -> None:
    store = Store.open(tmp_path)
    odd = "/data/\udcff.png"
    store.mark_pairs("a.csv", {("1.png", "a cat"): True, ("1.png", "a dog"): False, (odd, "x"): True})
    store.mark_pairs("b.csv", {("1.png", "a cat"): False})
    store.mark_pairs("a.csv", {("1.png", "a dog"): None, ("1.png", "a cat"): False})
    store.close()
    store = Store.open(tmp_path)
    assert store.pair_marks("a.csv") == {("1.png", "a cat"): False, (odd, "x"): True}
    assert store.pair_marks("b.csv") == {("1.png", "a cat"): False}
    many = {(f"{i}.png", "x"): True for i in range(1000)}
    store.mark_pairs("c.csv", many)
    assert store.pair_marks("c.csv") == many
