"""A sweep on two machines, whose window, trainers and searcher are killed at random moments, loses and repeats nothing.

``SDGUI_TRIALS=8`` before the command searches fewer trials.
"""

from __future__ import annotations

import json
import os
import random
import shlex
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest
from optuna.storages.journal._storage import JournalOperation

from core.spec.machines.machine import Machine
from core.spec.machines.machine_list import MachineList
from core.spec.run.events import Evaluated, EventReader
from core.spec.run.folder import RunDir
from core.spec.study.sweep import Sweep, key
from core.spec.study.sweep_report import SweepDir, trial_name
from core.studies.sweep.searcher import Searcher
from sdgui.store.store import Store
from tests.core.images import write_pairs
from tests.core.studies.sweep.test_sweep_files import RATE, sweep_dict
from tests.integration.test_study_kills import WINDOW
from tests.sshd import HOST, missing_programs, private_sshd

ROOT = Path(__file__).parents[2]
KILLS = ["window"] * 3 + ["trainer"] * 4 + ["searcher"] * 3
TRIALS = int(os.environ.get("SDGUI_TRIALS", "40"))
STEPS, PATIENCE = 8, 1800.0  # seconds
SHORT = ["validation.every_steps=2", "checkpoint.every_steps=2", "optim.batch_size=12"]
RULE = {"kind": "asha", "first_step": 2, "reduction": 2}
SPACE = {"optim.learning_rate": RATE, "optim.weight_decay": {"low": 0.0, "high": 0.5}}
TRAINERS = ("core.studies.study.job", "core.studies.study.places.remote_main")


class Search:
    """A sweep on this computer and on ``far``, with a window that follows it."""

    def __init__(self, folder: Path, ssh: str) -> None:
        self.folder, self.home, self.out = folder, folder / "home", SweepDir(folder / "home" / "studies" / "rates")
        write_pairs(folder)
        setup = f"export PYTHONPATH={shlex.quote(str(ROOT))} OMP_NUM_THREADS=1"
        MachineList(self.home).put(
            Machine(name="far", host=HOST, python=sys.executable, setup=setup, runs=str(folder / "far"))
        )
        raw = sweep_dict(
            space=SPACE, set=SHORT, steps=STEPS, trials=TRIALS, early_stopping=RULE, machines=["here", "far"]
        )
        self.sweep = Sweep.model_validate(raw).absolute(folder)
        (folder / "sweep.json").write_text(self.sweep.to_json())
        self.out.path.mkdir(parents=True)
        store = Store.open(self.home)
        store.add_study(self.out.path, "rates")
        store.close()
        self._environment = os.environ | {"OMP_NUM_THREADS": "1", "SDGUI_SSH": ssh}
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self.killed: list[str] = []  # trials whose trainer was killed

    def start(self, name: str) -> None:
        arguments = {
            "searcher": ["-m", "core", "sweep", "run", str(self.folder / "sweep.json"), str(self.out.path), "--home"],
            "window": ["-c", WINDOW],
        }[name]
        with (self.folder / f"{name}.log").open("ab") as log:
            self.processes[name] = subprocess.Popen(
                [sys.executable, *arguments, str(self.home)], stdout=log, stderr=log, env=self._environment
            )

    def kill(self, name: str, draw: random.Random) -> str:
        """Kill the window, the searcher or one trainer; returns which."""
        if name == "trainer":
            trainers = self.trainers()
            trainer = draw.choice(trainers) if trainers else None
            with suppress(psutil.NoSuchProcess):
                if trainer is not None:
                    arm = trainer.cmdline()[-3]
                    trainer.kill()
                    self.killed.append(arm)
                    return f"the trainer of {arm}"
            return "no trainer"
        self.processes[name].kill()
        self.processes[name].wait()
        self.start(name)
        return name

    def trainers(self) -> list[psutil.Process]:
        """On both machines."""
        trainers = []
        for process in psutil.process_iter():
            with suppress(psutil.Error):
                command = process.cmdline()
                if any(module in command for module in TRAINERS) and str(self.folder) in " ".join(command):
                    trainers.append(process)
        return trainers

    def settled(self) -> int:
        report = self.out.read_report()
        return sum(trial.state != "running" for trial in report.trials) if report else 0

    def close(self) -> None:
        for process in self.processes.values():
            process.kill()
            process.wait()
        for trainer in self.trainers():
            trainer.kill()


@pytest.fixture
def search(tmp_path: Path) -> Iterator[Search]:
    if missing := missing_programs():
        pytest.skip(f"openssh is not installed here: {missing}")
    with private_sshd(tmp_path / "sshd") as sshd:
        search = Search(tmp_path, sshd.ssh)
        yield search
        search.close()


