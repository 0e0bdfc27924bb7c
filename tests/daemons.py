"""Daemons that tests start: one that dies is started again, and reported with what it logged."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

CHECK_SECONDS = 0.2
MOST_RESTARTS = 20  # of one daemon: a configuration it cannot read does not get better


@dataclass
class Daemon:
    """A program that runs until its block ends. ``restarts`` counts how often it had to be started again."""

    command: Sequence[str]
    variables: Mapping[str, str] = field(default_factory=dict)
    restarts: int = 0

    def start(self) -> None:
        self.process = subprocess.Popen(
            self.command, env=os.environ | dict(self.variables), stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )

    def restart_if_dead(self) -> None:
        if self.process.poll() is None or self.restarts == MOST_RESTARTS:
            return
        print(
            f"{self.command[0]} exited with {self.process.returncode} and is started again ({self.restarts + 1})",
            file=sys.stderr,
        )
        self.start()
        self.restarts += 1  # last: who sees the count also sees the process it counts

    def stop(self, patience: float = 10) -> None:
        self.process.terminate()
        try:
            self.process.wait(patience)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


@contextmanager
def keep_running(daemons: Sequence[Daemon]) -> Iterator[None]:
    """Run ``daemons`` until the end of the block; they are stopped in reverse order."""
    stopping = threading.Event()

    def watch() -> None:
        while not stopping.wait(CHECK_SECONDS):
            for daemon in daemons:
                daemon.restart_if_dead()

    watcher = threading.Thread(target=watch, name="daemons", daemon=True)
    started: list[Daemon] = []
    try:
        for daemon in daemons:
            daemon.start()
            started.append(daemon)
        watcher.start()
        yield
    finally:
        stopping.set()
        if watcher.ident is not None:
            watcher.join()
        for daemon in reversed(started):
            daemon.stop()
