"""How a study is started: spread over what is free, told where machines are listed, and listed with its runs."""

from __future__ import annotations

import os
import platform
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest
from pytestqt.qtbot import QtBot

from core.spec.errors import UserError
from core.spec.installed import NotInstalled
from core.spec.presets import preset_config
from core.spec.run.processes import start_time
from core.spec.run.status import RunState
from core.spec.study import Study, StudyDir, StudyStatus, read_study
from core.spec.study.folder import StudyRun
from core.spec.study.machines import read_machines
from sdgui.runs import study_programs
from sdgui.runs.machines.slots import MachineSlots, Reserved
from sdgui.runs.program import core_command
from sdgui.runs.study_programs import StudyPrograms
from sdgui.store.queue import Slots
from sdgui.store.records import Progress
from sdgui.store.store import Store
from tests.sdgui.runs.test_study_programs import a_study


class Started:
    """A program that was started, and the command by which."""

    pid = 1 << 22

    def __init__(self) -> None:
        self.command: list[str] = []

    def __call__(self, command: list[str], *_files: object, detached: bool) -> Any:
        assert detached, "it outlives the window"
        self.command = command
        return self

    def wait(self) -> int:
        return 0


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> Started:
    found = Started()
    monkeypatch.setattr(study_programs, "start_program", found)
    monkeypatch.setattr(study_programs, "start_time", lambda pid: 5.0)
    return found


def with_budgets(out: StudyDir) -> None:
    study = read_study(out.study)
    out.study.write_text(study.model_copy(update={"steps": 0, "budgets": [30.0]}).to_json(), encoding="utf-8")


@pytest.mark.parametrize(
    ("slots", "timed", "options"),
    [
        (Slots(), False, []),
        (Slots(at_once=3), False, ["--jobs", "3"]),
        (Slots(at_once=3), True, []),
        (Slots(("0", "1", "2"), in_use=frozenset({"1"})), False, ["--devices", "0,2"]),
        (Slots(("0", "1"), at_once=5), True, ["--devices", "0,1"]),
        (Slots(("0", "1"), in_use=frozenset({"0", "1"})), False, ["--devices", "0,1"]),
    ],
)
def test_runs_are_spread_over_free_devices_and_never_while_time_is_measured(
    qapp: object, store: Store, tmp_path: Path, started: Started, slots: Slots, timed: bool, options: list[str]
) -> None:
    out = a_study(tmp_path / "study", seeds=1)
    if timed:
        with_budgets(out)
    programs = StudyPrograms(store, ["program"], slots=lambda: slots)
    programs.start(store.add_study(out.path, "mine").id)
    assert started.command == ["program", "study", str(out.study), str(out.path), *options]
    status = out.read_status()
    assert status is not None
    assert (status.pid, status.started, status.runs, status.host) == (started.pid, 5.0, [], platform.node())
    assert status.heartbeat > time.time() - 60


def test_a_study_gets_the_list_of_machines(qapp: object, store: Store, tmp_path: Path, started: Started) -> None:
    out, programs = a_study(tmp_path / "study", seeds=1), StudyPrograms(store, ["program"])
    study = store.add_study(out.path, "mine").id
    programs.choose_machines(study, ["far", "here"])
    folder = read_machines(out, read_study(out.study)).folder
    programs.start(study)
    assert started.command[4:] == ["--home", str(store.home)]
    out.status.unlink()
    programs.choose_machines(study, [])
    assert read_machines(out, read_study(out.study)).folder == folder, "it is the same one there"
    programs.start(study)
    assert started.command[4:] == []


