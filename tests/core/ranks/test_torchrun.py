"""Runs under torchrun that are stopped or killed: what is saved and reported, and when all processes have exited."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from core.spec.children import environment
from core.spec.config import RunConfig
from core.spec.run.events import EventReader, Metrics, RunFailed, RunFinished
from core.spec.run.folder import RunDir
from core.spec.run.status import RunState
from core.training.train import train
from tests.core.ranks.launched import PATIENCE, Followed, Forked, Launched
from tests.core.ranks.settings import config_of, labelled_pairs

EVERY = 5  # steps between checkpoints
ENDINGS: dict[str, Callable[[Followed], None]] = {
    "TERM to torchrun": lambda run: run.terminate(),
    "TERM to everyone, then again": lambda run: _terminate_twice(run),
    "USR1 to one rank": lambda run: os.kill(random.choice(run.ranks()), signal.SIGUSR1),
    "pause": lambda run: run.run.ask("pause"),
    "stop": lambda run: run.run.ask("stop"),
}


def _terminate_twice(run: Followed) -> None:
    """Like a scheduler: signal the workers, and torchrun, which forwards the signal."""
    for rank in run.ranks():
        os.kill(rank, signal.SIGTERM)
    time.sleep(0.02)
    run.terminate()


@pytest.fixture
def config(tmp_path: Path) -> RunConfig:
    data = labelled_pairs(tmp_path / "pairs")
    return config_of("clip", data, tmp_path, "optim.epochs=2000", f"checkpoint.every_steps={EVERY}")


@pytest.mark.parametrize(
    ("launched", "times"),
    [(Forked, 1), *(pytest.param(launched, 20, marks=pytest.mark.slow) for launched in (Forked, Launched))],
)
def test_a_killed_rank_interrupts_the_run(
    launched: Callable[[RunConfig, Path], Launched | Forked], times: int, config: RunConfig, tmp_path: Path
) -> None:
    """Any rank at any moment; each start resumes the previous one.

    torchrun's own end, once the ranks are gone, is half a second of processor time: on a busy machine it takes longer.
    """
    done, ended = 0, []
    for _ in range(times):
        with launched(config, tmp_path / "run") as run:
            run.wait_for_step(done + random.randint(1, 2 * EVERY))
            assert run.started() >= done - EVERY, "more than a checkpoint interval was lost"
            os.kill(random.choice(run.ranks()), signal.SIGKILL)
            status, seconds = run.wait()
            ended.append(round(seconds, 1))
            assert status != 0
            assert run.state() is RunState.INTERRUPTED
            assert not [event for event in run.since() if isinstance(event, (RunFinished, RunFailed))]
            done = run.step()
    print(f"seconds from a kill to the end of all processes: {ended}; load {os.getloadavg()[0]:.1f}")


@pytest.mark.slow
@pytest.mark.parametrize("launched", [Launched, Forked])
@pytest.mark.parametrize("ending", ENDINGS)
def test_a_stop_requested_on_any_rank_ends_all_with_one_checkpoint(
    ending: str, launched: Callable[[RunConfig, Path], Launched | Forked], config: RunConfig, tmp_path: Path
) -> None:
    """4 times each, at any moment; nothing is lost."""
    done = 0
    for _ in range(4):
        with launched(config, tmp_path / "run") as run:
            done = _ends_as_asked(run, ending, done)


def _ends_as_asked(run: Followed, ending: str, done: int) -> int:
    """Check how a run that resumes at step ``done`` ends; returns the step that it saved."""
    run.wait_for_step(done + random.randint(1, 2 * EVERY))
    assert run.started() == done
    ENDINGS[ending](run)
    run.wait()
    paused = ending in ("pause", "USR1 to one rank")
    assert run.state() is (RunState.PAUSED if paused else RunState.STOPPED), run.output[-2000:]
    saved = run.saved()
    assert len(saved) == len(set(saved))
    assert saved[-1] == run.step()
    return saved[-1]


@contextmanager
def two_hosts() -> Iterator[tuple[tuple[str, str], tuple[str, str]]]:
    """Two connected network namespaces: (name, interface) of each."""
    hosts = (("sdgui-a", "sdgui-va"), ("sdgui-b", "sdgui-vb"))

    def ip(*words: str) -> None:
        subprocess.run(["ip", *words], check=True, capture_output=True)

    for name, _ in hosts:
        ip("netns", "add", name)
    try:
        ip("link", "add", hosts[0][1], "type", "veth", "peer", "name", hosts[1][1])
        for number, (name, interface) in enumerate(hosts, 1):
            ip("link", "set", interface, "netns", name)
            ip("-n", name, "addr", "add", f"10.99.0.{number}/24", "dev", interface)
            ip("-n", name, "link", "set", "lo", "up")
            ip("-n", name, "link", "set", interface, "up")
        yield hosts
    finally:
        for name, _ in hosts:
            subprocess.run(["ip", "netns", "del", name], check=False)


def _may_have_hosts() -> bool:
    if shutil.which("ip") is None or sys.platform != "linux" or os.geteuid() != 0:
        return False
    made = subprocess.run(["ip", "netns", "add", "sdgui-try"], check=False, capture_output=True).returncode == 0
    if made:
        subprocess.run(["ip", "netns", "del", "sdgui-try"], check=False)
    return made


@contextmanager
def on_hosts(
    config: RunConfig, folder: Path, hosts: tuple[tuple[str, str], ...]
) -> Iterator[list[subprocess.Popen[bytes]]]:
    """One rank on each of the hosts."""
    run_config = folder.with_suffix(".json")
    run_config.write_text(config.to_json())
    started = []
    for number, (name, interface) in enumerate(hosts):
        command = ["ip", "netns", "exec", name, sys.executable, "-m", "torch.distributed.run", "--nnodes=2",
                   "--nproc-per-node=1", f"--node-rank={number}", "--master-addr=10.99.0.1", "--master-port=29577",
                   "-m", "core", "train", str(run_config), str(folder)]  # fmt: skip
        with folder.with_suffix(f".{number}.txt").open("wb") as output:
            started.append(subprocess.Popen(
                command, stdout=output, stderr=subprocess.STDOUT, start_new_session=True,
                env=environment() | {"GLOO_SOCKET_IFNAME": interface, "OMP_NUM_THREADS": "1"},
            ))  # fmt: skip
    try:
        yield started
    finally:
        for process in started:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def _losses(folder: Path) -> dict[int, float]:
    events = EventReader(folder / "events.jsonl").read_all() if (folder / "events.jsonl").exists() else []
    return {event.step: event.values["train/loss"] for event in events if isinstance(event, Metrics)}


@pytest.mark.slow
def test_two_hosts_train_like_one_process_and_notice_a_broken_link(config: RunConfig, tmp_path: Path) -> None:
    if not _may_have_hosts():
        pytest.skip("network namespaces need root and iproute2")
    few = config.model_copy(update={"optim": config.optim.model_copy(update={"epochs": 2.0})})
    train(few, RunDir(tmp_path / "one"), quiet=True)
    expected = _losses(tmp_path / "one")
    impatient = config.model_copy(update={"runtime": config.runtime.model_copy(update={"patience": 10})})
    with two_hosts() as hosts:
        with on_hosts(few, tmp_path / "two", hosts) as processes:
            assert [process.wait(PATIENCE) for process in processes] == [0, 0]
        found = _losses(tmp_path / "two")
        assert found.keys() == expected.keys()
        assert max(abs(found[step] - expected[step]) for step in found) <= 1e-5
        with on_hosts(impatient, tmp_path / "cut", hosts) as processes:
            until = time.monotonic() + PATIENCE
            while len(_losses(tmp_path / "cut")) < 3 and time.monotonic() < until:
                time.sleep(0.1)
            subprocess.run(["ip", "-n", hosts[0][0], "link", "set", hosts[0][1], "down"], check=True)
            assert all(process.wait(PATIENCE) != 0 for process in processes)
        assert "the run is interrupted" in (tmp_path / "cut.0.txt").read_text()
