"""Runs over ssh on loopback: disconnected sessions, and refusals with the remedy."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from core.spec.errors import UserError
from core.spec.machines.host import Host
from core.spec.machines.install import InstallError, install
from core.spec.machines.machine import Machine
from core.spec.machines.machines import Machines
from core.spec.machines.remote_runs import RemoteRuns
from core.spec.machines.ssh import ConnectionLost, MachineRefused
from core.spec.run.folder import RunDir
from core.spec.run.status import RunState
from tests.core.remote.conftest import run_config, wait_for
from tests.core.remote.test_remote_runs import files_are_equal, remote_run, state
from tests.sshd import Sshd, free_port, make_key


@pytest.fixture
def far(tmp_path: Path, ssh_machine: Machine) -> Iterator[RemoteRuns]:
    """Remote runs on the machine behind ssh."""
    machines = Machines(tmp_path / "home")
    machines.list.put(ssh_machine)
    remote_runs = RemoteRuns(machines)
    yield remote_runs
    remote_runs.close()


def connection_error(machine: Machine, seconds: float = 60.0) -> UserError:
    """The error of a connection to ``machine``."""
    host = Host(machine)
    try:
        with pytest.raises((MachineRefused, ConnectionLost)) as caught:
            host.call("probe", seconds).result(90)
        assert isinstance(caught.value, UserError)
        return caught.value
    finally:
        host.close()


def test_a_run_over_ssh_survives_a_killed_connection(far: RemoteRuns, tmp_path: Path) -> None:
    run = RunDir(tmp_path / "home" / "runs" / "one")
    far.launch(run, "far", run_config())
    host, draw = far.machines.host("far"), random.Random(3)
    for _ in range(2):
        wait_for(lambda: host.state.kind == "ready")
        time.sleep(draw.uniform(0.0, 0.2))
        assert host._session is not None
        host._session.kill()
        wait_for(lambda: host.state.kind != "ready")
    wait_for(lambda: state(run) is RunState.DONE and files_are_equal(run))
    assert remote_run(run).path.parent == Path(far.machines.list.find("far").runs)


def test_a_changed_host_key_is_refused_with_the_remedy(sshd: Sshd, ssh_machine: Machine, tmp_path: Path) -> None:
    make_key(tmp_path / "other")
    kind, key = (tmp_path / "other.pub").read_text().split()[:2]
    known = sshd.known_hosts()
    before = known.read_text() if known.exists() else None
    known.write_text(f"[127.0.0.1]:{sshd.port} {kind} {key}\n")
    try:
        error = connection_error(ssh_machine)
    finally:
        known.unlink()
        if before is not None:
            known.write_text(before)
    assert isinstance(error, MachineRefused)
    assert "has changed" in str(error)
    assert "ssh-keygen -R" in str(error)


def test_ssh_never_asks_for_a_password(sshd: Sshd, ssh_machine: Machine) -> None:
    keys = sshd.folder / "authorized_keys"
    before = keys.read_bytes()
    keys.write_bytes(b"")
    try:
        error = connection_error(ssh_machine)
    finally:
        keys.write_bytes(before)
    assert isinstance(error, MachineRefused)
    assert "ssh-copy-id" in str(error)


def test_missing_python_and_another_version(ssh_machine: Machine, tmp_path: Path) -> None:
    error = connection_error(ssh_machine.model_copy(update={"python": "/no/such/python"}))
    assert isinstance(error, MachineRefused)
    assert "/no/such/python" in str(error)
    assert "Press Install on the machine's page" in str(error)
    old = tmp_path / "old"
    old.write_text("#!/bin/sh\necho \"error: argument VERB: invalid choice: 'remote'\" >&2; exit 2\n")
    old.chmod(0o755)
    error = connection_error(ssh_machine.model_copy(update={"python": str(old)}))
    assert isinstance(error, MachineRefused)
    assert "another version" in str(error)
    other = tmp_path / "other-protocol"
    other.write_text('#!/bin/sh\necho \'{"event": "hello", "protocol": 99, "version": "9.9"}\'; exec cat >/dev/null\n')
    other.chmod(0o755)
    error = connection_error(ssh_machine.model_copy(update={"python": str(other)}))
    assert isinstance(error, MachineRefused)
    assert "protocol 99" in str(error)


def test_an_unreachable_host_may_come_back(
    ssh_machine: Machine, sshd: Sshd, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tmp_path / "config"
    config.write_text(sshd.config.read_text().replace(f"Port {sshd.port}", f"Port {free_port()}"))
    monkeypatch.setenv("SDGUI_SSH", f"ssh -F {config}")
    error = connection_error(ssh_machine, 3.0)
    assert isinstance(error, ConnectionLost)
    assert "cannot be reached" in str(error)


@pytest.mark.ci
def test_a_machine_without_python_cannot_be_installed(ssh_machine: Machine) -> None:
    bare = ssh_machine.model_copy(update={"setup": "PATH=/nowhere; HOME=/nowhere", "python": ""})
    lines: list[str] = []
    with pytest.raises((InstallError, MachineRefused)):
        install(bare, lines.append)
