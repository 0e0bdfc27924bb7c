"""Every preset trains at its tiny size: its loss falls, and resumed it equals the uninterrupted run bit for bit.

Those that compute nothing which another one does not are left to ``-m slow`` (``tests.core.variants``).
"""

from __future__ import annotations

import csv
import shutil
from pathlib import Path

import open_clip
import pytest
import torch

from core.model.towers.towers import resolve_architecture
from core.spec.config import RunConfig, override
from core.spec.presets import PRESETS, preset_config
from core.spec.run.folder import RunDir
from core.training.train import train
from tests.core.images import write_pairs
from tests.core.run_files import losses, weights
from tests.core.variants import CONTAINED, each_preset, is_contained, weights_to_start_from

pytestmark = pytest.mark.usefixtures("shared_cache")

STEPS = 9
SAVED = 7  # after this many steps the state is kept, from which the run is resumed
WINDOW = 3  # steps at either end whose losses are compared
QUICK = ("sd-coca", "sd-clip-adapt", "mixmatch", "dino", "albef")
CLASSES = ("circle", "square", "bar")
# What is to fall; of several losses the weighted sum may rise while their ramps do.
MAIN = ("train/contrastive", "train/classification", "train/loss")


@pytest.fixture(scope="session")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """36 pairs of coloured shapes; every label that a preset uses is the shape."""
    source, _ = write_pairs(tmp_path_factory.mktemp("preset-pairs"))
    with source.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    labels = sorted({preset_config(name, "tiny").data.label for name in PRESETS} - {""})
    with source.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, ["filepath", "title", *labels])
        writer.writeheader()
        for row in rows:
            shape = next(one for one in CLASSES if one in row["title"])
            writer.writerow(row | dict.fromkeys(labels, shape))
    return source


@pytest.fixture(scope="session")
def former(pairs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A trained run with a classifier, as the frozen teacher of some presets."""
    run = RunDir(tmp_path_factory.mktemp("former") / "run")
    label = next(name for name in pairs.read_text(encoding="utf-8").splitlines()[0].split(",")[2:])
    settings = [f"data.train={pairs}", f"data.label={label}", "objectives.classification.weight=1"]
    train(override(preset_config("clip", "tiny"), [*settings, "runtime.threads=1"]), run, quiet=True)
    return run.path


def run_config(name: str, pairs: Path, former: Path | None) -> RunConfig:
    """Preset ``name`` for ``STEPS`` steps on ``pairs``."""
    config = preset_config(name, "tiny")
    settings = [f"data.train={pairs}", "runtime.threads=1", f"checkpoint.every_steps={SAVED}", "checkpoint.keep=2"]
    rows = 36
    if config.data.unlabelled_ratio:
        rows -= len(CLASSES) * config.data.labels_per_class
        a_step = config.optim.batch_size * config.data.unlabelled_ratio
    else:
        a_step = 12
        settings.append(f"optim.batch_size={a_step}")
    settings.append(f"optim.epochs={STEPS / (rows // a_step)}")
    if config.teacher.kind == "frozen" and former is not None:
        settings.append(f"teacher.checkpoint={former}")
    if config.teacher.kind == "initial":
        settings.append(f"towers.pretrained={weights_to_start_from(config, pairs.parent)}")
    return override(config, settings)


@pytest.mark.parametrize("name", CONTAINED)
def test_a_contained_preset_is_contained(name: str) -> None:
    assert is_contained(name)


@pytest.mark.parametrize("name", each_preset(quick=QUICK))
def test_every_preset_trains_and_resumes(
    name: str, pairs: Path, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    needs_former = preset_config(name, "tiny").teacher.kind == "frozen"
    config = run_config(name, pairs, request.getfixturevalue("former") if needs_former else None)
    whole, resumed = RunDir(tmp_path / "whole"), RunDir(tmp_path / "resumed")
    assert train(config, whole, quiet=True) == "done"
    values = losses(whole)
    assert list(values) == list(range(1, STEPS + 1))
    main = next(metric for metric in MAIN if metric in values[1])
    course = [step[main] for step in values.values()]
    assert sum(course[-WINDOW:]) < sum(course[:WINDOW]), f"{main}: {course}"
    saved = f"step-{SAVED:08d}"
    resumed.create()
    shutil.copytree(whole.checkpoints / saved, resumed.checkpoints / saved)
    torch.manual_seed(987)  # what happened in between must not matter
    assert train(config, resumed, quiet=True) == "done"
    assert losses(resumed) == {step: found for step, found in values.items() if step > SAVED}
    ours, theirs = weights(resumed), weights(whole)
    assert ours.keys() == theirs.keys()
    assert [key for key in ours if not torch.equal(ours[key], theirs[key])] == []


@pytest.mark.parametrize("name", [name for name in PRESETS if preset_config(name, "base").towers.pretrained])
def test_published_initial_weights_fit_the_architecture(name: str) -> None:
    towers = preset_config(name, "base").towers
    published = open_clip.get_pretrained_cfg(towers.architecture, towers.pretrained)
    assert published
    model = resolve_architecture(towers.architecture)
    assert bool(published.get("quick_gelu")) == bool(model.get("quick_gelu"))
