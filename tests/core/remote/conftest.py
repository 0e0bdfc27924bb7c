"""Machines for tests: this computer through pipes, through ssh on loopback, and Slurm with two virtual nodes."""

from __future__ import annotations

import os
import shlex
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from core.spec.machines.host import Host
from core.spec.machines.machine import Machine
from core.spec.machines.machines import Machines
from core.spec.presets import preset_config
from core.spec.run.folder import RunDir
from tests.slurm import missing_slurm, virtual_slurm
from tests.sshd import HOST, Sshd, missing_programs, private_sshd

ROOT = Path(__file__).parents[3]
FAKE = Path(__file__).parent / "fake_remote.py"
PATIENCE = float(os.environ.get("SDGUI_TEST_PATIENCE", "120"))  # seconds; a busy machine is no fault


def wait_for(what: Callable[[], object], seconds: float = PATIENCE) -> None:
    """Wait until ``what`` is true; fails after a long time."""
    until = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < until, "the condition did not become true"
        time.sleep(0.005)


def run_config(name: str = "a run") -> str:
    """The JSON of a small config; the fake trainer only reads its name."""
    config = preset_config("clip", "tiny")
    return config.model_copy(update={"name": name}).to_json()


@pytest.fixture
def runs_there(tmp_path: Path) -> Iterator[Path]:
    """The runs folder of the machine; trainers are killed after the test."""
    folder = tmp_path / "there"
    yield folder
    for path in folder.glob("*/status.json"):
        status = RunDir(path.parent).read_status()
        if status is not None and psutil.pid_exists(status.pid) and status.pid != os.getpid():
            try:
                process = psutil.Process(status.pid)
                if abs(process.create_time() - status.started) < 2.0:
                    process.kill()
            except psutil.NoSuchProcess:
                continue


@pytest.fixture
def trainer(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Sets the options of the fake trainer."""

    def options(text: str) -> None:
        monkeypatch.setenv("FAKE_TRAINER", text)

    return options


@pytest.fixture
def machine(runs_there: Path) -> Machine:
    """A machine without a host: its program is a child of this process."""
    return Machine(name="near", runs=str(runs_there))


def command(machine: Machine) -> list[str]:
    """The remote program on ``machine``, with the fake trainer."""
    return [sys.executable, str(FAKE), "remote", "--runs", machine.runs]


@pytest.fixture
def host(machine: Machine) -> Iterator[Host]:
    host = Host(machine, command=command(machine))
    yield host
    host.close()


@pytest.fixture
def machines(tmp_path: Path, machine: Machine) -> Iterator[Machines]:
    """Connections of a program with its home in ``tmp_path`` and the machine ``near``."""
    machines = Machines(tmp_path / "home", command=command)
    machines.list.put(machine)
    yield machines
    machines.close()


@pytest.fixture(scope="session")
def sshd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sshd]:
    """An ssh server of this test process."""
    if missing := missing_programs():
        pytest.skip(f"openssh is not installed here: {missing}")
    with private_sshd(tmp_path_factory.mktemp("sshd")) as found:
        yield found


@pytest.fixture
def ssh_python(tmp_path: Path) -> Path:
    """A Python that runs the remote program with the fake trainer, whatever module is requested."""
    path = tmp_path / "python"
    path.write_text(f'#!/bin/sh\nshift 2\nexec {shlex.quote(sys.executable)} {shlex.quote(str(FAKE))} "$@"\n')
    path.chmod(0o755)
    return path


@pytest.fixture
def ssh_machine(sshd: Sshd, ssh_python: Path, runs_there: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    """A machine that is reached through ssh."""
    monkeypatch.setenv("SDGUI_SSH", sshd.ssh)
    setup = f"export PYTHONPATH={shlex.quote(str(ROOT))} FAKE_TRAINER='--steps 60 --delay 0.02'"
    return Machine(name="far", host=HOST, python=str(ssh_python), setup=setup, runs=str(runs_there))


@pytest.fixture(scope="session")
def slurm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """A Slurm server for this test process; returns the environment variables of its commands."""
    if missing := missing_slurm():
        pytest.skip(f"Slurm cannot be started here, missing: {missing}")
    with virtual_slurm(tmp_path_factory.mktemp("slurm")) as found:
        yield found
