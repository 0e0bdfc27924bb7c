"""Starting runs once each on a machine, without starting one: what is written, found again and refused."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from core.remote import starting
from core.remote.job import Job, read_job, write_job
from core.remote.script import SCRIPT
from core.remote.slurm import Slurm, SlurmJob
from core.remote.starting import Starter
from core.spec.chain import Chain, ChainStage
from core.spec.children import device_variables
from core.spec.errors import UserError
from core.spec.machines.answers import RemoteStatus, Submitted
from core.spec.machines.machine import Machine
from core.spec.presets import preset_config
from core.spec.run.folder import RunDir
from core.spec.run.processes import own_start_time
from core.spec.run.status import RunState, own_status
from tests.core.remote.conftest import run_config

DIRECT, SLURM = Machine(name="near"), Machine(name="cluster", launcher="slurm")


class Cluster(Slurm):
    """A Slurm that takes every script and gives it the number 7."""

    def __init__(self) -> None:
        super().__init__()
        self.taken: list[tuple[str, str]] = []  # script, name
        self.has: dict[str, str] = {}  # name -> number
        self.says: SlurmJob | None = None

    def submit(self, script: Path, name: str) -> str:
        self.taken.append((script.read_text(), name))
        return "7"

    def job_named(self, name: str) -> str:
        return self.has.get(name, "")

    def job(self, job: str) -> SlurmJob | None:
        return self.says


class Begun:
    """What was started: each command with its folder and variables, as the process 4194304, which there is not."""

    pid = 1 << 22

    def __init__(self) -> None:
        self.all: list[tuple[Sequence[str], Path, Mapping[str, str]]] = []

    def __call__(self, command: Sequence[str], run: RunDir, variables: Mapping[str, str]) -> Any:
        self.all.append((command, run.path, variables))
        return SimpleNamespace(pid=self.pid, wait=lambda: 0)


@pytest.fixture
def begun(monkeypatch: pytest.MonkeyPatch) -> Begun:
    found = Begun()
    monkeypatch.setattr(starting, "start_trainer", found)
    monkeypatch.setattr(starting, "start_time", lambda pid: 5.0)
    return found


@pytest.fixture
def cluster() -> Cluster:
    return Cluster()


@pytest.fixture
def starter(tmp_path: Path, cluster: Cluster) -> Starter:
    return Starter(tmp_path, cluster)


def submit(starter: Starter, machine: Machine = DIRECT, name: str = "one", token: str = "t", **more: Any) -> Submitted:
    given = {"config": run_config(), "devices": (), "script": ""} | more
    return starter.submit(machine, name, token, **given)


@pytest.mark.parametrize("name", ["", ".hidden", " one", "one ", "a/b", "a\\b", "..", "x" * 201])
def test_invalid_run_names(starter: Starter, name: str) -> None:
    with pytest.raises(UserError, match="cannot be the name of a run folder"):
        starter.run(name)


def test_a_run_is_started_once_for_each_request(starter: Starter, begun: Begun, tmp_path: Path) -> None:
    run = RunDir(tmp_path / "one")
    first = submit(starter, devices=["0", "2"])
    assert first == Submitted(folder=str(run.path), pid=begun.pid)
    assert submit(starter, devices=["0", "2"]) == first, "its answer was lost"
    ((command, folder, variables),) = begun.all
    assert (folder, variables) == (run.path, device_variables("0,2"))
    assert str(run.config) in command
    job = read_job(run)
    assert job is not None
    assert (job.token, job.launcher, job.pid, job.started, job.job) == ("t", "direct", begun.pid, 5.0, "")
    assert job.submitted > 1e9
    frozen = run.config.read_bytes()
    submit(starter, token="again", config="")
    assert len(begun.all) == 2, "another request resumes it"
    assert run.config.read_bytes() == frozen
    submit(starter, token="other", config=run_config("renamed"))
    assert b"renamed" in run.config.read_bytes(), "a run that this program started takes another config"


def test_foreign_folders_and_those_without_a_config_are_left_alone(
    starter: Starter, begun: Begun, tmp_path: Path
) -> None:
    run = RunDir(tmp_path / "one")
    run.create()
    with pytest.raises(UserError, match=r"no longer has a config\.json"):
        submit(starter, config="")
    run.config.write_text("{}")
    with pytest.raises(UserError, match="already exists and was not created by this window"):
        submit(starter)
    assert run.config.read_text() == "{}"
    for devices in (["0; rm"], ["0", "x" * 65], ["-", "a b"]):
        with pytest.raises(UserError, match="is not a device"):
            submit(starter, name="two", devices=devices)
    assert begun.all == []
    assert not (tmp_path / "two").exists()
    submit(starter, name="two", devices=["MIG-1a-2b"])


def test_a_request_finds_its_process_even_if_unrecorded(starter: Starter, begun: Begun, tmp_path: Path) -> None:
    run = RunDir(tmp_path / "one")
    run.create()
    run.config.write_text(run_config())
    dead = replace(own_status(), pid=begun.pid + 1, started=1000.0)
    for began, found in ((998.5, begun.pid + 1), (1001.5, begun.pid + 1), (1002.5, begun.pid)):
        run.write_status(dead)
        write_job(run, Job(token="t", submitted=began))  # its program was killed before it noted the process
        assert submit(starter).pid == found


def test_a_live_run_is_not_started_again(
    starter: Starter, begun: Begun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = RunDir(tmp_path / "one")
    run.create()
    run.write_status(own_status())
    with pytest.raises(UserError, match="already running on this machine"):
        submit(starter)
    slept: list[float] = []
    monkeypatch.setattr(starting.time, "sleep", lambda seconds: (slept.append(seconds), run.status.unlink()))
    stood = RemoteStatus(folder="", state=RunState.PAUSED)
    monkeypatch.setattr(starting, "WatchedRun", lambda run, slurm: SimpleNamespace(progress=lambda: stood))
    submit(starter)
    assert len(slept) == len(begun.all) == 1, "one that has written its ending is given a moment to leave"
    run.write_status(own_status())
    monkeypatch.setattr(starting, "_EXIT_SECONDS", -1.0)
    with pytest.raises(UserError, match="already running on this machine"):
        submit(starter, token="other")


def test_a_job_is_submitted_to_slurm_with_the_chosen_script(starter: Starter, cluster: Cluster, tmp_path: Path) -> None:
    run = RunDir(tmp_path / "one")
    run.create()
    run.ask("pause")
    run.write_status(replace(own_status(), started=1.0))
    own = SLURM.model_copy(update={"script": "#!/bin/sh\nof the machine\n"})
    assert submit(starter, own, script="#!/bin/sh\ngiven\n") == Submitted(folder=str(run.path), job="7")
    assert (run.path / SCRIPT).read_text() == "#!/bin/sh\ngiven\n"
    assert run.asked() is None
    assert not run.status.exists(), "the previous trainer's"
    submit(starter, own, token="2")
    submit(starter, SLURM, token="3")
    scripts, names = zip(*cluster.taken, strict=True)
    assert set(names) == {"one"}
    assert scripts[1] == "#!/bin/sh\nof the machine\n"
    assert "#SBATCH" in scripts[2]
    job = read_job(run)
    assert job is not None
    assert (job.launcher, job.job, job.token) == ("slurm", "7", "3")
    cluster.says = SlurmJob("PENDING")
    assert submit(starter, SLURM, token="3").job == "7"
    for state in ("PENDING", "RUNNING"):
        cluster.says = SlurmJob(state)
        with pytest.raises(UserError, match="already running"):
            submit(starter, SLURM, token="4")
    cluster.says = SlurmJob("TIMEOUT")
    submit(starter, SLURM, token="4")
    assert len(cluster.taken) == 4


@pytest.mark.parametrize(("name", "asked"), [("", "one"), ("study-arm", "study-arm")])
def test_a_job_with_a_lost_id_is_found_by_its_name(
    starter: Starter, cluster: Cluster, tmp_path: Path, name: str, asked: str
) -> None:
    run = RunDir(tmp_path / "one")
    run.create()
    write_job(run, Job(token="t", launcher="slurm", name=name))
    cluster.has[asked] = "5"
    assert submit(starter, SLURM).job == "5"
    job = read_job(run)
    assert job is not None
    assert job.job == "5"
    cluster.has.clear()
    write_job(run, Job(token="t", launcher="slurm", name=name))
    assert submit(starter, SLURM).job == "7", "it never came to Slurm"


def chain() -> str:
    config = preset_config("clip", "tiny")
    return Chain(name="c", stages=[ChainStage(name=name, config=config) for name in ("one", "two")]).to_json()


def submit_chain(starter: Starter, machine: Machine = DIRECT, stage: str = "stage-1-one", **more: Any) -> Submitted:
    given = {"token": "t", "chain": chain(), "devices": ["1"], "script": ""} | more
    return starter.submit_chain(machine, "c", stage, **given)


def test_a_chain_is_one_program_in_its_own_folder(
    starter: Starter, begun: Begun, cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "c"
    with pytest.raises(UserError, match=r"no longer has a chain\.json"):
        submit_chain(starter, chain="")
    with pytest.raises(UserError, match="stage-3-one is not a stage of the chain c"):
        submit_chain(starter, stage="stage-3-one")
    assert not (folder / "chain.json").exists(), "what was refused leaves nothing"
    assert submit_chain(starter) == Submitted(folder=str(folder / "stage-1-one"), pid=begun.pid)
    ((command, where, variables),) = begun.all
    assert str(folder / "chain.json") in command
    assert (where, variables) == (folder / "stage-1-one", device_variables("1"))
    assert (folder / "job.json").is_file(), "the job is the chain's"
    submit_chain(starter, chain="", token="2", stage="stage-2-two")
    assert len(begun.all) == 2
    (folder / "job.json").unlink()
    with pytest.raises(UserError, match="already exists and was not created by this window"):
        submit_chain(starter, token="3")
    monkeypatch.setattr(starting, "_EXIT_SECONDS", -1.0)
    write_job(RunDir(folder / "stage-1-one"), Job(token="t", pid=os.getpid(), started=own_start_time()))
    with pytest.raises(UserError, match="already running"):
        submit_chain(starter, token="4", chain="", stage="stage-2-two")
    assert cluster.taken == []


def test_a_custom_script_starts_no_chain_and_no_study(starter: Starter, begun: Begun, cluster: Cluster) -> None:
    own = SLURM.model_copy(update={"script": "#!/bin/sh\n"})
    with pytest.raises(UserError, match="cannot start a chain"):
        submit_chain(starter, own)
    with pytest.raises(UserError, match="cannot start a study"):
        starter.submit_study(own, "s", {}, ["run", "a", "0", "9"], "t", ())
    submit_chain(starter, own, script="#!/bin/sh\ntrain chain.json\n")
    assert cluster.taken == [("#!/bin/sh\ntrain chain.json\n", "c")]
    submit_chain(starter, DIRECT.model_copy(update={"script": "#!/bin/sh\n", "launcher": "torchrun"}), token="2")
    assert len(begun.all) == 1, "only Slurm reads it"
    job = read_job(starter.stage("c", "stage-1-one"))
    assert job is not None
    assert job.launcher == "direct"


def test_a_study_task_is_started_with_its_files(
    starter: Starter, begun: Begun, cluster: Cluster, tmp_path: Path
) -> None:
    files = {"study.json": "{}", "arms/0123456789.json": "[]"}
    run = starter.submit_study(DIRECT, "s", files, ["run", "a", "3", "90"], "t", ())
    step = starter.submit_study(SLURM, "s", files, ["step", "a", "2"], "t", ())
    folder = tmp_path / "studies" / "s"
    assert {name: (folder / name).read_text() for name in files} == files
    assert Path(run.folder).is_dir()
    ((command, _, _),) = begun.all
    assert [*command[-5:]] == ["run", str(folder), "a", "3", "90"]
    ((script, name),) = cluster.taken
    assert name == "s-a-2-step"
    assert "step" in script
    jobs = [read_job(RunDir(one.folder)) for one in (run, step)]
    assert [(job.result, job.name, job.launcher) for job in jobs if job] == [
        ("exports/measures.json", "s-a-3", "direct"),
        ("exports/step.json", "s-a-2-step", "slurm"),
    ]
    with pytest.raises(UserError, match="is not a job of a study"):
        starter.submit_study(DIRECT, "s", files, ["run", "a", "3"], "t2", ())
    with pytest.raises(UserError, match="is not a file of a study"):
        starter.submit_study(DIRECT, "s", {"arms/../../x.json": ""}, ["step", "a", "4"], "t3", ())
