"""Importing run folders, and rebuilding the database from them, whatever they contain."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from core.spec.presets import preset_config
from core.spec.run.events import EventWriter, Metrics, RunFinished, RunStarted, encode
from core.spec.run.folder import RunDir
from core.spec.run.status import RunState
from sdgui.store import store as store_module
from sdgui.store.records import BestPoint, MetricSummary, Progress, StoreError
from sdgui.store.store import DELETED, Store
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
    told: list[tuple[int, int]] = []
    read, full = list[str](), store_module.folder_progress

    def killed(folder: RunDir, *rest: Any) -> Progress:
        if len(read) == 2:
            raise KeyboardInterrupt
        read.append(folder.path.name)
        return full(folder, *rest)

    with monkeypatch.context() as patch:
        patch.setattr(store_module, "folder_progress", killed)
        with pytest.raises(KeyboardInterrupt):
            Store.rebuild(file_store.home, lambda *done: told.append(done))
    assert told == [(1, 4), (2, 4), (3, 4)]
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
