"""Training from a notebook: a config as a Python object, trained in this very process.

config = core.preset("sd-clip", "demo", {"data.train": "pairs/train.csv", "optim.epochs": 2})
core.train(config, "runs/first")  # interrupt it and call it again: it resumes from its last checkpoint
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from core.spec.config import RunConfig, override, validate, with_absolute_paths
from core.spec.errors import UserError
from core.spec.presets import Size, preset_config
from core.spec.run.events import Outcome
from core.spec.run.folder import RunDir
from core.training.train import train as train_in

__all__ = ["preset", "train"]


def preset(name: str, size: Size = "base", settings: Mapping[str, object] | None = None) -> RunConfig:
    """The preset ``name`` with ``settings`` (field -> value, as ``--set`` takes them).

    Raises ConfigError for an unknown preset or field and for a value that does not fit, naming the nearest.
    """
    words = [f"{field}={_text(value)}" for field, value in (settings or {}).items()]
    return override(preset_config(name, size), words)


def train(config: RunConfig | Mapping[str, Any], folder: str | Path, *, quiet: bool = False) -> Outcome:
    """Train ``config``, a RunConfig or nested dicts as in a ``config.json``, in the run folder ``folder``, from its
    newest checkpoint if it has one; how it ended: "done", "stopped" (by Ctrl+C, or by the window) or "paused".

    The window imports and watches the folder like any other. Raises UserError when the config contradicts itself,
    data cannot be read, or the folder belongs to another config.
    """
    if isinstance(config, Mapping):
        config = validate(dict(config), "the config")
    elif not isinstance(config, RunConfig):
        raise UserError(f"the config is {type(config).__name__}; give core.preset(...), or nested dicts of its fields.")
    run = RunDir(Path(folder).absolute())
    return train_in(with_absolute_paths(config), run, quiet=quiet)


def _text(value: object) -> str:
    return os.fspath(value) if isinstance(value, (str, os.PathLike)) else json.dumps(value)
