"""Slurm with two virtual nodes: jobs are submitted, paused, cancelled, preempted, requeued and resumed."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from core.spec.errors import UserError
from core.spec.machines.machine import Machine
from core.spec.machines.machines import Machines
from core.spec.machines.remote_runs import RemoteRuns
from core.spec.run.events import EventReader, Metrics
from core.spec.run.folder import RunDir
from core.spec.run.status import RunState
from sdgui.store.summary import folder_progress
from tests.core.remote.conftest import command, run_config, wait_for
from tests.core.remote.test_remote_runs import files_are_equal

Trainer = Callable[[str], None]
SLOW = "--steps 3000 --delay 0.02"


@pytest.fixture
def cluster(
    slurm: dict[str, str], tmp_path: Path, runs_there: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[RemoteRuns]:
    """Remote runs on a machine with Slurm; jobs are cancelled after the test."""
    for name, value in slurm.items():
        monkeypatch.setenv(name, value)
    machines = Machines(tmp_path / "home", command=command)
    machines.list.put(Machine(name="slurm", runs=str(runs_there), launcher="slurm", partition="low", warning=10))
    remote_runs = RemoteRuns(machines)
    yield remote_runs
    remote_runs.close()
    for number in listed():
        subprocess.run(["scancel", "--full", "--signal=KILL", number], check=False)
        subprocess.run(["scancel", number], check=False)
    wait_for(lambda: not listed())


def listed() -> list[str]:
    return output_of("squeue", "-h", "-o", "%i").split()


def output_of(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True, env=os.environ).stdout


def launch(cluster: RemoteRuns, folder: Path, name: str = "one", script: str = "") -> RunDir:
    run = RunDir(folder / "home" / "runs" / name)
    cluster.launch(run, "slurm", run_config(), script=script)
    return run


def state(run: RunDir) -> RunState:
    """The state that the window shows, from the mirrored events and status."""
    return folder_progress(run, time.time(), time.time()).state


def doing(run: RunDir) -> str:
    status = run.read_status()
    return status.doing if status else ""


def note(run: RunDir) -> str:
    status = run.read_status()
    return status.note if status else ""


def has_points(run: RunDir) -> bool:
    return run.events.exists() and b'"metrics"' in run.events.read_bytes()


def release_requeued(number: str) -> None:
    """Start a requeued job now; Slurm would wait two minutes."""
    subprocess.run(["scontrol", "update", f"jobid={number}", "StartTime=now"], check=False)


def points(run: RunDir) -> list[int]:
    return [event.step for event in EventReader(run.events).read_all() if isinstance(event, Metrics)]


def test_a_job_is_submitted_watched_paused_and_resumed(cluster: RemoteRuns, tmp_path: Path, trainer: Trainer) -> None:
    trainer(SLOW)
    run = launch(cluster, tmp_path)
    wait_for(lambda: state(run) is RunState.RUNNING and has_points(run))
    run.ask("pause")
    wait_for(lambda: state(run) is RunState.PAUSED)
    wait_for(lambda: not listed())
    assert state(run) is RunState.PAUSED
    before = points(run)[-1]
    cluster.resume(run)
    wait_for(lambda: state(run) is RunState.RUNNING and points(run)[-1] > before)
    run.ask("stop")
    wait_for(lambda: state(run) is RunState.STOPPED)
    wait_for(lambda: files_are_equal(run))
    assert points(run) == list(range(1, points(run)[-1] + 1))


def test_a_pending_job_shows_its_reason_and_can_be_cancelled(
    cluster: RemoteRuns, tmp_path: Path, trainer: Trainer
) -> None:
    trainer(SLOW)
    output_of("sbatch", "--nodes=2", "--exclusive", "--output=/dev/null", "--wrap=sleep 300")
    wait_for(lambda: "R" in output_of("squeue", "-h", "-o", "%t"))
    run = launch(cluster, tmp_path)
    wait_for(lambda: "waits for free resources" in doing(run) or "other jobs come first" in doing(run))
    assert state(run) is RunState.STARTING
    run.ask("stop")
    wait_for(lambda: state(run) is RunState.STOPPED)
    assert len(listed()) == 1


@pytest.mark.slow
def test_a_job_cancelled_in_slurm_is_reported(cluster: RemoteRuns, tmp_path: Path, trainer: Trainer) -> None:
    trainer(f"{SLOW} --deaf")
    run = launch(cluster, tmp_path)
    wait_for(lambda: state(run) is RunState.RUNNING and has_points(run))
    [number] = listed()
    output_of("scancel", number)
    wait_for(lambda: state(run) is RunState.INTERRUPTED)
    assert f"job {number} was cancelled" in note(run)


@pytest.mark.slow
def test_the_window_cancels_an_unresponsive_job(cluster: RemoteRuns, tmp_path: Path, trainer: Trainer) -> None:
    trainer(f"{SLOW} --deaf")
    run = launch(cluster, tmp_path)
    wait_for(lambda: state(run) is RunState.RUNNING and has_points(run))
    for _ in range(2):
        run.ask("stop")
        wait_for(lambda: not run.control.exists())
    wait_for(lambda: state(run) is RunState.INTERRUPTED)
    assert "was cancelled" in note(run)


@pytest.mark.slow
def test_a_preempted_job_is_saved_requeued_and_continues(cluster: RemoteRuns, tmp_path: Path, trainer: Trainer) -> None:
    trainer(SLOW)
    run = launch(cluster, tmp_path)
    wait_for(lambda: state(run) is RunState.RUNNING and has_points(run))
    [number] = listed()
    output_of("sbatch", "--partition=high", "--nodes=2", "--exclusive", "--output=/dev/null", "--wrap=sleep 6")
    wait_for(lambda: state(run) is RunState.STARTING and "requeued after preemption" in doing(run))
    assert b'"outcome":"paused"' in run.events.read_bytes()
    saved = points(run)[-1]
    wait_for(lambda: release_requeued(number) or (state(run) is RunState.RUNNING and points(run)[-1] > saved))
    run.ask("stop")
    wait_for(lambda: state(run) is RunState.STOPPED and files_are_equal(run))
    assert points(run) == list(range(1, points(run)[-1] + 1))


@pytest.mark.slow
def test_a_job_near_its_time_limit_saves_and_requeues_itself(
    cluster: RemoteRuns, tmp_path: Path, trainer: Trainer
) -> None:
    """The shortest time limit is a minute, and Slurm may signal up to a minute early."""
    trainer(SLOW)
    script = cluster.machines.host("slurm").script("one").result(60)
    script = script.replace("--signal=B:USR1@10", "--signal=B:USR1@55\n#SBATCH --time=1")
    run = launch(cluster, tmp_path, script=script)
    wait_for(lambda: state(run) is RunState.RUNNING and has_points(run))
    [number] = listed()
    wait_for(lambda: "requeued after time limit" in doing(run))
    assert state(run) is RunState.STARTING
    saved = points(run)[-1]
    wait_for(lambda: release_requeued(number) or (state(run) is RunState.RUNNING and points(run)[-1] > saved))
    run.ask("stop")
    wait_for(lambda: state(run) is RunState.STOPPED and files_are_equal(run))
    assert points(run) == list(range(1, points(run)[-1] + 1))


def test_an_sbatch_refusal_is_quoted(cluster: RemoteRuns, tmp_path: Path) -> None:
    script = "#!/bin/bash\n#SBATCH --partition=no-such-partition\ntrue\n"
    with pytest.raises(UserError, match=r"sbatch failed.*partition"):
        launch(cluster, tmp_path, script=script)
    findings = {one.name: one for one in cluster.machines.host("slurm").check().result(60)}
    assert findings["Slurm"].works
    assert findings["Partition"].works
    assert "low" in findings["Partition"].detail
    script = cluster.machines.host("slurm").script("one").result(60)
    assert script.startswith("#!/bin/bash\n#SBATCH ")
    for line in ("--partition=low", "--signal=B:USR1@10", "--requeue", "scontrol requeue", "trap"):
        assert line in script


@pytest.mark.slow
def test_torchrun_connects_two_nodes(cluster: RemoteRuns, tmp_path: Path, runs_there: Path) -> None:
    """The script of a machine with two nodes; instead of the trainer, a program sums over the ranks."""
    machine = cluster.machines.list.find("slurm").model_copy(update={"nodes": 2, "processes": 1})
    cluster.machines.list.put(machine)
    program = tmp_path / "program.py"
    program.write_text(
        "import os, sys, torch, torch.distributed as ranks\n"
        "ranks.init_process_group('gloo')\n"
        "rank = torch.tensor([float(ranks.get_rank() + 1)])\n"
        "ranks.all_reduce(rank)\n"
        "print('sum', rank.item(), 'of', ranks.get_world_size(), flush=True)\n"
    )
    script = cluster.machines.host("slurm").script("one").result(60)
    assert "--nodes=2" in script
    train = '-m core train "$RUN/config.json" "$RUN"'
    assert train in script
    # On real nodes the first one's name leads to it; here both are this computer, without names.
    script = script.replace(train, str(program)).replace(
        "--rdzv-backend=c10d", "--rdzv-backend=c10d --local-addr=127.0.0.1"
    )
    run = launch(cluster, tmp_path, script=script)
    wait_for(lambda: run.stdout.exists() and run.stdout.read_text().count("sum 3.0 of 2") == 2)
