"""The commands and scripts that start runs on a machine, and what Slurm's and NVIDIA's programs say, read."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from core.remote import slurm as slurm_module
from core.remote.script import direct_command, sbatch_script
from core.remote.slurm import Slurm, SlurmError, moment
from core.spec.machines.machine import Machine
from core.spec.run.folder import RunDir

RUN = RunDir("/home/a person/runs/100% new")


def test_a_script_is_a_shell_s_whatever_the_folder_is_called() -> None:
    machine = Machine(
        name="a", launcher="slurm", partition="low", time="1:00:00", gpus=2, setup="module load cuda",
        sbatch="#SBATCH --account=us\n#SBATCH --mail-type=END",
    )  # fmt: skip
    script = sbatch_script(machine, RUN)
    subprocess.run(["bash", "-n"], input=script, text=True, check=True)
    head = [line for line in script.splitlines() if line.startswith("#SBATCH")]
    assert "#SBATCH --output=/home/a\\ person/runs/%x/stdout.log" in head
    assert "#SBATCH --gpus-per-node=2" in head
    assert head[-2:] == ["#SBATCH --account=us", "#SBATCH --mail-type=END"]
    assert "RUN='/home/a person/runs'/\"$SLURM_JOB_NAME\"\n" in script
    assert script == sbatch_script(machine, RunDir("/home/a person/runs/another")), "the same fits every run"
    assert script.index("module load cuda") < script.index("srun")
    assert "--nproc-per-node=2" in script
    assert "--standalone" in script


def test_several_nodes_meet_through_torchrun() -> None:
    machine = Machine(name="a", launcher="slurm", nodes=4, gpus=8)
    script = sbatch_script(machine, RUN)
    subprocess.run(["bash", "-n"], input=script, text=True, check=True)
    assert "#SBATCH --nodes=4" in script
    assert "--rdzv-endpoint=" in script
    assert "--nproc-per-node=8" in script


def test_torchrun_starts_a_process_a_device() -> None:
    machine = Machine(name="a", launcher="torchrun")
    command = direct_command(machine, RUN, ["0", "3"])
    assert command[1:5] == ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    assert command[-4:] == ["core", "train", str(RUN.config), str(RUN.path)]
    assert "torch.distributed.run" not in direct_command(Machine(name="a"), RUN, ["0"])


class Commands:
    """Slurm's commands, as a table of what they say."""

    def __init__(self, **said: str) -> None:
        self.said = said
        self.asked: list[str] = []

    def __call__(self, command: Sequence[str]) -> subprocess.CompletedProcess[str]:
        self.asked.append(command[0])
        said = self.said.get(command[0])
        if said is None:
            return subprocess.CompletedProcess(command, 1, "", f"{command[0]}: error: Invalid job id specified")
        return subprocess.CompletedProcess(command, 0, said, "")


def test_how_jobs_stand_is_read_from_slurm_s_words() -> None:
    commands = Commands(
        squeue="12|PENDING|Resources|2030-01-02T03:04:05|\n13|RUNNING|None|2026-01-02T03:04:05|n[1-2]\n",
        scontrol="JobId=12 JobName=a JobState=PENDING Reason=Resources Restarts=2 StartTime=Unknown NodeList=(null)",
    )
    slurm = Slurm(commands)
    waiting, running = slurm.job("12"), slurm.job("13")
    assert waiting is not None
    assert running is not None
    assert (waiting.waiting, waiting.reason, waiting.restarts) == (True, "Resources", 2)
    assert waiting.expected == moment("2030-01-02T03:04:05")
    assert (running.running, running.nodes) == (True, "n[1-2]")
    assert running.began == moment("2026-01-02T03:04:05")
    assert commands.asked.count("squeue") == 1  # one question for all jobs
    gone = Slurm(Commands(squeue="")).job("14")
    assert gone is None


def test_a_job_that_ended_is_asked_about_itself() -> None:
    ended = "JobId=9 JobState=TIMEOUT Reason=TimeLimit Restarts=0 StartTime=2026-01-02T03:04:05 NodeList=n1"
    found = Slurm(Commands(squeue="", scontrol=ended)).job("9")
    assert found is not None
    assert found.state == "TIMEOUT"
    assert not found.waiting
    assert not found.running


def test_a_job_that_ends_while_it_is_watched_is_seen_to_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slurm_module, "FRESH_SECONDS", -1.0)
    shown = "JobId=9 JobState={} Reason=None Restarts={} StartTime=2026-01-02T03:04:05 NodeList=n1"
    commands = Commands(squeue="9|RUNNING|None|2026-01-02T03:04:05|n1\n", scontrol=shown.format("RUNNING", 0))
    slurm = Slurm(commands)
    states = []
    for state, restarts in (("RUNNING", 0), ("PENDING", 1), ("RUNNING", 1), ("", 1)):
        commands.said["squeue"] = f"9|{state}|None|2026-01-02T03:04:05|n1\n" if state else ""
        commands.said["scontrol"] = shown.format(state or "COMPLETED", restarts)
        found = slurm.job("9")
        assert found is not None
        states.append((found.state, found.restarts))
    assert states == [("RUNNING", 0), ("PENDING", 1), ("RUNNING", 1), ("COMPLETED", 1)]
    asked = commands.asked.count("scontrol")
    slurm.job("9")
    assert commands.asked.count("scontrol") == asked, "what has ended is asked about once"


def test_partitions_and_refusals() -> None:
    slurm = Slurm(Commands(sinfo="low*|2|0/2|gpu:a100:4|infinite\nhigh|8|3/5|(null)|1-00:00:00\n"))
    low, high = slurm.partitions()
    assert (low.name, low.default, low.nodes, low.idle, low.gpus) == ("low", True, 2, 2, "gpu:a100:4")
    assert (high.nodes, high.idle, high.gpus, high.time) == (8, 5, "", "1-00:00:00")
    with pytest.raises(SlurmError, match="sbatch refused"):
        slurm.submit(Path("/tmp/a"), "a")
    with pytest.raises(SlurmError, match="names no job"):
        Slurm(Commands(sbatch="queued, perhaps")).submit(Path("/tmp/a"), "a")

    def absent(command: Sequence[str]) -> subprocess.CompletedProcess[str]:
        raise FileNotFoundError(command[0])

    with pytest.raises(SlurmError, match="no squeue on this machine"):
        Slurm(absent).job("1")


def test_slurm_s_times_are_this_machine_s() -> None:
    assert moment("N/A") is None
    assert moment("Unknown") is None
    now = time.time()
    assert moment(time.strftime("%Y-%m-%dT%H:%M:%S", time.localtime(now))) == int(now)
