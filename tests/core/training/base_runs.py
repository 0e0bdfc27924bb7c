"""A small run to fine-tune from."""

from __future__ import annotations

from pathlib import Path

from core.spec.config import override
from core.spec.presets import preset_config
from core.spec.run.folder import RunDir
from core.training.train import train


def train_base(data: Path, folder: Path, epochs: int) -> RunDir:
    """A ``clip`` of size ``tiny``, trained on ``data``."""
    run = RunDir(folder)
    settings = [f"data.train={data}", f"optim.epochs={epochs}", "optim.batch_size=12", "runtime.threads=1"]
    assert train(override(preset_config("clip", "tiny"), settings), run, quiet=True) == "done"
    return run
