"""The commands and scripts that start runs, and parsing of the output of Slurm's commands."""

from __future__ import annotations

import shlex
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace

import pytest

from core.remote import slurm as slurm_module
from core.remote.script import chain_script, direct_command, sbatch_script, study_script
from core.remote.slurm import Slurm, SlurmError, parse_time
from core.spec.machines.machine import Machine
from core.spec.run.folder import RunDir

RUN = RunDir("/home/a person/runs/100% new")


def test_a_script_quotes_any_folder_name() -> None:
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
    assert script == sbatch_script(machine, RunDir("/home/a person/runs/another")), "the same script for every run"
    assert script.index("module load cuda") < script.index("srun")
    assert "--nproc-per-node=2" in script
    assert "--standalone" in script


def test_torchrun_starts_a_process_per_device() -> None:
    machine = Machine(name="a", launcher="torchrun")
    command = direct_command(machine, RUN, ["0", "3"])
    assert command[1:5] == ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    assert command[-4:] == ["core", "train", str(RUN.config), str(RUN.path)]
    assert "torch.distributed.run" not in direct_command(Machine(name="a"), RUN, ["0"])
    for settings, devices, ranks in (
        ({"processes": 4, "gpus": 2}, ["0"], 4),
        ({"gpus": 2}, ["0", "1", "2"], 3),
        ({"gpus": 2}, [], 2),
        ({}, [], 1),
    ):
        machine = Machine.model_validate({"name": "a", "launcher": "torchrun", **settings})
        assert f"--nproc-per-node={ranks}" in direct_command(machine, RUN, devices)


def head_of(script: str) -> list[str]:
    subprocess.run(["bash", "-n"], input=script, text=True, check=True)
    return [line.removeprefix("#SBATCH ") for line in script.splitlines() if line.startswith("#SBATCH ")]


@pytest.mark.parametrize(
    ("gpus", "devices", "given"),
    [(0, [], None), (0, ["4"], 1), (0, ["4", "5"], 2), (3, [], 3), (3, ["4"], 1)],
)
def test_a_job_requests_the_chosen_or_default_number_of_gpus(gpus: int, devices: list[str], given: int | None) -> None:
    machine = Machine(name="a", launcher="slurm", gpus=gpus, nodes=3, warning=90)
    stage = RunDir(RUN.path / "stage-1-a")
    lines = {
        "run": head_of(sbatch_script(machine, RUN, devices)),
        "chain": head_of(chain_script(machine, stage, devices)),
        "study": head_of(study_script(machine, RUN, ["run", "a b"], devices[:1])),
    }
    asked = {what: [line for line in head if line.startswith("--gpus-per-node")] for what, head in lines.items()}
    one = [] if given is None else ["--gpus-per-node=1"]
    assert asked == {"run": [f"--gpus-per-node={given}"] if given else [], "chain": one, "study": one}
    nodes = {what: next(line for line in head if line.startswith("--nodes")) for what, head in lines.items()}
    assert nodes == {"run": "--nodes=3", "chain": "--nodes=1", "study": "--nodes=1"}
    common = {"--requeue", "--open-mode=append", "--signal=B:USR1@90", "--ntasks-per-node=1"}
    for head in lines.values():
        assert common <= set(head)
        assert not any(line.startswith(("--partition", "--time")) for line in head)
    assert lines["study"][:2] == [
        "--output=/home/a\\ person/runs/100%%\\ new/stdout.log", "--error=/home/a\\ person/runs/100%%\\ new/stderr.log",
    ]  # fmt: skip


def test_sbatch_reads_the_paths_of_logs_as_written() -> None:
    """sbatch reads quotes, backslashes and # as the shell does."""
    run = RunDir('/home/o\'brien/"a" #1/b\\c')
    [output, error, *_] = head_of(study_script(Machine(name="a", launcher="slurm"), run, ["run"]))
    assert shlex.split(output, comments=True) == [f"--output={run.stdout}"]
    assert shlex.split(error, comments=True) == [f"--error={run.stderr}"]


@pytest.mark.parametrize(
    ("settings", "devices", "run", "one_process"),
    [
        ({}, [], None, None),  # the cluster's default
        ({"cpus": 6}, [], 6, 6),
        ({"gpus": 4}, [], 32, 8),
        ({"gpus": 4, "cpus": 12}, [], 48, 12),
        ({"gpus": 4}, ["1", "2"], 16, 8),
        ({"processes": 3, "cpus": 2}, [], 6, 2),
    ],
)
def test_a_job_requests_cpus_for_all_its_processes(
    settings: dict[str, int], devices: list[str], run: int | None, one_process: int | None
) -> None:
    machine = Machine(name="a", launcher="slurm", **settings)  # type: ignore[arg-type]
    scripts = {
        "run": (sbatch_script(machine, RUN, devices), run),
        "chain": (chain_script(machine, RunDir(RUN.path / "stage-1-a"), devices), one_process),
        "study": (study_script(machine, RUN, ["run"], devices[:1]), one_process),
    }
    for script, count in scripts.values():
        asked = [line for line in head_of(script) if line.startswith("--cpus-per-task")]
        assert asked == ([] if count is None else [f"--cpus-per-task={count}"])
        assert script.index("export SRUN_CPUS_PER_TASK=") < script.index("srun --unbuffered")


