"""Shards as every verb meets them: written, trained on and resumed, evaluated, indexed, ranked."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from core.__main__ import main
from core.data.sources.opening import open_source
from core.spec.config import RunConfig, override
from core.spec.presets import preset_config
from core.spec.run.events import Evaluated, EventReader, RunFinished
from core.spec.run.folder import RunDir
from core.training.train import train
from tests.core.images import write_pairs
from tests.core.run_files import losses, weights
from tests.core.training.test_train import StopAt, equal


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    """Patterns of training and validation shards, written by the verb."""
    folder = tmp_path_factory.mktemp("shards")
    for name, manifest, rows in zip(("train", "val"), write_pairs(folder / "pairs"), ("10", "100"), strict=True):
        assert main(["shard", str(manifest), str(folder / name), "--rows", rows, "--shuffle", "3"]) == 0
    return str(folder / "train" / "{00000..00003}.tar"), str(folder / "val")


def config_for(shards: tuple[str, str], *settings: str) -> RunConfig:
    paths = [f"data.train={shards[0]}", f"data.val={shards[1]}", "optim.epochs=2", "optim.batch_size=12"]
    paths += ["runtime.threads=1"]
    return override(preset_config("clip", "tiny"), [*paths, *settings])


@pytest.fixture(scope="module")
def run(shards: tuple[str, str], tmp_path_factory: pytest.TempPathFactory) -> RunDir:
    run = RunDir(tmp_path_factory.mktemp("run") / "run")
    train(config_for(shards), run, quiet=True)
    return run


def test_a_run_on_shards_trains_validates_and_learns(run: RunDir) -> None:
    events = EventReader(run.events).read_all()
    assert isinstance(events[-1], RunFinished)
    assert events[-1].outcome == "done"
    assert sum(isinstance(event, Evaluated) for event in events) == 2
    steps = losses(run)
    assert len(steps) == 6
    assert steps[6]["train/contrastive"] < steps[1]["train/contrastive"]


def test_resumed_equals_uninterrupted_bit_for_bit(
    shards: tuple[str, str], run: RunDir, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also with loader processes from there on."""
    resumed = RunDir(tmp_path / "run")
    with monkeypatch.context() as patch:
        StopAt(patch, 4, "pause")
        assert train(config_for(shards), resumed, quiet=True) == "paused"
    assert train(config_for(shards, "data.workers=2"), resumed, quiet=True) == "done"
    assert losses(resumed) == losses(run)
    assert equal(weights(resumed), weights(run))


def test_every_verb_takes_shards(
    shards: tuple[str, str], run: RunDir, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["evaluate", str(run.path), "--data", shards[1], "--task", "retrieval", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)
    assert main(["index", str(run.path), shards[1], str(tmp_path / "index"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["images"] == 12
    assert main(["search", str(tmp_path / "index"), "--text", "a red circle", "-k", "3", "--json"]) == 0
    found = capsys.readouterr().out
    assert ".tar/" in found
    assert main(["noise", str(run.path), "--data", shards[0], "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["pairs"] == 36


def test_a_manifest_may_name_images_in_shards(shards: tuple[str, str], tmp_path: Path) -> None:
    rows = open_source(shards[0]).rows
    root = Path(shards[0]).parent
    manifest = root / "chosen.csv"
    lines = [f"{Path(row.file).relative_to(root)},a new caption" for row in rows[:3]]
    manifest.write_text("\n".join(["filepath,title", *lines, "00000.tar/999999999+5/x.png,a dog"]), encoding="utf-8")
    source = open_source(manifest)
    manifest.unlink()
    assert [row.file for row in source.rows] == [row.file for row in rows[:3]]
    assert len(source.bad) == 1
