"""A run under torchrun, as a user starts it: real processes, which tests end in every way there is."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import TracebackType

import psutil

from core.spec.children import environment
from core.spec.config import RunConfig
from core.spec.run.events import CheckpointSaved, Event, EventReader, Metrics, RunStarted, lifecycle
from core.spec.run.folder import RunDir
from core.spec.run.status import RunState, judge

PATIENCE = 240.0  # seconds; the start of several programs on a busy machine


class Launched:
    """torchrun with ``size`` ranks of ``config`` in ``folder``; entered while it runs."""

    def __init__(
        self, config: RunConfig, folder: Path, size: int = 2, *settings: str, extra: tuple[str, ...] = ()
    ) -> None:
        self.run = RunDir(folder)
        definition = folder.with_suffix(".json")
        definition.write_text(config.to_json())
        self._output = folder.with_suffix(".txt")
        command = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={size}", *extra,
                   "-m", "core", "train", str(definition), str(folder)]  # fmt: skip
        self.before = len(self.events())
        self._file = self._output.open("w")
        self.process = subprocess.Popen(
            command, stdout=self._file, stderr=subprocess.STDOUT, start_new_session=True,
            env=environment(dict(os.environ) | {"OMP_NUM_THREADS": "1"}),
        )  # fmt: skip

    def __enter__(self) -> Launched:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for one in [*self.ranks(), self.process.pid]:
            if psutil.pid_exists(one):
                os.kill(one, signal.SIGKILL)
        self.process.wait()
        self._file.close()

    @property
    def output(self) -> str:
        return self._output.read_text()

    def events(self) -> list[Event]:
        return EventReader(self.run.events).read_all() if self.run.events.exists() else []

    def since(self) -> list[Event]:
        """The events of this start."""
        return self.events()[self.before :]

    def step(self) -> int:
        """The last reported step of this start; -1 before it has begun."""
        steps = [event.step for event in self.since() if isinstance(event, (Metrics, RunStarted))]
        return steps[-1] if steps else -1

    def ranks(self) -> list[int]:
        """The processes of the ranks, in their order."""
        try:
            children = psutil.Process(self.process.pid).children()
        except psutil.NoSuchProcess:
            return []
        numbered = []
        for child in children:
            try:
                rank = child.environ().get("RANK")
            except (psutil.Error, OSError):
                continue
            if rank is not None:
                numbered.append((int(rank), child.pid))
        return [pid for _, pid in sorted(numbered)]

    def wait_for_step(self, step: int) -> None:
        """Until ``step`` was done in this start."""
        until = time.monotonic() + PATIENCE
        while self.step() < step:
            assert self.process.poll() is None, self.output[-4000:]
            assert time.monotonic() < until, self.output[-4000:]
            time.sleep(0.02)

    def wait_for_ranks(self, ranks: list[int]) -> float:
        """Until these processes have ended; how long it took from now on."""
        began = time.monotonic()
        left = [psutil.Process(pid) for pid in ranks if psutil.pid_exists(pid)]
        psutil.wait_procs(left, PATIENCE)
        return time.monotonic() - began

    def wait(self, seconds: float = PATIENCE) -> tuple[int, float]:
        """Its exit status, and how long it took to end from now on."""
        began = time.monotonic()
        return self.process.wait(seconds), time.monotonic() - began

    def state(self) -> RunState:
        """The state that the window shows."""
        last = lifecycle(self.run.events)
        return judge(self.run.read_status(), None if isinstance(last, RunStarted) else last)

    def saved(self) -> list[int]:
        """The steps of the checkpoints of this start."""
        return [event.step for event in self.since() if isinstance(event, CheckpointSaved)]

    def started(self) -> int:
        """The step that this start went on from."""
        return next(event.step for event in self.since() if isinstance(event, RunStarted))
