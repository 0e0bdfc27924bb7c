"""The example of docs/howto/sweep.md, run as it stands but for its size."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import pytest

from core.__main__ import main
from core.spec.config import read_config
from core.spec.study import StudyDir, read_study
from core.spec.study.sweep import read_sweep
from core.spec.study.sweep_report import SweepDir
from tests.core.images import write_pairs
from tests.test_docs import DOCS, commands_of

PAGE = DOCS / "howto" / "sweep.md"
SMALL = {"size": "tiny", "steps": 4, "trials": 3, "set": ["validation.every_steps=2", "optim.batch_size=12"]}


def test_the_example_is_a_sweep(tmp_path: Path) -> None:
    sweep = read_sweep(example(tmp_path))
    assert set(sweep.space) == {"optim.learning_rate", "optim.weight_decay"}
    sweep.check_space()


def example(folder: Path, **change: object) -> Path:
    (block,) = re.findall(r"^```json\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.M | re.S)
    (folder / "lr.json").write_text(json.dumps(json.loads(block) | change))
    return folder / "lr.json"


@pytest.mark.slow
def test_the_example_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    write_pairs(tmp_path / "pairs")
    example(tmp_path, **SMALL)
    commands = [shlex.split(command, comments=True)[1:] for command in commands_of(PAGE)]
    assert [command[1] for command in commands] == ["run", "show", "best", "run", "confirm"]
    for command in commands:
        assert main(["4" if word == "30" else word for word in command]) == 0
    report = SweepDir(tmp_path / "sweeps" / "lr").read_report()
    assert report is not None
    assert [one.state for one in report.trials] == ["complete"] * 4
    best = read_config(tmp_path / "best.json")
    assert best.optim.learning_rate in [one.params["optim.learning_rate"] for one in report.trials]
    confirmed = StudyDir(tmp_path / "sweeps" / "lr" / "confirm")
    study, results = read_study(confirmed.study), confirmed.read_results()
    assert results is not None
    assert (len(study.arms), study.seeds, len(results["compare"])) == (3, [1, 2, 3], 2)
    assert all(arm["seeds"] == study.seeds for arm in results["arms"].values())
    assert {one["equal"] for one in results["compare"]} == {"budget"}
    assert "default" in capsys.readouterr().out
