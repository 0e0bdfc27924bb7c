"""A real training that Slurm preempts and requeues has the losses of an uninterrupted run."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from core.spec.config import override, parse_config
from core.spec.machines.machine import Machine
from core.spec.machines.machines import Machines
from core.spec.machines.remote_runs import RemoteRuns
from core.spec.presets import preset_config
from core.spec.run.events import EventReader, Metrics, RunStarted
from core.spec.run.folder import RunDir
from core.spec.run.status import RunState
from core.training.train import train
from tests.core.images import write_pairs
from tests.core.remote.conftest import wait_for
from tests.core.remote.test_slurm import has_points, listed, output_of, release_requeued, state

pytestmark = pytest.mark.slow


@pytest.fixture
def cluster(
    slurm: dict[str, str], tmp_path: Path, runs_there: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[RemoteRuns]:
    """A machine with Slurm and the real remote program."""
    for name, value in slurm.items():
        monkeypatch.setenv(name, value)
    program = [sys.executable, "-m", "core", "remote", "--runs", str(runs_there)]
    machines = Machines(tmp_path / "home", command=lambda machine: program)
    setup = "export OMP_NUM_THREADS=1"
    machines.list.put(Machine(name="slurm", runs=str(runs_there), launcher="slurm", partition="low", setup=setup))
    remote_runs = RemoteRuns(machines)
    yield remote_runs
    remote_runs.close()


def losses(run: RunDir) -> dict[int, float]:
    """The loss of each step; the last one if a step was repeated."""
    events = EventReader(run.events).read_all()
    return {event.step: event.values["train/loss"] for event in events if isinstance(event, Metrics)}


def test_a_preempted_run_equals_an_uninterrupted_one(cluster: RemoteRuns, tmp_path: Path) -> None:
    pairs, _ = write_pairs(tmp_path / "pairs")
    settings = [f"data.train={pairs}", "optim.batch_size=12", "optim.epochs=150", "runtime.log_every=1", "data.val="]
    config = override(preset_config("clip", "tiny"), settings).to_json()
    run = RunDir(tmp_path / "home" / "runs" / "one")
    cluster.launch(run, "slurm", config)
    wait_for(lambda: state(run) is RunState.RUNNING and has_points(run))
    [number] = listed()
    output_of("sbatch", "--partition=high", "--nodes=2", "--exclusive", "--output=/dev/null", "--wrap=sleep 3")
    wait_for(lambda: state(run) is RunState.STARTING)
    wait_for(lambda: release_requeued(number) or time.sleep(1) or state(run) is RunState.DONE, 300)
    starts = [event.step for event in EventReader(run.events).read_all() if isinstance(event, RunStarted)]
    assert len(starts) == 2
    assert 0 < starts[1] < 450
    whole = RunDir(tmp_path / "whole")
    train(parse_config(config, "the config"), whole, quiet=True)
    assert losses(run) == losses(whole)
