"""Studies as they are followed: a failure of the database or of one run's folder is got over."""

from __future__ import annotations

import errno
import platform
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from core.spec.errors import UserError
from core.spec.presets import preset_config
from core.spec.study import Study, StudyDir, StudyStatus, read_study
from sdgui.runs import study_programs
from sdgui.runs.study_programs import StudyPrograms
from sdgui.runs.study_status import last_request
from sdgui.store.records import StoreError
from sdgui.store.store import Store


def a_study(folder: Path, seeds: int) -> StudyDir:
    """The folder of a study whose runs have begun."""
    study = Study(
        name="one arm",
        size="tiny",
        steps=3,
        seeds=list(range(seeds)),
        data={"train": "demo:train.csv", "val": "demo:val.csv", "test": "demo:test.csv"},
        arms=[{"name": "clip", "preset": "clip"}],
        measures=[{"name": "test", "task": "retrieval", "data": "test"}],
    )
    out = StudyDir(folder)
    for seed in range(seeds):
        out.run("clip", seed).create()
        out.run("clip", seed).config.write_text(preset_config("clip", "tiny").to_json(), encoding="utf-8")
    out.study.write_text(study.to_json(), encoding="utf-8")
    return out


def test_a_run_that_could_not_be_listed_is_retried_and_blocks_no_other(
    qapp: object, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, programs = a_study(tmp_path / "study", seeds=2), StudyPrograms(store)
    record, told = store.add_study(out.path, "one arm"), list[str]()
    programs.trouble.connect(told.append)
    real, calls = store.import_run, list[Any]()

    def held_twice(*what: Any) -> Any:
        calls.append(what)
        if len(calls) in (1, 3):
            raise StoreError("The database is locked by another program.")
        return real(*what)

    monkeypatch.setattr(store, "import_run", held_twice)
    for _ in range(2):
        programs._follow_study(record)
        assert [run.folder for run in store.runs() if run.tags] == [out.run("clip", 1).path]
    programs._follow_study(record)
    assert sorted(run.tags for run in store.runs()) == [("seed 0",), ("seed 1",)]
    assert told == ["The database is locked by another program."]
    assert len(store.experiments()) == 1


def test_a_window_killed_after_it_listed_a_run_has_tagged_it(
    qapp: object, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    programs, real = StudyPrograms(store), store.import_run

    def killed(*what: Any, **more: Any) -> None:
        real(*what, **more)
        raise KeyboardInterrupt

    monkeypatch.setattr(store, "import_run", killed)
    record = store.add_study(a_study(tmp_path / "study", seeds=1).path, "one arm")
    with pytest.raises(KeyboardInterrupt):
        programs._follow_study(record)
    assert [run.tags for run in store.runs()] == [("seed 0",)]


def test_listing_a_study_while_live_ones_are_counted_is_safe(qapp: object, store: Store, tmp_path: Path) -> None:
    programs = StudyPrograms(store)
    records = [store.add_study(a_study(tmp_path / name, seeds=1).path, name) for name in ("one", "two", "three")]

    class Snapshot:
        """Reading it lets the thread take its turn, as the interpreter may at any moment."""

        @property
        def alive(self) -> bool:
            programs._follow_study(records[1])
            programs._follow_study(records[2])
            return True

    programs._snapshots = {records[0].id: Snapshot()}  # type: ignore[dict-item]
    assert programs.alive() == [records[0].id]
    assert programs.snapshot(records[2].id) is not None


def test_runs_of_a_study_reopened_after_the_bin_was_emptied_are_listed(
    qapp: object, store: Store, tmp_path: Path
) -> None:
    out, programs = a_study(tmp_path / "study", seeds=1), StudyPrograms(store)
    record = programs.open(out.path)
    programs._follow_study(record)
    store.delete_study(record.id)
    for experiment in store.experiments(deleted=True):
        store.delete_experiment(experiment.id, permanently=True, folders=True)
    assert programs.open(out.path).id == record.id
    programs._follow_study(record)
    assert [run.folder for run in store.runs()] == [out.run("clip", 0).path]


def test_all_studies_are_asked_to_stop_though_one_fails(qapp: object, store: Store, tmp_path: Path) -> None:
    programs, told = StudyPrograms(store), list[str]()
    programs.trouble.connect(told.append)
    here = subprocess.Popen([sys.executable, "-S", "-c", "import time; time.sleep(600)"])
    far, near = (a_study(tmp_path / name, seeds=1) for name in ("far", "near"))
    far.write_status(StudyStatus(4242, time.time() - 10, time.time(), "cluster-7", False))
    near.write_status(
        StudyStatus(here.pid, psutil.Process(here.pid).create_time(), time.time(), platform.node(), False)
    )
    try:
        for out in (far, near):
            programs._follow_study(store.add_study(out.path, out.path.name))
        assert len(programs.alive()) == 2
        programs.stop_all()
        assert here.wait(60) != 0
    finally:
        here.kill()
    assert told == ["The study is running on cluster-7; end it on that computer."]


def test_folders_are_read_at_intervals_and_at_once_after_an_action(
    qapp: object, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(study_programs, "POLL_SECONDS", 600.0)
    programs, read, rounds = StudyPrograms(store), store.studies, list[float]()

    def noted() -> Any:
        rounds.append(time.monotonic())
        return read()

    def wait(number: int) -> None:
        until = time.monotonic() + 120
        while len(rounds) < number and time.monotonic() < until:
            time.sleep(0.01)
        time.sleep(0.1)
        assert len(rounds) == number

    monkeypatch.setattr(store, "studies", noted)
    programs.follow()
    try:
        wait(1)
        study = read_study(a_study(tmp_path / "study", seeds=1).study)
        record = programs.add(study)
        wait(2)
        assert programs.snapshot(record.id) is not None
        programs.extend(record.id, study.model_copy(update={"seeds": [0, 1]}), {})
        wait(3)
        programs.choose_machines(record.id, ["here"])
        wait(4)
    finally:
        programs.close()


@pytest.fixture
def sleeper() -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen([sys.executable, "-S", "-c", "import time; time.sleep(600)"])
    yield process
    process.kill()
    process.wait()


def alive(out: StudyDir, process: subprocess.Popen[bytes]) -> None:
    began = psutil.Process(process.pid).create_time()
    out.write_status(StudyStatus(process.pid, began, time.time(), "", False))


def test_a_study_is_written_once_under_a_unique_name(qapp: object, store: Store, tmp_path: Path) -> None:
    programs = StudyPrograms(store)
    study = read_study(a_study(tmp_path / "study", seeds=1).study)
    first, second = (programs.add(study, {"clip": "{}"}) for _ in range(2))
    assert second.folder.name == f"{first.folder.name}-2"
    assert [one.id for one in store.studies()] == [first.id, second.id]
    assert (second.folder / "arms" / "clip.json").read_text(encoding="utf-8") == "{}"
    assert StudyDir(second.folder).runs.is_dir()
    assert programs.open(second.folder).id == second.id


def test_an_unwritable_study_is_not_listed(
    qapp: object, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_what: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    study = read_study(a_study(tmp_path / "study", seeds=1).study)
    monkeypatch.setattr(study_programs, "_write", full)
    with pytest.raises(UserError, match=r"^The study cannot be written to .*: No space left on device\.$"):
        StudyPrograms(store).add(study)
    assert store.studies() == []
    assert list(store.studies_folder.iterdir()) == [], "the next try takes the same name"


def test_a_running_study_is_neither_started_nor_extended(
    qapp: object, store: Store, tmp_path: Path, sleeper: subprocess.Popen[bytes]
) -> None:
    out, programs = a_study(tmp_path / "study", seeds=1), StudyPrograms(store)
    record = store.add_study(out.path, "mine")
    alive(out, sleeper)
    with pytest.raises(UserError, match="already running"):
        programs.start(record.id)
    with pytest.raises(UserError, match="pause it before adding"):
        programs.extend(record.id, read_study(out.study), {})


def test_a_study_changed_meanwhile_is_not_overwritten(qapp: object, store: Store, tmp_path: Path) -> None:
    out, programs = a_study(tmp_path / "study", seeds=1), StudyPrograms(store)
    record, study = store.add_study(out.path, "mine"), read_study(out.study)
    more = study.model_copy(update={"seeds": [0, 1]})
    out.study.write_text(study.model_copy(update={"steps": 9}).to_json(), encoding="utf-8")
    with pytest.raises(UserError, match="has changed in the meantime"):
        programs.extend(record.id, more, {})
    assert read_study(out.study).steps == 9
    out.study.write_text(study.to_json(), encoding="utf-8")
    programs.extend(record.id, more, {})
    assert read_study(out.study).seeds == [0, 1]


@pytest.mark.parametrize(("what", "noted"), [("pause", "pause"), ("stop", "stop"), ("kill", "stop")])
def test_a_request_is_recorded_and_ends_the_program(
    qapp: object, store: Store, tmp_path: Path, sleeper: subprocess.Popen[bytes], what: str, noted: str
) -> None:
    out, programs = a_study(tmp_path / "study", seeds=1), StudyPrograms(store)
    record = store.add_study(out.path, "mine")
    programs.request_end(record.id, what)
    assert last_request(out) == "", "nothing runs"
    alive(out, sleeper)
    programs.request_end(record.id, what)
    assert last_request(out) == noted
    assert sleeper.wait(120) == (-9 if what == "kill" else -15)


def test_a_start_clears_older_requests_and_names_its_program(qapp: object, store: Store, tmp_path: Path) -> None:
    out = a_study(tmp_path / "study", seeds=1)
    record = store.add_study(out.path, "mine")
    (out.path / "asked").write_text("pause", encoding="utf-8")
    (out.path / "stderr.log").write_text("old", encoding="utf-8")
    programs = StudyPrograms(store, command=[sys.executable, "-S", "-c", "import time; time.sleep(600)"])
    programs.start(record.id)
    status = out.read_status()
    assert status is not None
    process = psutil.Process(status.pid)
    try:
        assert process.cmdline()[-3:] == ["study", str(out.study), str(out.path)]
        assert (last_request(out), (out.path / "stderr.log").read_bytes()) == ("", b"")
        with pytest.raises(UserError, match="already running"):
            programs.start(record.id)
    finally:
        process.kill()
    broken = StudyPrograms(store, command=[str(tmp_path / "no-such-program")])
    out.status.unlink()
    with pytest.raises(UserError, match="cannot be started: No such file"):
        broken.start(record.id)
