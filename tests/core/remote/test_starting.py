"""Starting each run once, without starting a process: requests, lost job ids and refusals."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from core.remote import starting
from core.remote.job import Job, read_job, write_job
from core.remote.slurm import Slurm, SlurmError, SlurmJob
from core.remote.starting import Starter
from core.spec.chain import Chain, ChainStage
from core.spec.errors import UserError
from core.spec.machines.answers import Submitted
from core.spec.machines.machine import Machine
from core.spec.presets import preset_config
from core.spec.run.events import EventWriter, RunFinished
from core.spec.run.folder import RunDir
from core.spec.run.status import own_status
from tests.core.remote.conftest import run_config

DIRECT, SLURM = Machine(name="near"), Machine(name="cluster", launcher="slurm")


class Cluster(Slurm):
    """A fake Slurm that accepts every script as job 7."""

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


class StartedCommands:
    """Records started commands with their folder and variables; the process id 4194304 does not exist."""

    pid = 1 << 22

    def __init__(self) -> None:
        self.all: list[tuple[Sequence[str], Path, Mapping[str, str]]] = []

    def __call__(self, command: Sequence[str], run: RunDir, variables: Mapping[str, str]) -> Any:
        self.all.append((command, run.path, variables))
        return SimpleNamespace(pid=self.pid, wait=lambda: 0)


@pytest.fixture
def commands(monkeypatch: pytest.MonkeyPatch) -> StartedCommands:
    started_commands = StartedCommands()
    monkeypatch.setattr(starting, "start_trainer", started_commands)
    monkeypatch.setattr(starting, "start_time", lambda pid: 5.0)
    return started_commands


@pytest.fixture
def cluster() -> Cluster:
    return Cluster()


@pytest.fixture
def starter(tmp_path: Path, cluster: Cluster) -> Starter:
    return Starter(tmp_path, cluster)


def submit(starter: Starter, machine: Machine = DIRECT, name: str = "one", token: str = "t", **more: Any) -> Submitted:
    given = {"config": run_config(), "devices": (), "script": ""} | more
    return starter.submit(machine, name, token, **given)


@pytest.mark.parametrize("name", ["", ".hidden", "one ", "a/b", "a\\b", "..", "x" * 201])
def test_invalid_run_names(starter: Starter, name: str) -> None:
    with pytest.raises(UserError, match="is not a valid name for a run folder"):
        starter.run(name)


def test_foreign_folders_and_those_without_a_config_are_left_alone(
    starter: Starter, commands: StartedCommands, tmp_path: Path
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
    assert commands.all == []
    assert not (tmp_path / "two").exists()
    submit(starter, name="two", devices=["MIG-1a-2b"])


def test_a_request_finds_its_process_even_if_unrecorded(
    starter: Starter, commands: StartedCommands, tmp_path: Path
) -> None:
    run = RunDir(tmp_path / "one")
    run.create()
    run.config.write_text(run_config())
    dead = replace(own_status(), pid=commands.pid + 1, started=1000.0)
    for began, found in (
        (998.5, commands.pid + 1),
        (1001.5, commands.pid + 1),
        (1002.5, commands.pid),
    ):
        run.write_status(dead)
        write_job(run, Job(token="t", submitted=began))  # its program was killed before it noted the process
        assert submit(starter).pid == found


def test_a_trainer_on_another_computer_with_the_same_folders_is_left_alone(
    starter: Starter, commands: StartedCommands
) -> None:
    """A cluster's name may lead to several login nodes."""
    submit(starter)
    run = starter.run("one")
    run.write_status(replace(own_status(), host="another login node"))
    with pytest.raises(UserError, match="is already running"):
        submit(starter, token="2", config="")
    assert len(commands.all) == 1
    writer = EventWriter(run.events)
    writer.write(RunFinished(step=3, outcome="paused"))
    writer.close()
    submit(starter, token="2", config="")
    assert len(commands.all) == 2


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
    assert submit(starter, SLURM).job == "7", "it was never submitted"


class SlowCluster(Cluster):
    """A Slurm whose sbatch waits until another request arrives, and whose jobs have different numbers."""

    def __init__(self) -> None:
        super().__init__()
        self.called, self.may_answer = threading.Event(), threading.Event()

    def submit(self, script: Path, name: str) -> str:
        super().submit(script, name)
        self.called.set()
        self.may_answer.wait(60)
        return str(len(self.taken))


def test_a_request_repeated_over_another_connection_waits_for_sbatch(tmp_path: Path) -> None:
    """The program of the lost connection may still run sbatch when the client has reconnected."""
    cluster = SlowCluster()
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(submit, Starter(tmp_path, cluster), SLURM)
        assert cluster.called.wait(60)
        second = pool.submit(submit, Starter(tmp_path, cluster), SLURM)
        time.sleep(0.2)
        cluster.may_answer.set()
        assert (first.result(60).job, second.result(60).job) == ("1", "1")
    assert len(cluster.taken) == 1


def test_a_job_that_slurm_accepted_without_an_answer_is_not_submitted_again(
    starter: Starter, cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_answer(script: Path, name: str) -> str:
        cluster.has[name] = "5"
        raise SlurmError("sbatch did not answer within 20 s; try again.")

    with monkeypatch.context() as patch:
        patch.setattr(cluster, "submit", no_answer)
        with pytest.raises(UserError, match="try again"):
            submit(starter, SLURM)
    assert submit(starter, SLURM, token="again", config="").job == "5"
    assert submit(starter, SLURM, token="again", config="").job == "5", "the repeated request"
    assert cluster.taken == []


def chain() -> str:
    config = preset_config("clip", "tiny")
    return Chain(name="c", stages=[ChainStage(name=name, config=config) for name in ("one", "two")]).to_json()


def submit_chain(starter: Starter, machine: Machine = DIRECT, stage: str = "stage-1-one", **more: Any) -> Submitted:
    given = {"token": "t", "chain": chain(), "devices": ["1"], "script": ""} | more
    return starter.submit_chain(machine, "c", stage, **given)


def test_a_custom_script_starts_no_chain_and_no_study(
    starter: Starter, commands: StartedCommands, cluster: Cluster
) -> None:
    own = SLURM.model_copy(update={"script": "#!/bin/sh\n"})
    with pytest.raises(UserError, match="cannot start a chain"):
        submit_chain(starter, own)
    with pytest.raises(UserError, match="cannot start a study"):
        starter.submit_study(own, "s", {}, ["run", "a", "0", "9"], "t", ())
    submit_chain(starter, own, script="#!/bin/sh\ntrain chain.json\n")
    assert cluster.taken == [("#!/bin/sh\ntrain chain.json\n", "c")]
    submit_chain(starter, DIRECT.model_copy(update={"script": "#!/bin/sh\n", "launcher": "torchrun"}), token="2")
    assert len(commands.all) == 1, "the config is only read by Slurm's job"
    job = read_job(starter.stage("c", "stage-1-one"))
    assert job is not None
    assert job.launcher == "direct"
