"""What *Reproduce* says: prepared, and what cannot be the same now; with the trainer's real program."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import core
from core.spec.config import override
from core.spec.errors import UserError
from core.spec.presets import preset_config
from core.spec.run.folder import RunDir
from core.spec.run.provenance import write_provenance
from sdgui.experiments.reproducing import message_of, read_report
from tests.core.images import write_pairs


def test_a_trainers_run_names_what_is_not_the_same_now(tmp_path: Path) -> None:
    data = write_pairs(tmp_path / "pairs")
    run = RunDir(tmp_path / "run")
    run.create()
    config = override(preset_config("clip", "tiny"), [f"data.train={data[0]}"])
    run.config.write_text(config.to_json(), encoding="utf-8")
    write_provenance(run, {"packages": {"numpy": "0.1"}, "data": {"train": {"number of images": "7"}}})
    report = read_report(run.path)
    assert report.config == config
    message = message_of(report)
    assert message.level == "warning"
    assert "such as data.train.number of images: 7 then," in message.text
    assert "packages.numpy: 0.1 then" in message.details


def test_a_logged_run_says_how_to_repeat_its_script(tmp_path: Path) -> None:
    logged = core.start_run("x", folder=tmp_path / "run", system_seconds=0, record_code=False)
    logged.finish()
    provenance = json.loads((tmp_path / "run" / "provenance.json").read_text(encoding="utf-8"))
    provenance |= {"command": ["python", "train.py"], "code": {"commit": "abc", "diff": "source/working-tree.diff"}}
    write_provenance(RunDir(tmp_path / "run"), provenance)
    report = read_report(tmp_path / "run")
    assert report.steps == (
        "git checkout abc",
        f"git apply {tmp_path / 'run'}/source/working-tree.diff",
        "python train.py",
    )
    assert "To repeat the script, run:" in message_of(report).details


def test_a_run_that_recorded_nothing_is_said_in_a_sentence(tmp_path: Path) -> None:
    run = RunDir(tmp_path / "run")
    run.create()
    run.config.write_text(preset_config("clip", "tiny").to_json(), encoding="utf-8")
    with pytest.raises(UserError, match="has no record of its code and packages"):
        read_report(run.path)
