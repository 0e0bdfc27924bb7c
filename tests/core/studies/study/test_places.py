"""A study on several machines: the same table, the first free device, and what a killed program leaves."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from core.spec.machines import machines as machines_module
from core.spec.machines.host import Host
from core.spec.machines.machine import Machine
from core.spec.machines.machine_list import MachineError, MachineList
from core.spec.machines.remote_runs import RemoteRuns
from core.spec.run.events import EventReader, Metrics
from core.spec.run.status import process_alive
from core.spec.study import Study, StudyDir, StudyStatus
from core.studies.study import budgets
from core.studies.study.places import remote_step
from core.studies.study.queue import StudyError, run_study
from tests.core.images import write_pairs
from tests.core.remote.conftest import FAKE, slurm, wait_for
from tests.core.studies.study.test_study import fake_jobs, study_dict

__all__ = ["fake_jobs", "slurm"]  # the fixtures

ARMS: tuple[dict[str, Any], ...] = (
    {"name": "slow", "preset": "clip"},
    {"name": "base", "preset": "clip"},
    {"name": "broken", "preset": "clip"},
)
THERE = f"""
import runpy, sys
from core.remote import script
fake = {str(Path(__file__).with_name("fake_remote_main.py"))!r}
script.study_command = lambda arguments: [sys.executable, fake, *arguments]
sys.argv[0] = {str(FAKE)!r}
runpy.run_path(sys.argv[0], run_name="__main__")
"""


class Far:
    """A home whose list has the machines ``far`` and ``other``: programs that are children of this one."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.home, self.runs = folder, folder / "home", folder / "there"
        for name in ("far", "other"):
            MachineList(self.home).put(Machine(name=name, host=name, runs=str(folder / name)))
        write_pairs(folder)

    def command(self, machine: Machine) -> list[str]:
        return [sys.executable, "-c", THERE, "remote", "--runs", machine.runs]

    def run(self, study: Study, out: StudyDir, *on: str, jobs: int = 1) -> Any:
        return run_study(study, self.folder, out, jobs, lambda text: None, machines=on, home=self.home)

    def there(self, out: StudyDir, machine: str = "far") -> StudyDir:
        """The study's folder on a machine."""
        name = json.loads((out.path / "machines.json").read_text())["folder"]
        return StudyDir(self.folder / machine / "studies" / name)


@pytest.fixture
def far(tmp_path: Path, fake_jobs: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[Far]:
    found = Far(tmp_path)

    def host(machine: Machine, changed: Any, _command: Any) -> Host:
        return Host(machine, changed, found.command(machine))

    monkeypatch.setattr(machines_module, "Host", host)
    monkeypatch.setattr(remote_step, "_POLL_SECONDS", 0.05)
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[4]))
    yield found
    for status in tmp_path.glob("*/studies/*/runs/*/status.json"):
        pid = json.loads(status.read_text())["pid"]
        if psutil.pid_exists(pid) and pid != os.getpid():
            psutil.Process(pid).kill()


def test_runs_on_several_machines_give_the_table_of_one(far: Far) -> None:
    """The first keeps this computer until both others have ended, one after another, on the machine."""
    study = Study.model_validate(study_dict(*ARMS, seeds=[0]))
    alone, spread = StudyDir(far.folder / "alone"), StudyDir(far.folder / "spread")
    alone.path.mkdir()
    (alone.path / "go").touch()
    far.run(study, alone)

    def let_it_go() -> None:
        wait_for(lambda: any(run.state == "failed" for run in (spread.read_status() or StudyStatus()).runs))
        (spread.path / "go").touch()

    threading.Thread(target=let_it_go, daemon=True).start()
    status = far.run(study, spread, "here", "far")
    assert status.finished
    assert {run.arm: run.machine for run in status.runs} == {"slow": "", "base": "far", "broken": "far"}
    failed = {(run.arm, run.message) for run in status.runs if run.state == "failed"}
    assert failed == {("broken", "error: it is broken")}, "wherever it failed, its last words are told"
    one, two = (json.loads(out.results.read_text()) for out in (alone, spread))
    assert "trained on this computer, far" in two.pop("machine")
    one.pop("machine")
    assert one == two
    mirror = spread.run("base", 0)
    steps = [event.step for event in EventReader(mirror.events).read_all() if isinstance(event, Metrics)]
    assert steps == list(range(1, 11)), "its curve is here"
    assert mirror.config.is_file()
    for folder in (far.there(spread).path, spread.path):
        (folder / "mended").touch()
    assert far.run(study, spread).done == 3, "on the machines of the last time"