class Commands:
    """Fake Slurm commands with fixed output."""

    def __init__(self, **outputs: str) -> None:
        self.outputs = outputs
        self.asked: list[str] = []

    def __call__(self, command: Sequence[str]) -> subprocess.CompletedProcess[str]:
        self.asked.append(command[0])
        outputs = self.outputs.get(command[0])
        if outputs is None:
            return subprocess.CompletedProcess(command, 1, "", f"{command[0]}: error: Invalid job id specified")
        return subprocess.CompletedProcess(command, 0, outputs, "")


def test_job_states_are_parsed_from_slurm() -> None:
    commands = Commands(
        squeue="12|PENDING|Resources|2030-01-02T03:04:05|\n13|RUNNING|None|2026-01-02T03:04:05|n[1-2]\n",
        scontrol="JobId=12 JobName=a JobState=PENDING Reason=Resources Restarts=2 StartTime=Unknown NodeList=(null)",
    )
    slurm = Slurm(commands)
    waiting, running = slurm.job("12"), slurm.job("13")
    assert waiting is not None
    assert running is not None
    assert (waiting.waiting, waiting.reason, waiting.restarts) == (True, "Resources", 2)
    assert waiting.expected == parse_time("2030-01-02T03:04:05")
    assert (running.running, running.nodes) == (True, "n[1-2]")
    assert running.began == parse_time("2026-01-02T03:04:05")
    assert commands.asked.count("squeue") == 1  # one question for all jobs
    gone = Slurm(Commands(squeue="")).job("14")
    assert gone is None


def test_squeue_is_called_rarely_for_any_number_of_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    clock = SimpleNamespace(monotonic=lambda: now[0], mktime=time.mktime, strptime=time.strptime)
    monkeypatch.setattr(slurm_module, "time", clock)
    jobs = [str(number) for number in range(20)]
    shown = "JobState=RUNNING Reason=None Restarts=0 StartTime=2026-01-02T03:04:05 NodeList=n1"
    rows = "".join(f"{job}|RUNNING|None|2026-01-02T03:04:05|n1\n" for job in jobs)
    commands = Commands(squeue=rows, scontrol=shown, scancel="")
    slurm = Slurm(commands)
    for second in range(60):
        now[0] = 100.0 + second
        for job in jobs:
            slurm.job(job)
    assert commands.asked.count("squeue") <= 6, "at most every 10 s for all jobs"
    asked = commands.asked.count("squeue")
    slurm.cancel(jobs[0])
    slurm.job(jobs[0])
    assert commands.asked.count("squeue") == asked + 1, "our own changes are visible immediately"


def test_a_controller_that_does_not_answer_is_not_asked_for_every_run() -> None:
    commands = Commands()  # every command fails
    slurm = Slurm(commands)
    for job in ("1", "2", "3"):
        with pytest.raises(SlurmError, match="squeue failed"):
            slurm.job(job)
    assert commands.asked == ["squeue"]
    commands.outputs["squeue"] = "1|PENDING|None|N/A|\n"
    slurm.forget()
    commands.outputs["scontrol"] = "JobState=PENDING"
    assert slurm.job("1") is not None


def test_a_job_that_ends_between_polls_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slurm_module, "QUEUE_VALID_SECONDS", -1.0)
    shown = "JobId=9 JobState={} Reason=None Restarts={} StartTime=2026-01-02T03:04:05 NodeList=n1"
    commands = Commands(squeue="9|RUNNING|None|2026-01-02T03:04:05|n1\n", scontrol=shown.format("RUNNING", 0))
    slurm = Slurm(commands)
    states = []
    for state, restarts in (("RUNNING", 0), ("PENDING", 1), ("RUNNING", 1), ("", 1)):
        commands.outputs["squeue"] = f"9|{state}|None|2026-01-02T03:04:05|n1\n" if state else ""
        commands.outputs["scontrol"] = shown.format(state or "COMPLETED", restarts)
        found = slurm.job("9")
        assert found is not None
        states.append((found.state, found.restarts))
    assert states == [("RUNNING", 0), ("PENDING", 1), ("RUNNING", 1), ("COMPLETED", 1)]
    asked = commands.asked.count("scontrol")
    slurm.job("9")
    assert commands.asked.count("scontrol") == asked, "an ended job is queried once"


def test_partitions_and_refusals() -> None:
    slurm = Slurm(Commands(sinfo="low*|2|0/2|gpu:a100:4|infinite\nhigh|8|3/5|(null)|1-00:00:00\n"))
    low, high = slurm.partitions()
    assert (low.name, low.default, low.nodes, low.idle, low.gpus) == ("low", True, 2, 2, "gpu:a100:4")
    assert (high.nodes, high.idle, high.gpus, high.time) == (8, 5, "", "1-00:00:00")
    with pytest.raises(SlurmError, match="sbatch failed"):
        slurm.submit(Path("/tmp/a"), "a")
    with pytest.raises(SlurmError, match="has no job number"):
        Slurm(Commands(sbatch="queued, perhaps")).submit(Path("/tmp/a"), "a")

    def absent(command: Sequence[str]) -> subprocess.CompletedProcess[str]:
        raise FileNotFoundError(command[0])

    with pytest.raises(SlurmError, match="no squeue on this machine"):
        Slurm(absent).job("1")


def test_slurm_times_use_the_local_time_zone() -> None:
    assert parse_time("N/A") is None
    assert parse_time("Unknown") is None
    now = time.time()
    assert parse_time(time.strftime("%Y-%m-%dT%H:%M:%S", time.localtime(now))) == int(now)
