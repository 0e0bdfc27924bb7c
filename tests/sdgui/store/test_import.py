"""Importing run folders, whatever they contain, into the right experiment; and rebuilding the database from them."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from core.spec.chain import Chain, ChainStage, write_chain
from core.spec.config import RunConfig, override
from core.spec.presets import preset_config
from core.spec.run.events import EventWriter, Metrics, RunFinished, RunStarted, encode
from core.spec.run.folder import RunDir
from core.spec.run.status import RunState
from sdgui.store import store as store_module
from sdgui.store.records import BestPoint, MetricSummary, Progress, StoreError
from sdgui.store.store import DELETED, Store, _deleting_folders
from tests.core.spec.run.hostile_events import HOSTILE_LINES
from tests.sdgui.store.folders import make_folder


def test_importing_reads_a_foreign_folder_once(store: Store, tmp_path: Path) -> None:
    folder = RunDir(tmp_path / "cluster" / "job-7")
    folder.create()
    folder.config.write_text(preset_config("clip", "tiny").to_json())
    writer = EventWriter(folder.events)
    writer.write(RunStarted(step=0, total_steps=4, config_digest="x"))
    for step in (1, 2, 3):
        writer.write(Metrics(step=step, values={"train/loss": 3.0 - step, "val/student/mean_recall": 0.1 * step}))
    writer.write(RunStarted(step=1, total_steps=4, config_digest="x"))  # 2 and 3 are void
    writer.write(Metrics(step=2, values={"train/loss": 9.0, "val/student/mean_recall": 0.15}))
    writer.write(RunFinished(step=2, outcome="paused"))
    writer.close()
    run = store.import_run(folder.path)
    assert (run.state, run.step, run.folder) == (RunState.PAUSED, 2, folder.path)
    assert run.best == BestPoint("val/student/mean_recall", 0.15, 2)
    assert store.summaries([run.id])[run.id]["train/loss"] == MetricSummary(9.0, 2, 2.0, 1)
    assert store.import_run(folder.path) == run
    (experiment,) = store.experiments()
    assert experiment.name == "clip"


def test_importing_a_folder_without_a_run_is_reported(file_store: Store, tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="is not a readable run folder"):
        file_store.import_run(tmp_path)
    assert file_store.experiments() == []


def test_a_lost_database_is_rebuilt_from_the_run_folders(file_store: Store) -> None:
    store = file_store
    experiment = store.add_experiment(preset_config("sd-clip", "tiny"))
    for _ in range(2):
        make_folder(store.add_run(experiment.id), store)
    broken = store.add_run(experiment.id)
    make_folder(broken, store)
    broken.dir.config.write_text("{}garbage")
    before = store.runs()[:2]
    store.close()
    store.local_file.write_bytes(b"not a database at all, however long this line may be" * 40)
    with pytest.raises(StoreError, match="damaged"):
        Store.open(store.home)
    rebuilt, problems = Store.rebuild(store.home)
    runs = rebuilt.runs()
    assert {run.key for run in runs} == {run.key for run in before}
    assert all(run.state is RunState.DONE and run.step == 3 for run in runs)
    assert [item.config for item in rebuilt.experiments()] == [experiment.config]
    assert len(problems) == 1
    assert broken.folder.name in problems[0]
    assert list(store.home.glob("sdgui.db.damaged-*"))
    rebuilt.close()


def test_a_rebuild_without_write_access_names_the_remedy(tmp_path: Path) -> None:
    (tmp_path / "home").write_text("a file where a folder should be")
    with pytest.raises(StoreError, match=r"^cannot write .*/home: File exists; choose a folder"):
        Store.rebuild(tmp_path / "home")


def test_a_killed_rebuild_is_resumed(file_store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    experiment = file_store.add_experiment(preset_config("clip", "tiny"))
    for _ in range(4):
        make_folder(file_store.add_run(experiment.id), file_store)
    file_store.close()
    progress: list[tuple[int, int]] = []
    read, full = list[str](), store_module.folder_progress

    def killed(folder: RunDir, *rest: Any) -> Progress:
        if len(read) == 2:
            raise KeyboardInterrupt
        read.append(folder.path.name)
        return full(folder, *rest)

    with monkeypatch.context() as patch:
        patch.setattr(store_module, "folder_progress", killed)
        with pytest.raises(KeyboardInterrupt):
            Store.rebuild(file_store.home, lambda *done: progress.append(done))
    assert progress == [(1, 4), (2, 4), (3, 4)]
    first = list(read)
    noted = lambda folder, *rest: (read.append(folder.path.name), full(folder, *rest))[1]  # noqa: E731
    monkeypatch.setattr(store_module, "folder_progress", noted)
    read.clear()
    rebuilt, problems = Store.rebuild(file_store.home)
    assert (len(rebuilt.runs()), len(rebuilt.experiments()), problems) == (4, 1, [])
    assert len(read) == 2
    assert not set(read) & set(first), "what was read before is not read again"
    assert len(list(file_store.home.glob("sdgui.db.damaged-*"))) == 1
    rebuilt.close()
    read.clear()
    again, _ = Store.rebuild(file_store.home)
    assert len(read) == 4, "a completed rebuild starts from the beginning"
    again.close()


def foreign(path: Path) -> RunDir:
    """A foreign run folder with only a config."""
    folder = RunDir(path)
    folder.create()
    folder.config.write_text(preset_config("clip", "tiny").to_json())
    return folder


@pytest.mark.parametrize("what", ["pipe", "folder", "device", "link"])
def test_importing_events_that_are_no_file_leaves_nothing_behind(file_store: Store, tmp_path: Path, what: str) -> None:
    folder = foreign(tmp_path / "elsewhere")
    match what:
        case "pipe":
            os.mkfifo(folder.events)
        case "folder":
            folder.events.mkdir()
        case "device":
            folder.events.symlink_to("/dev/urandom")
        case "link":
            (tmp_path / "precious").write_text("mine")
            folder.events.symlink_to(tmp_path / "precious")
    with pytest.raises(StoreError, match=r"is not a readable run folder: .*events\.jsonl is a"):
        file_store.import_run(folder.path)
    assert (file_store.runs(), file_store.experiments()) == ([], [])


def test_malformed_events_prevent_no_import(file_store: Store, tmp_path: Path) -> None:
    folder = foreign(tmp_path / "elsewhere")
    folder.events.write_bytes(b"\n".join([*HOSTILE_LINES, encode(Metrics(step=4, values={"train/loss": 0.5}))]))
    run = file_store.import_run(folder.path)
    assert (run.step, run.failure, run.offset) == (4, "", folder.events.stat().st_size)
    assert file_store.summaries([run.id])[run.id] == {"train/loss": MetricSummary(0.5, 4, 0.5, 4)}


def test_importing_garbage_gives_the_reason(file_store: Store, tmp_path: Path) -> None:
    folder = foreign(tmp_path / "elsewhere")
    folder.events.write_bytes(b"\n".join([*HOSTILE_LINES, b""]))
    run = file_store.import_run(folder.path)
    assert run.state is RunState.INTERRUPTED
    assert run.failure.startswith(f"None of its events can be read: {folder.events}, at byte 0: ")


def test_a_rebuild_skips_unreadable_folders_and_continues(file_store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever is wrong with a folder; stages of chains are imported too."""
    names = ("a-good", "b-pipe", "c-fault", "d-link", "e-good", f"f-bin{DELETED}")
    good, pipe, fault, link, last, _ = (foreign(file_store.runs_folder / name) for name in names)
    os.mkfifo(pipe.events)
    link.config.unlink()
    link.config.symlink_to(file_store.runs_folder / "nothing")
    stage = foreign(file_store.runs_folder / "g-chain" / "stage-1-first")
    progress = store_module.folder_progress

    def failing(folder: RunDir, launched: float | None, now: float) -> Progress:
        if folder.path == fault.path:
            raise RuntimeError("nobody thought of it")
        return progress(folder, launched, now)

    monkeypatch.setattr(store_module, "folder_progress", failing)
    kept = file_store.import_run(good.path)
    file_store.set_run_note(kept.id, "mine")
    problems = file_store.import_folders()
    assert {run.folder for run in file_store.runs()} == {good.path, last.path, stage.path}
    assert file_store.run(kept.id).note == "mine"
    assert len(problems) == 2
    assert "b-pipe/events.jsonl is a named pipe" in problems[0]
    assert problems[1] == f"{fault.path} could not be read: RuntimeError: nobody thought of it."


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
