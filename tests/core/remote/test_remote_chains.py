"""Chains on machines: a mirror for each stage; paused, disconnected, resumed and requeued chains."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from core.cli.homes import find_run
from core.remote.script import chain_script
from core.spec.chain import Chain, ChainDir, preset_chain, write_chain
from core.spec.errors import UserError
from core.spec.machines.host import Host
from core.spec.machines.machine import Machine
from core.spec.machines.machines import Machines
from core.spec.machines.remote_chains import next_stage
from core.spec.machines.remote_runs import RemoteRuns
from core.spec.run.folder import RunDir
from core.spec.run.status import RunState, own_status
from sdgui.store.summary import folder_progress
from tests.core.remote.conftest import command, wait_for
from tests.core.remote.test_remote_runs import files_are_equal, remote, remote_run
from tests.core.remote.test_slurm import cluster, listed, output_of, release_requeued

__all__ = ["cluster", "remote"]  # fixtures
Trainer = Callable[[str], None]


@pytest.fixture
def chain() -> Chain:
    return preset_chain("born-again", "tiny", generations=2)


@pytest.fixture
def stages(tmp_path: Path, chain: Chain) -> list[RunDir]:
    """The local folders of the stages; only the first exists."""
    folder = ChainDir(tmp_path / "home" / "runs" / "two")
    write_chain(folder.path, chain)
    return [folder.stage(chain, place) for place in range(2)]


def launch(remote: RemoteRuns, machine: str, stages: list[RunDir]) -> None:
    remote.launch(stages[0], machine, stages[0].config.read_text())


def state(run: RunDir) -> RunState:
    return folder_progress(run, 0.0, 0.0).state if run.config.exists() else RunState.QUEUED


@pytest.mark.ci
def test_each_stage_is_mirrored_and_a_paused_one_resumes_as_the_chain(
    remote: RemoteRuns, stages: list[RunDir], trainer: Trainer, tmp_path: Path
) -> None:
    trainer("--steps 20 --delay 0.005 --wait-in stage-2")
    launch(remote, "near", stages)
    wait_for(lambda: state(stages[1]) is RunState.RUNNING)
    stages[1].ask("pause")
    wait_for(lambda: state(stages[1]) is RunState.PAUSED)
    assert state(stages[0]) is RunState.DONE
    assert find_run(tmp_path / "home", "two").path == stages[1].path
    wait_for(lambda: not stages[1].control.exists())
    remote.resume(stages[1])
    wait_for(lambda: [state(stage) for stage in stages] == [RunState.DONE] * 2)
    wait_for(lambda: all(files_are_equal(stage) for stage in stages))
    teacher = json.loads(stages[1].config.read_text())["teacher"]["checkpoint"]
    assert teacher == str(remote_run(stages[0]).path)


@pytest.mark.slow
def test_stages_started_while_the_window_was_closed_are_found(
    machines: Machines, stages: list[RunDir], trainer: Trainer, tmp_path: Path
) -> None:
    trainer("--steps 8 --delay 0.01")
    first = RemoteRuns(machines)
    launch(first, "near", stages)
    first.close()
    begun: list[Path] = []
    second = RemoteRuns(Machines(tmp_path / "home", command=command), stage_started=begun.append)
    second.attach_unsettled([stages[0].path])
    wait_for(lambda: [state(stage) for stage in stages] == [RunState.DONE] * 2)
    second.close()
    assert begun == [stages[1].path]
    stages[1].config.unlink()
    assert next_stage(stages[0]) is not None, "written again after a kill"
    assert stages[1].config.is_file()
    assert next_stage(stages[1]) is None


def test_a_chain_is_submitted_once_and_invalid_ones_are_refused(
    host: Host, chain: Chain, trainer: Trainer, runs_there: Path
) -> None:
    trainer("--steps 400 --delay 0.02")
    stage, text = "stage-1-generation-1", chain.to_json()
    answers = [host.submit_chain("two", stage, "token", text).result(60) for _ in range(2)]
    assert answers[0] == answers[1]
    assert answers[0].folder == str(runs_there / "two" / stage)
    wait_for(lambda: host.run_status(answers[0].folder).result(60).state is RunState.RUNNING)
    second = str(runs_there / "two" / "stage-2-generation-2")
    assert host.run_status(second).result(60).state is RunState.STARTING, "the chain has not reached it"
    with pytest.raises(UserError, match="already running"):
        host.submit_chain("two", "stage-2-generation-2", "another").result(60)
    with pytest.raises(UserError, match="not a stage of the chain"):
        host.submit_chain("four", "stage-9-x", "other", text).result(60)
    with pytest.raises(UserError, match=r"no longer has a chain\.json"):
        host.submit_chain("five", stage, "third").result(60)
    with pytest.raises(UserError, match="has a custom script"):
        host.submit_chain("six", stage, "fourth", text, script="#!/bin/bash\ntrain config.json").result(60)
    host.end(answers[0].folder, "kill").result(60)
    wait_for(lambda: host.run_status(answers[0].folder).result(60).state is RunState.INTERRUPTED)
    absent = host.run_status(second).result(60)
    assert absent.state is RunState.INTERRUPTED
    assert "ended before this stage started" in absent.note
    assert host.control(second, "stop").result(60).state is RunState.INTERRUPTED


def test_the_chain_script_signals_the_training_stage(tmp_path: Path, chain: Chain) -> None:
    machine = Machine(name="slurm", launcher="slurm", nodes=2, gpus=4)
    run = RunDir(write_chain(tmp_path / "the chain", chain))
    script = chain_script(machine, run)
    for part in (
        "--nodes=1\n",
        "--gpus-per-node=1\n",
        '"$RUN/chain.json" "$RUN" --stage-logs',
        "stage-1-generation-1/stdout.log",
    ):
        assert part in script
    head, _, rest = script.partition("pause_and_requeue()")
    (tmp_path / "the chain" / "stage-10-x").mkdir()
    (tmp_path / "the chain" / "stage-2-y").mkdir()
    stage = f'{head[head.index("RUN=") :]}\necho "$(stage)"\n'
    found = subprocess.run(["bash", "-c", stage], capture_output=True, text=True, check=True)
    assert found.stdout == f"{tmp_path / 'the chain' / 'stage-10-x'}\n"
    assert '"$(stage)/control"' in rest
    assert '"$(stage)/events.jsonl"' in rest


@pytest.mark.slow
def test_a_chain_over_ssh_by_the_verbs(ssh_machine: Machine, tmp_path: Path, chain: Chain) -> None:
    home = tmp_path / "home"
    setup = ssh_machine.setup.replace("--steps 60", "--steps 6")
    Machines(home).list.put(ssh_machine.model_copy(update={"setup": setup}))
    file = tmp_path / "chain.json"
    file.write_text(chain.to_json())
    asked = [sys.executable, "-m", "core", "launch", str(file), "--on", "far", "--unchecked", "--home", str(home)]
    folder = Path(subprocess.run(asked, capture_output=True, text=True, check=True).stdout.strip())
    asked = [sys.executable, "-m", "core", "logs", folder.name, "--events", "--follow", "--home", str(home)]
    followed = subprocess.run(asked, capture_output=True, text=True, check=False)
    assert followed.returncode == 0, followed.stderr
    assert followed.stdout.count('"outcome":"done"') == 2
    assert f"{folder.name}/stage-2-generation-2" in followed.stderr


@pytest.mark.slow
def test_a_slurm_chain_is_one_job_that_requeues_at_its_current_stage(
    cluster: RemoteRuns, stages: list[RunDir], trainer: Trainer
) -> None:
    trainer("--steps 200 --delay 0.05")
    launch(cluster, "slurm", stages)
    wait_for(lambda: stages[1].events.exists() and b'"metrics"' in stages[1].events.read_bytes())
    assert state(stages[0]) is RunState.DONE
    [number] = listed()
    output_of("sbatch", "--partition=high", "--nodes=2", "--exclusive", "--output=/dev/null", "--wrap=sleep 6")
    wait_for(lambda: state(stages[1]) is RunState.STARTING)
    assert "requeued after preemption" in (stages[1].read_status() or own_status()).doing
    assert state(stages[0]) is RunState.DONE, "the job is for another stage"
    wait_for(lambda: release_requeued(number) or [state(stage) for stage in stages] == [RunState.DONE] * 2, 600)
    assert [files_are_equal(stage) for stage in stages] == [True] * 2
    assert stages[1].events.read_bytes().count(b'"run_started"') == 2
    wait_for(lambda: not listed())