@pytest.mark.slow
def test_a_killed_search_has_the_trials_of_one_that_was_never_killed(search: Search) -> None:
    draw, until = random.Random(0), time.monotonic() + PATIENCE
    kills = draw.sample(KILLS, len(KILLS))
    search.start("window")
    search.start("searcher")
    for index, name in enumerate(kills):
        while search.settled() * (len(kills) + 1) < index * TRIALS or not search.trainers():
            assert time.monotonic() < until
            assert search.processes["searcher"].poll() is None, (search.folder / "searcher.log").read_text()[-2000:]
            time.sleep(0.1)
        time.sleep(draw.uniform(0.0, 6.0))
        print(f"{search.settled()} of {TRIALS} trials have ended; killed: {search.kill(name, draw)}", flush=True)
    assert search.processes["searcher"].wait(PATIENCE) == 0, (search.folder / "searcher.log").read_text()[-2000:]
    report = search.out.read_report()
    assert report is not None
    assert [trial.number for trial in report.trials] == list(range(TRIALS))
    assert {trial.state for trial in report.trials} == {"complete", "stopped early"}
    assert len({key(trial.params) for trial in report.trials}) == TRIALS
    names = [f"{trial_name(number)}-s0" for number in range(TRIALS)]
    assert sorted(folder.name for folder in search.out.runs.iterdir()) == sorted(names)
    status = search.out.read_status()
    assert status is not None
    assert {run.machine for run in status.runs} == {"", "far"}
    assert {run.state for run in status.runs} == {"done"}
    check_journal(search)
    check_curves(search)
    check_store(search, names)


def check_journal(search: Search) -> None:
    """Each proposal and each decision is what a new searcher makes of the lines before it."""
    lines = search.out.journal.read_bytes().splitlines(keepends=True)
    scratch, proposals, decisions = search.folder / "replayed.jsonl", 0, 0
    for index, line in enumerate(lines):
        entry = json.loads(line)
        if entry["op_code"] == JournalOperation.CREATE_TRIAL:
            scratch.write_bytes(b"".join(lines[:index]))
            searcher = Searcher(search.sweep, scratch)
            number = searcher.propose()
            assert number == proposals
            recorded = Searcher(search.sweep, search.out.journal).trials()[number].params
            assert searcher.trials()[number].params == recorded
            proposals += 1
        elif (decision := entry.get("user_attr", {}).get("early_stopping")) is not None:
            scratch.write_bytes(b"".join(lines[:index]))
            searcher = Searcher(search.sweep, scratch)
            number, step = entry["trial_id"], decision["step"]
            value = searcher.trials()[number].intermediate_values[step]
            assert searcher.report(number, step, value) is decision["stop"]
            decisions += 1
    print(f"{proposals} proposals and {decisions} decisions replayed", flush=True)
    assert proposals == TRIALS


def check_curves(search: Search) -> None:
    """What a killed run validated twice is equal, and so is what the same trials measure without kills."""
    runs = {folder.name: validated(RunDir(folder)) for folder in search.out.runs.iterdir()}
    assert search.killed
    for arm in dict.fromkeys(search.killed):
        alone, name = search.folder / "alone", f"{arm}-s0"
        (alone / "runs").mkdir(parents=True, exist_ok=True)
        (alone / "study.json").write_bytes(search.out.study.read_bytes())
        RunDir(alone / "runs" / name).create()
        job = [sys.executable, "-m", "core.studies.study.job", str(alone), arm, "0", str(STEPS)]
        subprocess.run(job, check=True, capture_output=True, env=os.environ | {"OMP_NUM_THREADS": "1"})
        undisturbed = validated(RunDir(alone / "runs" / name))
        assert runs[name].items() <= undisturbed.items()


def validated(run: RunDir) -> dict[int, Any]:
    """Step -> values, which are equal whenever a step was validated again."""
    values = dict[int, Any]()
    for event in EventReader(run.events).read_all():
        if isinstance(event, Evaluated):
            now = {name: value for name, value in event.values.items() if "second" not in name}
            assert values.setdefault(event.step, now) == now
    return values


def check_store(search: Search, names: list[str]) -> None:
    """The window lists each run once."""
    store, until = Store.open(search.home), time.monotonic() + PATIENCE
    while len(store.runs()) < len(names) and time.monotonic() < until:
        time.sleep(0.5)
    assert sorted(run.folder.name for run in store.runs()) == sorted(names)
    store.close()
