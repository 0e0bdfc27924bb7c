"""200 live runs: how long the window's own thread is blocked, and what it costs when nothing changes.

Flow: ``tests.benchmarks.window`` -> here -> the real window on a home of 200 run folders, half of them mirrors of
another machine; a program of its own renews their heartbeats as trainers do. The line to that machine is down, unless
a real one is given (``tests.remote_figures``). Costs are processor time of the thread.
"""

from __future__ import annotations

import subprocess
import sys
import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from PySide6.QtWidgets import QApplication

from core.spec.files import write_whole
from core.spec.machines.machine import Machine
from core.spec.machines.machine_list import MachineList
from core.spec.machines.record import RemoteRecord, write_record
from core.spec.presets import preset_config
from core.spec.run.events import EventWriter, Metrics, RunStarted
from core.spec.run.folder import RunDir
from sdgui.app.collecting import freeze_permanent_objects
from sdgui.store.records import Place
from sdgui.store.store import Store
from tests.benchmarks.window.windows import opened

RUNS, SECONDS = 200, 10.0
_FAR = Machine(name="far", host="far.invalid", runs="/there")  # the line to it is down
TURN_LIMIT, SHARE_LIMIT = 0.05, 0.05  # seconds, of a core

# argv: whether to write events too, then folders of runs. Each run's status is renewed as by a trainer.
_ALIVE = """
import json, sys, time
from dataclasses import asdict, replace
from pathlib import Path
from core.spec.run.events import EventWriter, Metrics
from core.spec.run.folder import RunDir
from core.spec.run.status import own_status
folders = sys.argv[2:]
runs = [RunDir(path.parent) for folder in folders for path in sorted(Path(folder).glob("*/config.json"))]
if len(folders) > 1:  # mirrors are written by the line alone
    runs = [run for run in runs if not (run.path / "remote.json").exists()]
writers = [EventWriter(run.events) for run in runs] if sys.argv[1] == "events" else []
step = 0
while True:
    step += 1
    for number, run in enumerate(runs):
        status = own_status(1, 1000, "training", 60.0)
        if (run.path / "remote.json").exists():
            status = replace(status, host="far (remote)", verdict="running")
        run.write_status(status)
        if writers:
            writers[number].write(Metrics(step=step, values={"train/loss": 1.0 / step}))
    print("round", flush=True)
    time.sleep(2.0)
"""


@dataclass(frozen=True)
class Cost:
    """``turn``: processor seconds of the window's thread in its longest turn; ``share``: of a core; ``whole``: of the
    process, with the thread that follows the runs.
    """

    turn: float
    wall: float  # seconds of the longest turn by the clock, other programs included
    share: float
    whole: float


def measure(app: QApplication, home: Path, machine: Machine = _FAR) -> tuple[Cost, Cost]:
    """What 200 live runs cost when nothing changes but heartbeats, and when each reports a step every two seconds."""
    _fill(home, machine)
    folders = [home / "runs"] if machine is _FAR else [home / "runs", Path(machine.runs)]
    with ExitStack() as ending:
        with _Trainers(folders, "heartbeats"):
            window = ending.enter_context(opened(app, home))
            freeze_permanent_objects(window)
            _turns(app, 20.0)  # it has started and read every run
            while not all(run.dir.events.exists() for run in window.services.store.runs()):
                _turns(app, 1.0)
            still = _turns(app, SECONDS)
        with _Trainers(folders, "events"):
            busy = _turns(app, SECONDS)
    return still, busy


class _Trainers:
    """A program that writes as 200 trainers do, while the block runs."""

    def __init__(self, folders: list[Path], what: str) -> None:
        self._command = [sys.executable, "-c", _ALIVE, what, *map(str, folders)]

    def __enter__(self) -> None:
        self._process = subprocess.Popen(self._command, stdout=subprocess.PIPE)
        assert self._process.stdout is not None
        self._process.stdout.readline()

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.communicate()


def _fill(home: Path, machine: Machine) -> None:
    store = Store.open(home)
    MachineList(home).put(machine)
    config = preset_config("clip", "tiny")
    experiments = [store.add_experiment(config, f"experiment {number}").id for number in range(10)]
    for number in range(RUNS):
        run = store.add_run(experiments[number % 10], place=Place(machine.name if number % 2 else ""))
        own = run.dir
        run.dir.create()
        write_whole(run.dir.config, config.to_json().encode())
        if run.machine:
            there = Path(machine.runs) / run.key
            write_record(run.dir, RemoteRecord(machine=machine.name, folder=str(there)))
            own = run.dir if machine is _FAR else RunDir(there)
            own.create()
            write_whole(own.config, config.to_json().encode())
        writer = EventWriter(own.events)
        writer.write(RunStarted(step=0, total_steps=1000, config_digest=run.digest))
        writer.write(Metrics(step=1, values={"train/loss": 1.0}))
        writer.close()
    store.close()


def _turns(app: QApplication, seconds: float) -> Cost:
    """Turns of the event loop for so long; between two it waits as an idle loop does."""
    longest, longest_wall = 0.0, 0.0
    began, thread, whole = time.perf_counter(), time.thread_time(), time.process_time()
    while time.perf_counter() - began < seconds:
        wall, own = time.perf_counter(), time.thread_time()
        app.processEvents()
        longest = max(longest, time.thread_time() - own)
        longest_wall = max(longest_wall, time.perf_counter() - wall)
        time.sleep(0.01)
    lasted = time.perf_counter() - began
    return Cost(longest, longest_wall, (time.thread_time() - thread) / lasted, (time.process_time() - whole) / lasted)