@pytest.mark.slow
def test_a_killed_study_finds_its_runs_again(far: Far) -> None:
    """The run goes on while nobody looks; started again, the study takes it up, and nothing is trained twice."""
    study, out = Study.model_validate(study_dict(*ARMS[:2], seeds=[0])), StudyDir(far.folder / "out")

    def interrupt() -> None:
        wait_for(
            lambda: (far.there(out).run("slow", 0).status).exists() if (out.path / "machines.json").exists() else 0
        )
        wait_for(lambda: out.run("slow", 0).events.exists() and out.run("slow", 0).events.stat().st_size)
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=interrupt, daemon=True).start()
    with pytest.raises(KeyboardInterrupt):
        far.run(study, out, "far")
    status = out.read_status()
    assert status is not None
    assert [run.state for run in status.runs] == ["waiting", "waiting"], "it was stopped there too"
    record = json.loads((out.run("slow", 0).path / "remote.json").read_text())
    assert record["machine"] == "far"
    with pytest.raises(StudyError, match="another"):
        far.run(study.model_copy(update={"steps": 11}), out)
    status = far.run(study, out, "other")
    messages = {run.arm: run.message for run in status.runs if run.state == "failed"}
    assert "begun on far" in messages["slow"]
    assert status.done == 1, "what was not begun may go elsewhere"

    program = subprocess.Popen([sys.executable, "-c", PROGRAM, str(far.folder), str(out.path)])
    there = far.there(out)
    try:
        wait_for(lambda: _trains(there))
    finally:
        program.kill()
        program.wait()
    (there.path / "go").touch()
    wait_for(lambda: there.measures("slow", 0).exists())
    status = far.run(study, out, "far", "other")
    assert status.finished
    assert status.done == 2
    calls = (there.path / "calls.txt").read_text().splitlines()
    assert calls == ["slow 0 10"]


PROGRAM = """
import sys
from pathlib import Path
from core.spec.machines import machines
from core.spec.machines.host import Host
from core.spec.study import StudyDir, read_study
from core.studies.study.queue import run_study
from tests.core.studies.study.test_places import Far
folder, out = Path(sys.argv[1]), StudyDir(Path(sys.argv[2]))
far = Far.__new__(Far)
machines.Host = lambda machine, changed, command: Host(machine, changed, far.command(machine))
run_study(read_study(out.study), folder, out, 1, print, machines=["far", "other"], home=folder / "home")
"""


def _trains(there: StudyDir) -> bool:
    status = there.run("slow", 0).read_status()
    return status is not None and status.doing == "training" and process_alive(status)


@pytest.mark.slow
def test_each_run_is_a_slurm_job(far: Far, slurm: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in slurm.items():
        monkeypatch.setenv(name, value)
    where = Machine(name="cluster", host="cluster", runs=str(far.folder / "cluster"), launcher="slurm", partition="low")
    MachineList(far.home).put(where)
    study, out = Study.model_validate(study_dict(*ARMS[1:], seeds=[0])), StudyDir(far.folder / "out")
    status = far.run(study, out, "cluster")
    ended = {run.arm: (run.state, run.machine, run.message) for run in status.runs}
    assert ended == {"base": ("done", "cluster", ""), "broken": ("failed", "cluster", "error: it is broken")}
    job = json.loads((far.there(out, "cluster").run("base", 0).path / "job.json").read_text())
    assert job["name"] == f"{far.there(out, 'cluster').path.name}-base-0"
    assert job["job"].isdigit()


@pytest.mark.ci
def test_incompatible_places_are_refused_and_connections_close(far: Far, monkeypatch: pytest.MonkeyPatch) -> None:
    closed: list[RemoteRuns] = []
    close = RemoteRuns.close
    monkeypatch.setattr(RemoteRuns, "close", lambda self: (closed.append(self), close(self)))
    monkeypatch.setattr(budgets, "ROUNDS", 1)
    out = StudyDir(far.folder / "out")
    arms = ({"name": "base", "preset": "clip"}, {"name": "better", "preset": "sd-clip"})
    timed = study_dict(*arms, seeds=[0], budgets=[10])
    timed.pop("steps")
    study = Study.model_validate(timed)
    with pytest.raises(StudyError, match="so it needs a single machine; choose one of here, far"):
        far.run(study, out, "here", "far")
    with pytest.raises(MachineError, match="there is no machine gone"):
        far.run(study, out, "gone")
    assert far.run(study, out, "far").done == 2
    assert sorted((far.there(out).path / "calls.txt").read_text().split("\n")[:-1]) == [
        "base-10s 0 20",
        "better-10s 0 10",
    ]
    with pytest.raises(StudyError, match="was started on far"):
        far.run(study, out, "other")
    assert len(closed) == 4, "each with its study, trained or refused"
