"""Figures of runs on other machines, measured through ssh on loopback: ``python -m tests.remote_figures [NAME ...]``.

``launch``: from the click to the first point, here and there. ``latency``: from an event on the disk there to the file
here. ``curve``: from there to the curve on the screen of a window.
``kills``: the ssh process killed at random. ``windows``: the window killed at random. ``alive``: what 200 live runs
cost the window. ``slurm``: from a job's state in ``squeue``, or its trainer's own, to the state told here.
"""

from __future__ import annotations

import json
import os
import random
import shlex
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from core.spec.children import python_command
from core.spec.config import override
from core.spec.machines.machine import Machine
from core.spec.machines.machines import Machines
from core.spec.machines.record import read_record
from core.spec.machines.remote_runs import RemoteRuns
from core.spec.presets import preset_config
from core.spec.run.events import EventReader, Metrics
from core.spec.run.folder import RunDir
from core.spec.run.starting import start_trainer
from core.spec.run.status import RunState
from sdgui.store.summary import folder_progress
from tests.core.images import write_pairs
from tests.core.remote.conftest import FAKE, ROOT, command, run_config, wait_for
from tests.remote_window import event_to_screen, killed_windows, many_alive, spread
from tests.slurm import virtual_slurm
from tests.sshd import HOST, private_sshd

SAME = ("events.jsonl", "stdout.log", "stderr.log")


@contextmanager
def far_machine(folder: Path, trainer: str = "") -> Iterator[Machine]:
    """A machine behind ssh, with the trainer in miniature where its options are given."""
    with private_sshd(folder / "sshd") as server:
        os.environ["SDGUI_SSH"] = server.ssh
        setup = f"export PYTHONPATH={shlex.quote(str(ROOT))} OMP_NUM_THREADS=1"
        python = sys.executable
        if trainer:
            wrapper = folder / "python"
            wrapper.write_text(f'#!/bin/sh\nshift 2\nexec {shlex.quote(python)} {shlex.quote(str(FAKE))} "$@"\n')
            wrapper.chmod(0o755)
            python, setup = str(wrapper), f"{setup} FAKE_TRAINER={shlex.quote(trainer)}"
        yield Machine(name="far", host=HOST, python=python, setup=setup, runs=str(folder / "there"))


def first_point(run: RunDir, since: float) -> float:
    wait_for(lambda: run.events.exists() and b'"kind":"metrics"' in run.events.read_bytes())
    return time.perf_counter() - since


def launch(folder: Path) -> None:
    """Medians of three."""
    pairs, _ = write_pairs(folder / "pairs")
    settings = [f"data.train={pairs}", "optim.batch_size=12", "optim.epochs=2", "runtime.log_every=1", "data.val="]
    config = override(preset_config("clip", "tiny"), settings).to_json()
    here, warm, cold = [], [], []
    with far_machine(folder) as machine:
        for number in range(3):
            run = RunDir(folder / "here" / str(number))
            run.create()
            run.config.write_text(config)
            since = time.perf_counter()
            process = start_trainer([*python_command("core"), "train", str(run.config), str(run.path)], run)
            here.append(first_point(run, since))
            process.wait()
            machines = Machines(folder / "home")
            machines.list.put(machine)
            remote = RemoteRuns(machines)
            for kind, times in (("cold", cold), ("warm", warm)):
                run = RunDir(folder / "home" / "runs" / f"{kind}{number}")
                since = time.perf_counter()
                remote.launch(run, "far", config)
                times.append(first_point(run, since))
                wait_for(lambda run=run: b"run_finished" in run.events.read_bytes())
            remote.close()
    local = statistics.median(here)
    for name, times in (("line open", warm), ("line to be opened", cold)):
        there = statistics.median(times)
        print(f"launch, {name}: {there:.2f} s there, {local:.2f} s here; asked {2 * local + 2:.2f} s at most")


def latency(folder: Path) -> None:
    """Each event has the time at which it was written; the file here is looked at each millisecond."""
    with far_machine(folder, "--steps 300 --delay 0.03") as machine:
        machines = Machines(folder / "home")
        machines.list.put(machine)
        remote = RemoteRuns(machines)
        run = RunDir(folder / "home" / "runs" / "one")
        remote.launch(run, "far", run_config())
        reader, late = EventReader(run.events), []
        while len(late) < 300:
            late += [time.time() - event.time for event in reader.read() if isinstance(event, Metrics)]
            time.sleep(0.001)
        remote.close()
    late = sorted(late[5:])
    print(
        f"latency to the file here: median {1000 * statistics.median(late):.0f} ms, 99 % {1000 * late[-3]:.0f} ms, "
        f"most {1000 * late[-1]:.0f} ms (asked: 500 ms to the screen; the window polls every 100 ms)"
    )


