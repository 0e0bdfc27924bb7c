"""Settings for training every preset over ranks, with everything enabled that depends on the whole batch."""

from __future__ import annotations

from pathlib import Path

from core.spec.config import RunConfig, override
from core.spec.errors import UserError
from core.spec.presets import preset_config
from core.spec.run.folder import RunDir
from core.training.train import train
from tests.core.images import write_pairs
from tests.core.variants import variant_config, weights_to_start_from

WEIGHTED = ["noise.self_confidence=0.5"]
MIXED = ["views.student.mix=either"]


def labelled_pairs(folder: Path) -> Path:
    """``train.csv`` of the coloured shapes with their group."""
    manifest, _ = write_pairs(folder)
    lines = manifest.read_text().splitlines()
    labelled = [f"{lines[0]},group", *(f"{line},{line.split()[2]}" for line in lines[1:])]
    manifest.write_text("\n".join(labelled) + "\n")
    return manifest


def former_run(data: Path, folder: Path) -> Path:
    """A run of one epoch with a classifier, as the frozen teacher of some presets."""
    settings = [f"data.train={data}", "data.label=group", "objectives.classification.weight=1", "runtime.threads=1"]
    config = override(preset_config("clip", "tiny"), [*settings, "optim.batch_size=12", "optim.epochs=1"])
    train(config, RunDir(folder), quiet=True)
    return folder


def config_of(preset: str, data: Path, former: Path, *settings: str) -> RunConfig:
    """The preset in fp32 on the CPU, with a batch divisible by 2, 3 and 4 ranks (4 if it also has unlabelled rows).

    Pairs are weighted by self-confidence, and views interpolated, wherever its objectives allow it.
    """
    config = variant_config(preset)
    size = 4 if config.data.unlabelled_ratio else 12
    given = [
        f"data.train={data}", f"optim.batch_size={size}", "runtime.threads=1", "runtime.precision=fp32",
        "runtime.device=cpu", "optim.epochs=8", "optim.warmup=0.5", "optim.learning_rate=0.0001",
    ]  # fmt: skip
    if config.teacher.kind == "frozen":
        given.append(f"teacher.checkpoint={former}")
    elif config.teacher.kind == "initial":
        given.append(f"towers.pretrained={weights_to_start_from(config, data.parent)}")
    elif config.teacher.kind != "none":
        given.append("teacher.momentum=0.9")
    config = override(config, [*given, *settings])
    for more in (WEIGHTED, MIXED):
        try:
            config = override(config, more)
        except UserError:  # a contradiction: it has no pairs, no teacher, or no such views
            continue
    return override(config, list(settings))