def test_a_status_written_by_the_program_stays(
    qapp: object, store: Store, tmp_path: Path, started: Started, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = a_study(tmp_path / "study", seeds=1)
    own = StudyStatus(started.pid, 5.0, 9.0, "here", finished=False, runs=[StudyRun("clip", 0, "r", "waiting", "")])
    monkeypatch.setattr(study_programs, "start_time", lambda pid: out.write_status(own) or 5.0)  # type: ignore[func-returns-value]
    StudyPrograms(store, ["program"]).start(store.add_study(out.path, "mine").id)
    status = out.read_status()
    assert status is not None
    assert len(status.runs) == 1


def test_studies_that_cannot_start_locally_are_refused(
    qapp: object, store: Store, tmp_path: Path, started: Started, monkeypatch: pytest.MonkeyPatch
) -> None:
    def need(extra: str) -> None:
        raise NotInstalled(f"There is no {extra}.")

    monkeypatch.setattr(study_programs, "need", need)
    out = a_study(tmp_path / "study", seeds=1)
    study = store.add_study(out.path, "mine").id
    with pytest.raises(UserError, match=r"There is no train\."):
        StudyPrograms(store).start(study)
    with pytest.raises(UserError, match=r"There is no train\."):
        StudyPrograms(store, core_command()).start(study)
    assert started.command == []
    monkeypatch.setattr(store, "study", lambda _id: type("Far", (), {"is_local": False, "owner_host": "lab-7"}))
    with pytest.raises(UserError, match="is on lab-7; start the study on that computer"):
        StudyPrograms(store, ["program"]).start(study)
    assert started.command == []
    (tmp_path / "elsewhere.log").write_text("precious")
    (out.path / "stderr.log").symlink_to(tmp_path / "elsewhere.log")
    monkeypatch.undo()
    with pytest.raises(UserError, match=r"stderr\.log leads out of .* through a link"):
        StudyPrograms(store, ["program"]).start(study)
    assert (tmp_path / "elsewhere.log").read_text() == "precious"


def test_a_study_file_is_opened_as_its_study(qapp: object, store: Store, tmp_path: Path) -> None:
    out, programs = a_study(tmp_path / "study", seeds=1), StudyPrograms(store)
    made = programs.open(out.study)
    assert made.folder.parent == store.studies_folder, "nothing was begun beside it: it is a plan"
    out.write_status(StudyStatus(1, 1.0, 1.0, "", finished=True))
    assert programs.open(out.study).folder == out.path
    other = out.study.with_name("plan.json")
    other.write_bytes(out.study.read_bytes())
    assert programs.open(other).folder.parent == store.studies_folder


def test_runs_of_a_study_are_listed_with_their_machine_under_one_experiment_per_arm(
    qapp: object, store: Store, tmp_path: Path, qtbot: QtBot
) -> None:
    out, programs = a_study(tmp_path / "study", seeds=2), StudyPrograms(store)
    out.run("clip", 1).config.unlink()
    runs = [
        StudyRun("clip", 0, "r0", "training", "", device="1", machine="far"),
        StudyRun("clip", 1, "r1", "waiting", ""),
    ]
    out.write_status(StudyStatus(finished=False, runs=runs).touch())
    study, listed, changed = store.add_study(out.path, "mine"), list[Any](), list[int]()
    programs.runs_added.connect(listed.append)
    programs.changed.connect(changed.append)
    programs._follow_study(study)
    [run] = store.runs()
    assert (run.devices, run.machine, run.tags) == ("1", "far", ("seed 0",))
    assert listed == [frozenset({run.id})]
    qtbot.waitUntil(lambda: changed == [study.id])
    programs._follow_study(study)
    assert len(listed) == 1
    runs[0].device, runs[0].machine = "0", ""  # the study was resumed
    out.write_status(StudyStatus(finished=False, runs=runs).touch())
    programs._follow_study(study)
    assert (store.run(run.id).devices, store.run(run.id).machine) == ("0", "")
    assert listed.pop() == frozenset({run.id})
    runs[0].device, runs[0].state = "", "waiting"
    out.write_status(StudyStatus(finished=False, runs=runs).touch())
    programs._follow_study(study)
    assert store.run(run.id).devices == "0", "the devices of its last start"
    out.run("clip", 1).config.write_text(preset_config("clip", "tiny").to_json(), encoding="utf-8")
    programs._follow_study(study)
    [_, second] = store.runs()
    assert (second.experiment_id, second.devices, second.machine) == (run.experiment_id, "", "")
    assert listed[1:] == [frozenset({second.id})]
    assert set(store.study(study.id).arms.values()) == {"clip"}
    store.record(run.id, Progress(RunState.DONE, 1))
    store.delete_run(run.id)
    StudyPrograms(store)._follow_study(study)
    assert len(store.runs()) == 1, "what is in the bin stays there"


def test_the_config_of_an_arm_is_written_beside_the_study_and_never_through_a_link(
    qapp: object, store: Store, tmp_path: Path
) -> None:
    out, programs = a_study(tmp_path / "study", seeds=1), StudyPrograms(store)
    study: Study = read_study(out.study)
    record = store.add_study(out.path, "mine")
    (tmp_path / "elsewhere").mkdir()
    (out.path / "arms").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(UserError, match=r"arms leads out of .* through a link"):
        programs.extend(record.id, study, {"clip": "{}"})
    assert list((tmp_path / "elsewhere").iterdir()) == []
    (out.path / "arms").unlink()
    out.path.chmod(0o700)
    (out.path / "arms").write_text("a file where a folder should be")
    with pytest.raises(UserError, match=rf"The study cannot be written to {out.path}: File exists\."):
        programs.extend(record.id, study, {"clip": "{}"})


@pytest.mark.skipif(sys.platform == "win32", reason="a link needs rights there")
def test_a_program_of_another_user_is_not_ended(
    qapp: object, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, programs = a_study(tmp_path / "study", seeds=1), StudyPrograms(store)
    record = store.add_study(out.path, "mine")
    out.write_status(StudyStatus(finished=False).touch())

    started = start_time(os.getpid())

    class Theirs:
        def __init__(self, pid: int) -> None:
            self.pid = pid

        def create_time(self) -> float:
            return started

        def terminate(self) -> None:
            raise psutil.AccessDenied(self.pid)

    with monkeypatch.context() as patch:
        patch.setattr(psutil, "Process", Theirs)
        patch.setattr(study_programs, "program_alive", lambda status: True)
        with pytest.raises(UserError, match="is another user's program; end it as that user"):
            programs.request_end(record.id, "stop")
        patch.setattr(
            study_programs, "record_request", lambda folder, what: (_ for _ in ()).throw(OSError(28, "No space"))
        )
        with pytest.raises(UserError, match=r"cannot be stopped: No space\."):
            programs.request_end(record.id, "pause")


def test_a_study_and_the_queue_share_the_devices(qapp: object, store: Store, tmp_path: Path, started: Started) -> None:
    slots = MachineSlots(at_once=1)
    programs = StudyPrograms(store, ["program"], slots=slots.unreserved)
    slots.reserved = programs.reserved
    experiment = store.add_experiment(preset_config("clip", "tiny"))
    run = store.assign_devices(store.add_run(experiment.id).id, Slots())
    out = a_study(tmp_path / "study", seeds=2)
    study = store.add_study(out.path, "mine").id
    with pytest.raises(UserError, match="“Parallel runs” on the Machines page is 1"):
        programs.start(study)
    assert started.command == []
    slots.at_once = 3
    programs.start(study)
    assert started.command[-2:] == ["--jobs", "2"], "one of the three is taken by the run"
    store.record(run.id, Progress(state=RunState.DONE, offset=1))
    out.write_status(StudyStatus(os.getpid(), start_time(os.getpid()), time.time(), platform.node(), runs=[]))
    programs._follow_study(store.study(study))
    assert programs.alive() == [study]
    assert slots.local() == Slots(at_once=1), "also between two runs of the study"
    slots.at_once = 2
    store.add_run(experiment.id, queued=True)
    assert store.take_next({"": slots.local() or Slots()}) is None
    out.status.unlink()
    programs._follow_study(store.study(study))
    assert store.take_next({"": slots.local() or Slots()}) is not None


def test_devices_of_a_study_are_kept_between_its_runs(qapp: object, store: Store, tmp_path: Path) -> None:
    programs = StudyPrograms(store, ["program"])
    runs = [
        StudyRun("clip", 0, "runs/clip/0", "done", "", device="1"),
        StudyRun("clip", 1, "runs/clip/1", "waiting", ""),
    ]
    out = a_study(tmp_path / "study", seeds=2)
    study = store.add_study(out.path, "mine").id
    out.write_status(StudyStatus(os.getpid(), start_time(os.getpid()), time.time(), platform.node(), runs=runs))
    programs._follow_study(store.study(study))
    assert programs.reserved() == Reserved(1, frozenset({"1"}))
    assert programs.reserved(without=study) == Reserved()
    programs.choose_machines(study, ["far"])
    programs._follow_study(store.study(study))
    assert programs.reserved() == Reserved(), "it trains elsewhere"
