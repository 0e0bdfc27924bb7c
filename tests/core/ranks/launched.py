"""A run under torchrun in real processes, which tests stop or kill."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import TracebackType

import psutil
import torch.distributed as dist

from core.__main__ import main
from core.spec.children import environment
from core.spec.config import RunConfig
from core.spec.run.events import CheckpointSaved, Event, EventReader, Lifecycle, Metrics, RunStarted
from core.spec.run.folder import RunDir
from core.spec.run.status import RunState, derive_state

PATIENCE = 600.0  # seconds; the start of several programs on a busy machine


class Followed:
    """A run over ranks, read from its folder; ``output`` is the output of its processes.

    Subclasses have ``ended``, ``ranks`` (the processes, in their order), ``terminate`` (SIGTERM to torchrun) and
    ``wait`` (the exit status, and the seconds until the end).
    """

    def __init__(self, folder: Path) -> None:
        self.run = RunDir(folder)
        self._output = folder.with_suffix(".txt")
        self.before = len(self.events())

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

    def wait_for_step(self, step: int) -> None:
        """Until ``step`` was done in this start."""
        until = time.monotonic() + PATIENCE
        while self.step() < step:
            assert not self.ended(), self.output[-4000:]
            assert time.monotonic() < until, self.output[-4000:]
            time.sleep(0.02)

    def state(self) -> RunState:
        """The state that the window shows."""
        last = Lifecycle(self.run.events).read()
        return derive_state(self.run.read_status(), None if isinstance(last, RunStarted) else last)

    def saved(self) -> list[int]:
        """The steps of the checkpoints of this start."""
        return [event.step for event in self.since() if isinstance(event, CheckpointSaved)]

    def started(self) -> int:
        """The step at which this start resumed."""
        return next(event.step for event in self.since() if isinstance(event, RunStarted))


class Launched(Followed):
    """torchrun with ``size`` ranks of ``config`` in ``folder``; entered while it runs."""

    def __init__(
        self, config: RunConfig, folder: Path, size: int = 2, *settings: str, extra: tuple[str, ...] = ()
    ) -> None:
        super().__init__(folder)
        run_config = folder.with_suffix(".json")
        run_config.write_text(config.to_json())
        command = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={size}", *extra,
                   "-m", "core", "train", str(run_config), str(folder)]  # fmt: skip
        self._file = self._output.open("w")
        self.process = subprocess.Popen(
            command, stdout=self._file, stderr=subprocess.STDOUT, start_new_session=True,
            env=environment() | {"OMP_NUM_THREADS": "1"},
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

    def ended(self) -> bool:
        return self.process.poll() is not None

    def ranks(self) -> list[int]:
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

    def terminate(self) -> None:
        os.kill(self.process.pid, signal.SIGTERM)

    def wait(self, seconds: float = PATIENCE) -> tuple[int, float]:
        began = time.monotonic()
        return self.process.wait(seconds), time.monotonic() - began


class Forked(Followed):
    """The same ranks as forked processes with torch already loaded; this process replaces torchrun.

    Like torchrun's agent, it has the rendezvous store, forwards SIGTERM, and ends the other ranks when one fails.
    """

    def __init__(self, config: RunConfig, folder: Path, size: int = 2) -> None:
        super().__init__(folder)
        run_config = folder.with_suffix(".json")
        run_config.write_text(config.to_json())
        self._output.touch()
        self._store = dist.TCPStore("127.0.0.1", 0, None, is_master=True, wait_for_workers=False)
        place = {"WORLD_SIZE": str(size), "LOCAL_WORLD_SIZE": str(size), "MASTER_ADDR": "127.0.0.1",
                 "MASTER_PORT": str(self._store.port), "TORCHELASTIC_USE_AGENT_STORE": "True"}  # fmt: skip
        context = multiprocessing.get_context("fork")
        self._processes = []
        for rank in range(size):
            own = place | {"RANK": str(rank), "LOCAL_RANK": str(rank)}
            process = context.Process(target=_train, args=(own, run_config, folder, self._output), daemon=True)
            process.start()
            self._processes.append(process)

    def __enter__(self) -> Forked:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for process in self._processes:
            process.kill()
            process.join()
        del self._store  # a later fork that collected it as garbage would wait for its thread, which a fork has not

    def ended(self) -> bool:
        return not any(process.is_alive() for process in self._processes)

    def ranks(self) -> list[int]:
        return [process.pid for process in self._processes if process.pid is not None]

    def terminate(self) -> None:
        for process in self._processes:
            process.terminate()

    def wait(self, seconds: float = PATIENCE) -> tuple[int, float]:
        began, failed = time.monotonic(), False
        while not self.ended():
            if not failed and any(process.exitcode for process in self._processes):
                failed = True
                self.terminate()
            assert time.monotonic() - began < seconds, self.output[-4000:]
            time.sleep(0.01)
        return max(abs(process.exitcode or 0) for process in self._processes), time.monotonic() - began


def _train(place: dict[str, str], run_config: Path, folder: Path, output: Path) -> None:
    """What ``python -m core train`` does in a rank."""
    os.environ.update(place)
    with output.open("a") as said:
        os.dup2(said.fileno(), 1)
        os.dup2(said.fileno(), 2)
    sys.stdout, sys.stderr = os.fdopen(1, "w", buffering=1), os.fdopen(2, "w", buffering=1)
    os._exit(main(["train", str(run_config), str(folder)]))
