"""A sweep whose searcher and trainers are killed at random ends with the trials of one that was left alone."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from core.spec.study.sweep_report import SweepDir, SweepReport
from tests.core.images import write_pairs
from tests.core.studies.sweep.test_sweep_files import sweep_dict

KILLS = 10
SPACE = {
    "optim.learning_rate": {"low": 1e-5, "high": 1e-2, "log": True},
    "optim.weight_decay": {"choices": [0.0, 0.2]},
}
SHORT = ["validation.every_steps=2", "checkpoint.every_steps=2", "optim.batch_size=12"]


def start(folder: Path, out: SweepDir) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "core", "sweep", "run", str(folder / "sweep.json"), str(out.path)]
    with (folder / f"{out.path.name}.log").open("ab") as log:
        return subprocess.Popen(command, stdout=log, stderr=log, env=os.environ | {"OMP_NUM_THREADS": "1"})


def trainers(searcher: subprocess.Popen[bytes]) -> list[psutil.Process]:
    try:
        return [one for one in psutil.Process(searcher.pid).children() if "core.studies.study.job" in one.cmdline()]
    except psutil.Error:
        return []


def finished(folder: Path, out: SweepDir) -> SweepReport:
    searcher = start(folder, out)
    assert searcher.wait() == 0, (folder / f"{out.path.name}.log").read_text()
    report = out.read_report()
    assert report is not None
    return report


@pytest.mark.slow
def test_ten_kills_change_no_trial(tmp_path: Path) -> None:
    """Every third kill hits a trainer, the others the searcher; intermediate values and results are bit-identical."""
    write_pairs(tmp_path)
    rule = {"kind": "median", "first_trials": 2}
    sweep = sweep_dict(space=SPACE, set=SHORT, steps=12, trials=5, early_stopping=rule)
    (tmp_path / "sweep.json").write_text(json.dumps(sweep))
    undisturbed = finished(tmp_path, SweepDir(tmp_path / "undisturbed"))
    draw, out = random.Random(0), SweepDir(tmp_path / "killed")
    searcher = start(tmp_path, out)
    for kill in range(KILLS):
        until = time.monotonic() + draw.uniform(4.0, 16.0)
        while time.monotonic() < until and searcher.poll() is None:
            time.sleep(0.05)
        if kill % 3 == 2 and (working := trainers(searcher)):
            working[0].kill()
            continue
        searcher.kill()
        searcher.wait()
        searcher = start(tmp_path, out)
    searcher.kill()
    searcher.wait()
    report = finished(tmp_path, out)
    for one, other in zip(report.trials, undisturbed.trials, strict=True):
        assert one.model_dump(exclude={"started", "ended"}) == other.model_dump(exclude={"started", "ended"})
    assert report.best == undisturbed.best
    assert sorted(path.name for path in out.runs.iterdir()) == [f"trial-{number}-s0" for number in range(5)]
