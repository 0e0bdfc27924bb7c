"""A private ssh server on loopback for tests, where openssh is installed: with keys, a configuration and a port of its
own.

Flow: ``private_sshd(folder)`` -> ``SDGUI_SSH`` names an ssh with that configuration -> connections reach ``test-host``.
"""

from __future__ import annotations

import getpass
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.daemons import MOST_RESTARTS, Daemon, keep_running

HOST = "test-host"
_PROGRAMS = ("ssh", "ssh-keygen", "sshd")


def missing_programs() -> str:
    """What of openssh is not installed; "" when all is there."""
    return ", ".join(name for name in _PROGRAMS if not program(name))


def program(name: str) -> str | None:
    """The path of a program, those of an administrator included."""
    return shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")


@dataclass(frozen=True)
class Sshd:
    """The server's folder and port; ``ssh`` is what ``SDGUI_SSH`` is to be."""

    folder: Path
    port: int

    @property
    def config(self) -> Path:
        return self.folder / "config"

    @property
    def ssh(self) -> str:
        return f"ssh -F {self.config}"

    @property
    def host_key(self) -> Path:
        return self.folder / "host"

    def known_hosts(self) -> Path:
        return self.folder / "known_hosts"


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def make_key(path: Path) -> None:
    """A key without a passphrase."""
    keygen = program("ssh-keygen") or "ssh-keygen"
    subprocess.run([keygen, "-q", "-t", "ed25519", "-N", "", "-f", str(path)], check=True)


@contextmanager
def private_sshd(folder: Path) -> Iterator[Sshd]:
    """A server that lets this user in by a key of its own, until the end of the block."""
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o700)
    for name in ("host", "id"):
        make_key(folder / name)
    (folder / "authorized_keys").write_bytes((folder / "id.pub").read_bytes())
    port = free_port()
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(parents=True, exist_ok=True)  # where it separates its privileges
    lines = [
        f"Host {HOST}",
        "  HostName 127.0.0.1",
        f"  Port {port}",
        f"  User {getpass.getuser()}",
        f"  IdentityFile {folder / 'id'}",
        "  IdentitiesOnly yes",
        "  IdentityAgent none",
        f"  UserKnownHostsFile {folder / 'known_hosts'}",
        "  GlobalKnownHostsFile none",
        "  StrictHostKeyChecking accept-new",
        "  LogLevel ERROR",
    ]
    (folder / "config").write_text("\n".join(lines) + "\n")
    daemon = Daemon(_command(folder, port))
    with keep_running([daemon]):
        _wait_until_listening(daemon, port, folder / "log")
        yield Sshd(folder, port)


def _command(folder: Path, port: int) -> list[str]:
    settings = {
        "ListenAddress": "127.0.0.1",
        "Port": str(port),
        "HostKey": str(folder / "host"),
        "AuthorizedKeysFile": str(folder / "authorized_keys"),
        "PidFile": "none",
        "StrictModes": "no",
        "UsePAM": "no",
        "PasswordAuthentication": "no",
        "PermitRootLogin": "prohibit-password",
        "MaxStartups": "100",
        "PerSourcePenalties": "no",  # tests fail to log in on purpose
    }
    options = [part for name, value in settings.items() for part in ("-o", f"{name}={value}")]
    return [program("sshd") or "sshd", "-D", "-f", "/dev/null", "-E", str(folder / "log"), *options]


def _wait_until_listening(daemon: Daemon, port: int, log: Path) -> None:
    while daemon.restarts < MOST_RESTARTS:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise RuntimeError(f"sshd does not listen: {log.read_text()}")