def kills(folder: Path, times: int = 50) -> None:
    """While events flow, at random moments; then every byte is compared."""
    with far_machine(folder, "--steps 9000 --delay 0.01") as machine:
        machines = Machines(folder / "home")
        machines.list.put(machine)
        remote = RemoteRuns(machines)
        run = RunDir(folder / "home" / "runs" / "one")
        remote.launch(run, "far", run_config())
        host, draw, back = machines.host("far"), random.Random(1), []
        wait_for(lambda: host.state.kind == "ready")
        for _ in range(times):
            time.sleep(draw.uniform(0.0, 1.5))
            wait_for(lambda: host._session is not None)
            assert host._session is not None
            host._session.kill()
            since = time.perf_counter()
            wait_for(lambda: host.state.kind != "ready")
            wait_for(lambda: host.state.kind == "ready")
            back.append(time.perf_counter() - since)
        run.ask("stop")
        wait_for(lambda: _verdict(run) in ("stopped", "done"), 300)
        lost, doubled = _compare(run)
        remote.close()
    points = f"{lost} points lost, {doubled} doubled"
    print(f"{times} kills of ssh: {points}; back within {max(back):.1f} s (asked: 0, 0, 10 s)")


def curve(folder: Path, events: int = 200) -> None:
    """The window follows a run that writes twenty events a second; each is timed to the paint that shows it."""
    with far_machine(folder, "--steps 4000 --delay 0.05") as machine:
        late = event_to_screen(folder / "home", machine, events)
    print(f"event there to curve on screen: {spread(late)}; asked 500 ms at most")


def windows(folder: Path, times: int = 20, runs: int = 4) -> None:
    """The window itself, a program of its own, is killed at random moments and started again."""
    with far_machine(folder, "--steps 40000 --delay 0.02") as machine:
        found, lived, seconds = killed_windows(folder / "home", machine, times, runs)
        facts = [_compare(run.dir) for run in found]
    lost, doubled = map(sum, zip(*facts, strict=True))
    print(
        f"{times} kills of the window after {min(lived):.1f} to {max(lived):.1f} s, {runs} runs: {len(facts)} found "
        f"again in {seconds:.1f} s, {lost} points lost, {doubled} doubled (asked: all, 0, 0)"
    )


def alive(folder: Path) -> None:
    """200 runs, 100 of them followed through ssh: processor time of the window's own thread."""
    with far_machine(folder) as machine:
        still, busy = many_alive(folder / "home", machine)
    print(
        f"200 runs alive, 100 through ssh: longest turn {1000 * still.turn:.0f} ms when nothing changes, "
        f"{1000 * busy.turn:.0f} ms with a step of each every 2 s (asked: 50 ms); {still.share:.1%} of a core (asked: "
        f"5 %), the whole process {still.whole:.1%}"
    )


def slurm(folder: Path, times: int = 5) -> None:
    """A job of two virtual nodes waits, runs, is preempted and cancelled; the slowest of ``times`` for each."""
    with virtual_slurm(folder / "slurm") as variables:
        os.environ.update(variables, FAKE_TRAINER="--steps 9000 --delay 0.02")
        machines = Machines(folder / "home", command=command)
        runs = str(folder / "there")
        machines.list.put(Machine(name="slurm", runs=runs, launcher="slurm", partition="low", warning=10))
        remote = RemoteRuns(machines)
        late: dict[str, list[float]] = {}
        for number in range(times):
            run = RunDir(folder / "home" / "runs" / str(number))
            _slurm_states(remote, run, late)
        _time_limit(remote, RunDir(folder / "home" / "runs" / "limit"), late)
        remote.close()
    for name, seconds in late.items():
        print(
            f"slurm, {name}: told after {statistics.median(seconds):.1f} s, at most {max(seconds):.1f} s (asked: 5 s)"
        )


