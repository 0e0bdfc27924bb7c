"""200 live runs: how long the window's own thread is blocked, and what it costs when nothing changes.

Flow: ``sdgui.bench.__main__`` -> here -> the real window on a home of 200 run folders, half of them mirrors of another
machine; a program of its own renews their heartbeats as trainers do. Costs are the thread's own processor time, so that
a busy machine does not count.
"""

from __future__ import annotations

import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from PySide6.QtWidgets import QApplication

from core.spec.files import write_whole
from core.spec.machines.machine import Machine
from core.spec.machines.machine_list import MachineList
from core.spec.machines.record import RemoteRecord, write_record
from core.spec.presets import preset_config
from core.spec.run.events import EventWriter, Metrics, RunStarted
from sdgui.app.collecting import spare_collections
from sdgui.app.start import open_window
from sdgui.store.records import Place
from sdgui.store.store import Store

RUNS, SECONDS = 200, 10.0
TURN_LIMIT, SHARE_LIMIT = 0.05, 0.05  # seconds, of a core

# argv: home, whether to write events too. Each run's status is renewed every two seconds, as a trainer does.
_ALIVE = """
import json, sys, time
from dataclasses import asdict, replace
from pathlib import Path
from core.spec.run.events import EventWriter, Metrics
from core.spec.run.folder import RunDir
from core.spec.run.status import own_status
runs = [RunDir(path.parent) for path in sorted(Path(sys.argv[1], "runs").glob("*/config.json"))]
writers = [EventWriter(run.events) for run in runs] if sys.argv[2] == "events" else []
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


def measure(app: QApplication, home: Path) -> tuple[Cost, Cost]:
    """What 200 live runs cost when nothing changes but heartbeats, and when each reports a step every two seconds."""
    _fill(home)
    with _Trainers(home, "heartbeats"):
        window = open_window(home, demo=False)
        spare_collections(window)
        _turns(app, 20.0)  # it has started and read every run
        still = _turns(app, SECONDS)
    with _Trainers(home, "events"):
        busy = _turns(app, SECONDS)
    for service in (window.services.tailer, window.services.launcher, window.services.hosts, window.services.store):
        service.close()
    window.hide()
    return still, busy


class _Trainers:
    """A program that writes as 200 trainers do, while the block runs."""

    def __init__(self, home: Path, what: str) -> None:
        self._command = [sys.executable, "-c", _ALIVE, str(home), what]

    def __enter__(self) -> None:
        self._process = subprocess.Popen(self._command, stdout=subprocess.PIPE)
        assert self._process.stdout is not None
        self._process.stdout.readline()

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.communicate()


def _fill(home: Path) -> None:
    store = Store.open(home)
    MachineList(home).put(Machine(name="far", host="far.invalid"))  # the line to it is down
    config = preset_config("clip", "tiny")
    experiments = [store.add_experiment(config, f"experiment {number}").id for number in range(10)]
    for number in range(RUNS):
        run = store.add_run(experiments[number % 10], place=Place("far" if number % 2 else ""))
        run.dir.create()
        write_whole(run.dir.config, config.to_json().encode())
        if run.host:
            write_record(run.dir, RemoteRecord(machine="far", folder=f"/there/{run.key}"))
        writer = EventWriter(run.dir.events)
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
