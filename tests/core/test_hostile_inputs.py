"""Run folders, records, shard indexes, manifests, logs and names of anybody: nothing runs, is contacted or grows."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

MOST_MIB = 300


@pytest.mark.parametrize("each", [5, pytest.param(20, marks=pytest.mark.ci), pytest.param(450, marks=pytest.mark.slow)])
def test_hostile_inputs_are_read_or_refused_and_have_no_effect(tmp_path: Path, each: int) -> None:
    command = [sys.executable, "-W", "ignore", "-m", "tests.core.hostile_inputs", str(tmp_path), str(each)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-4000:]
    report = json.loads(done.stdout.splitlines()[-1])
    assert report["inputs"] > 7 * each
    assert {name: report[name] for name in ("programs", "contacts", "written", "exceptions")} == {
        "programs": [], "contacts": [], "written": [], "exceptions": [],
    }  # fmt: skip
    assert report["peak_mib"] - report["before_mib"] < MOST_MIB
