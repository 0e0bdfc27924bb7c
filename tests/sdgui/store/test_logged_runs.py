"""Runs that scripts log are listed as soon as their folder exists, under the experiment of their project."""

from __future__ import annotations

from pathlib import Path

import pytest

import core
from core.spec.run.status import RunState
from sdgui.panels.runs.compare.settings import compare
from sdgui.store.records import StoreUnavailableError
from sdgui.store.store import Store


@pytest.fixture
def store(file_store: Store) -> Store:
    return file_store


def log(home: Path, name: str, rate: float, folder: Path | None = None) -> Path:
    config = {"lr": rate, "model": {"depth": 2}}
    run = core.start_run(
        name, config, project="cifar", home=home, folder=folder, system_seconds=0, record_code=False, total_steps=5
    )
    run.log({"train/loss": rate}, step=1)
    run.finish()
    return run.folder


def test_runs_of_a_project_are_listed_once_under_its_experiment(store: Store) -> None:
    first = log(store.home, "first", 0.1)
    (store.runs_folder / "being-made").mkdir()
    assert store.import_logged() == []
    second = log(store.home, "second", 0.2)
    assert store.import_logged() == []
    assert store.import_logged() == []
    (experiment,) = store.experiments()
    assert (experiment.name, experiment.config, experiment.logged_project) == ("cifar", None, "cifar")
    runs = store.runs()
    assert [run.folder for run in runs] == [first, second]
    assert all(run.is_logged and run.state is RunState.DONE and run.total_steps == 5 for run in runs)
    assert store.summaries([runs[1].id])[runs[1].id]["train/loss"].last == 0.2


def test_a_folder_deleted_while_it_is_read_is_no_error(store: Store) -> None:
    (store.runs_folder / "deleted").symlink_to(store.home / "nowhere")
    assert store.import_logged() == []


def test_many_new_runs_are_listed_in_several_calls(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    folders = [log(store.home, name, 0.1) for name in ("a", "b", "c")]
    monkeypatch.setattr("sdgui.store.store._IMPORT_SECONDS", -1.0)
    for number in (1, 2, 3, 3):
        store.import_logged()
        assert [run.folder for run in store.runs()] == folders[:number]


def test_a_locked_database_only_delays_the_listing(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = log(store.home, "first", 0.1)

    def locked(*_: object, **_options: object) -> int:
        raise StoreUnavailableError("locked")

    with monkeypatch.context() as patch:
        patch.setattr(store, "add_imported", locked)
        with pytest.raises(StoreUnavailableError):
            store.import_logged()
    store.import_logged()
    assert [run.folder for run in store.runs()] == [folder]


def test_tags_in_the_config_become_tags_of_the_run(store: Store) -> None:
    folder = log(store.home, "first", 0.1)
    file = folder / "config.json"
    file.write_text(file.read_text().replace('"tags": []', '"tags": ["vision", "team=a"]'))
    store.import_logged()
    assert sorted(store.runs()[0].tags) == ["team=a", "vision"]


def test_a_renamed_project_keeps_its_runs(store: Store) -> None:
    log(store.home, "first", 0.1)
    store.import_logged()
    store.rename_experiment(store.experiments()[0].id, "CIFAR-10")
    log(store.home, "second", 0.2)
    store.import_logged()
    assert [len(store.runs(experiment.id)) for experiment in store.experiments()] == [2]


def test_an_unreadable_folder_is_named_and_hides_no_other(store: Store) -> None:
    bad = store.runs_folder / "bad"
    bad.mkdir()
    (bad / "config.json").write_text('{"kind": "logged", "name": 3}', encoding="utf-8")
    log(store.home, "good", 0.1)
    (problem,) = store.import_logged()
    assert "bad/config.json" in problem
    assert len(store.runs()) == 1


def test_configs_of_logged_runs_are_compared(store: Store, tmp_path: Path) -> None:
    ids = [store.import_run(log(store.home, name, rate, tmp_path / name)).id for name, rate in (("a", 0.1), ("b", 0.2))]
    lines = {line.title: line for line in compare(store, ids).lines}
    assert (lines["lr"].texts, lines["lr"].differs) == (("0.1", "0.2"), True)
    assert (lines["model.depth"].texts, lines["model.depth"].differs) == (("2", "2"), False)
    assert lines["packages.numpy"].texts[0] != ""
    assert not lines["packages.numpy"].differs