def _slurm_states(remote: RemoteRuns, run: RunDir, late: dict[str, list[float]]) -> None:
    """One job from waiting to cancelled; the seconds that each state was told late are added to ``late``."""

    def told(name: str, true: Callable[[], bool], seen: Callable[[], bool]) -> None:
        wait_for(true, 120)
        since = time.perf_counter()
        wait_for(seen, 60)
        late.setdefault(name, []).append(time.perf_counter() - since)

    other = _said("sbatch", "--parsable", "--nodes=2", "--exclusive", "--output=/dev/null", "--wrap=sleep 300")
    wait_for(lambda: _queue(other) == "RUNNING")
    remote.launch(run, "slurm", run_config())
    wait_for(lambda: len(_said("squeue", "-h", "-o", "%i").split()) == 2, 60)
    job = next(one for one in _said("squeue", "-h", "-o", "%i").split() if one != other)
    told("pending", lambda: _queue(job) == "PENDING", lambda: "waits for" in _doing(run) or "come first" in _doing(run))
    _said("scancel", other)
    told("running", lambda: _queue(job) == "RUNNING", lambda: _told(run) is RunState.RUNNING)
    run.ask("pause")
    told("paused", lambda: _ended_there(run, "paused"), lambda: _told(run) is RunState.PAUSED)
    wait_for(lambda: not _queue(job), 60)
    remote.resume(run)
    wait_for(lambda: bool(_said("squeue", "-h", "-o", "%i")), 60)
    job = _said("squeue", "-h", "-o", "%i")
    told("resumed", lambda: _queue(job) == "RUNNING", lambda: _told(run) is RunState.RUNNING)
    high = ("--partition=high", "--nodes=2", "--exclusive", "--output=/dev/null", "--wrap=sleep 300")
    other = _said("sbatch", "--parsable", *high)
    told("preempted", lambda: _queue(job) == "PENDING", lambda: "requeued after preemption" in _doing(run))
    _said("scancel", job)
    told("cancelled", lambda: not _queue(job), lambda: _told(run) not in (RunState.RUNNING, RunState.STARTING))
    _said("scancel", other)
    wait_for(lambda: not _said("squeue", "-h"), 60)


def _time_limit(remote: RemoteRuns, run: RunDir, late: dict[str, list[float]]) -> None:
    """A job is warned of its time limit, saved and requeued. The least limit is a minute."""
    script = remote.machines.host("slurm").script(run.path.name).result(60)
    script = script.replace("--signal=B:USR1@10", "--signal=B:USR1@55\n#SBATCH --time=1")
    remote.launch(run, "slurm", run_config(), script=script)
    wait_for(lambda: _told(run) is RunState.RUNNING, 60)
    [job] = _said("squeue", "-h", "-o", "%i").split()
    wait_for(lambda: _queue(job) == "PENDING", 120)
    since = time.perf_counter()
    wait_for(lambda: "requeued after time limit" in _doing(run), 60)
    late["requeued at its time limit"] = [time.perf_counter() - since]
    _said("scancel", job)
    wait_for(lambda: not _said("squeue", "-h"), 60)


def _doing(run: RunDir) -> str:
    status = run.read_status()
    return status.doing if status else ""


def _ended_there(run: RunDir, outcome: str) -> bool:
    record = read_record(run)
    return record is not None and f'"outcome":"{outcome}"' in RunDir(record.folder).events.read_text()


def _queue(job: str) -> str:
    """A job's state in Slurm's queue; "" when it is not in it."""
    return dict(line.split() for line in _said("squeue", "-h", "-o", "%i %T").splitlines()).get(job, "")


def _told(run: RunDir) -> RunState:
    return folder_progress(run, time.time(), time.time()).state


def _said(*words: str) -> str:
    return subprocess.run(words, capture_output=True, text=True, check=True).stdout.strip()


def _verdict(run: RunDir) -> str:
    status = run.read_status()
    return status.verdict if status else RunState.STARTING.value


def _compare(run: RunDir) -> tuple[int, int]:
    """Points that are missing here, and points that are here more than once."""
    record = read_record(run)
    assert record is not None
    there = RunDir(record.folder)
    wait_for(lambda: run.events.stat().st_size >= there.events.stat().st_size)
    steps = [event.step for event in EventReader(run.events).read_all() if isinstance(event, Metrics)]
    wanted = [event.step for event in EventReader(there.events).read_all() if isinstance(event, Metrics)]
    for name in SAME:
        if (there.path / name).exists() and (there.path / name).stat().st_size:
            assert (run.path / name).read_bytes() == (there.path / name).read_bytes(), name
    return len(set(wanted) - set(steps)), len(steps) - len(set(steps))


def main(names: list[str]) -> None:
    figures = (launch, latency, curve, kills, windows, alive, slurm)
    known: dict[str, Callable[[Path], None]] = {figure.__name__: figure for figure in figures}
    for name in names or known:
        with tempfile.TemporaryDirectory() as folder:
            known[name](Path(folder))
    print(json.dumps({"load": os.getloadavg()[0]}))


if __name__ == "__main__":
    main(sys.argv[1:])
