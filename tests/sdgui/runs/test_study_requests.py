"""What is asked of a study's program: written, refused in words, and never half done."""

from __future__ import annotations

import errno
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from core.spec.study import StudyDir, StudyStatus, read_study
from sdgui.runs import study_programs
from sdgui.runs.study_programs import StudyProgramError, StudyPrograms
from sdgui.runs.study_status import last_request
from sdgui.store.store import Store
from tests.sdgui.runs.test_study_programs import a_study


@pytest.fixture
def sleeper() -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen([sys.executable, "-S", "-c", "import time; time.sleep(600)"])
    yield process
    process.kill()
    process.wait()


def alive(out: StudyDir, process: subprocess.Popen[bytes]) -> None:
    began = psutil.Process(process.pid).create_time()
    out.write_status(StudyStatus(process.pid, began, time.time(), "", False))


def test_a_study_is_written_once_under_a_name_of_its_own(qapp: object, store: Store, tmp_path: Path) -> None:
    programs = StudyPrograms(store)
    study = read_study(a_study(tmp_path / "study", seeds=1).study)
    first, second = (programs.add(study, {"clip": "{}"}) for _ in range(2))
    assert second.folder.name == f"{first.folder.name}-2"
    assert [one.id for one in store.studies()] == [first.id, second.id]
    assert (second.folder / "arms" / "clip.json").read_text(encoding="utf-8") == "{}"
    assert StudyDir(second.folder).runs.is_dir()
    assert programs.open(second.folder).id == second.id


def test_a_study_that_cannot_be_written_is_not_listed(
    qapp: object, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_what: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    study = read_study(a_study(tmp_path / "study", seeds=1).study)
    monkeypatch.setattr(study_programs, "_write", full)
    with pytest.raises(StudyProgramError, match=r"^The study cannot be written to .*: No space left on device\.$"):
        StudyPrograms(store).add(study)
    assert store.studies() == []
    assert list(store.studies_folder.iterdir()) == [], "the next try takes the same name"


def test_a_study_that_runs_is_neither_started_nor_extended(
    qapp: object, store: Store, tmp_path: Path, sleeper: subprocess.Popen[bytes]
) -> None:
    out, programs = a_study(tmp_path / "study", seeds=1), StudyPrograms(store)
    record = store.add_study(out.path, "mine")
    alive(out, sleeper)
    with pytest.raises(StudyProgramError, match="already running"):
        programs.start(record.id)
    with pytest.raises(StudyProgramError, match="pause it before adding"):
        programs.grow(record.id, read_study(out.study), {})


def test_a_study_that_changed_meanwhile_is_not_overwritten(qapp: object, store: Store, tmp_path: Path) -> None:
    out, programs = a_study(tmp_path / "study", seeds=1), StudyPrograms(store)
    record, study = store.add_study(out.path, "mine"), read_study(out.study)
    more = study.model_copy(update={"seeds": [0, 1]})
    out.study.write_text(study.model_copy(update={"steps": 9}).to_json(), encoding="utf-8")
    with pytest.raises(StudyProgramError, match="has changed in the meantime"):
        programs.grow(record.id, more, {})
    assert read_study(out.study).steps == 9
    out.study.write_text(study.to_json(), encoding="utf-8")
    programs.grow(record.id, more, {})
    assert read_study(out.study).seeds == [0, 1]


@pytest.mark.parametrize(("what", "noted"), [("pause", "pause"), ("stop", "stop"), ("kill", "stop")])
def test_what_is_asked_is_noted_and_ends_the_program(
    qapp: object, store: Store, tmp_path: Path, sleeper: subprocess.Popen[bytes], what: str, noted: str
) -> None:
    out, programs = a_study(tmp_path / "study", seeds=1), StudyPrograms(store)
    record = store.add_study(out.path, "mine")
    programs.ask_to_end(record.id, what)
    assert last_request(out) == "", "nothing runs"
    alive(out, sleeper)
    programs.ask_to_end(record.id, what)
    assert last_request(out) == noted
    assert sleeper.wait(120) == (-9 if what == "kill" else -15)


def test_a_start_forgets_what_was_asked_and_names_its_program(qapp: object, store: Store, tmp_path: Path) -> None:
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
        with pytest.raises(StudyProgramError, match="already running"):
            programs.start(record.id)
    finally:
        process.kill()
    broken = StudyPrograms(store, command=[str(tmp_path / "no-such-program")])
    out.status.unlink()
    with pytest.raises(StudyProgramError, match="cannot be started: No such file"):
        broken.start(record.id)
