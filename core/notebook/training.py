"""Training from a notebook, in the notebook's process.

config = core.preset("sd-clip", "demo", {"data.train": "pairs/train.csv", "optim.epochs": 2})
core.train(config, "runs/first")  # after an interruption, the same call resumes from the last checkpoint
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from core.custom.callbacks import Callback
from core.spec.config import RunConfig, override, validate, with_absolute_paths
from core.spec.errors import UserError
from core.spec.extending.references import PASSED_OBJECT
from core.spec.presets import Size, preset_config
from core.spec.run.code import CodeUse
from core.spec.run.events import Outcome
from core.spec.run.folder import RunDir
from core.training.train import train as train_run

__all__ = ["Callback", "preset", "train"]

Loss = nn.Module | Callable[..., Tensor]
SPLITS = ("train", "val", "test")


def preset(name: str, size: Size = "base", settings: Mapping[str, object] | None = None) -> RunConfig:
    """The config of the preset ``name`` with ``settings`` (field -> value, like ``--set``).

    Raises ConfigError for an unknown preset or field, suggesting similar names, and for an invalid value.
    """
    assignments = [f"{field}={_text(value)}" for field, value in (settings or {}).items()]
    return override(preset_config(name, size), assignments)


def train(
    config: RunConfig | Mapping[str, Any],
    folder: str | Path,
    *,
    objectives: Sequence[Loss | tuple[Loss, float]] = (),
    dataset: Any = None,
    callbacks: Sequence[Callback] = (),
    code: CodeUse = "check",
    quiet: bool = False,
) -> Outcome:
    """Train ``config`` (a RunConfig, or nested dicts as in a ``config.json``) in the run folder ``folder``.

    ``objectives``: additional losses, each alone (weight 1) or with its weight, as in ``objectives.custom``.
    ``dataset``: a training data set, or {"train": ..., "val": ..., "test": ...}, instead of files. To resume, pass the
    same losses and data again: the run folder records only their names. ``code``: policy for code files that changed
    since the run began.

    Resumes from the newest checkpoint in ``folder``. Returns "done", "stopped" (by Ctrl+C or the window) or "paused".
    The window can import and watch the folder. Raises UserError if the config contradicts itself, the data cannot be
    read, or the folder belongs to a different config.
    """
    if isinstance(config, Mapping):
        config = validate(dict(config), "the config")
    elif not isinstance(config, RunConfig):
        raise UserError(
            f"config must be a RunConfig, such as core.preset(...), or a dict, not {type(config).__name__}."
        )
    for callback in callbacks:
        if not isinstance(callback, Callback):
            raise UserError(f"{type(callback).__name__} is not a core.Callback; make it a subclass.")
    raw, python_objects = config.model_dump(mode="json"), dict[str, Any]()
    for item in objectives:
        loss, weight = item if isinstance(item, tuple) else (item, 1.0)
        name = getattr(loss, "__name__", type(loss).__name__)
        if name in python_objects:
            raise UserError(f"two objectives are called {name}; rename one of them.")
        python_objects[name] = loss
        raw["objectives"]["custom"][f"{PASSED_OBJECT}:{name}"] = {"weight": weight}
    if dataset is not None:
        splits = dict(dataset) if isinstance(dataset, Mapping) else {"train": dataset}
        if unknown := [name for name in splits if name not in SPLITS]:
            raise UserError(f"unknown key {unknown[0]!r} in dataset; use {', '.join(SPLITS)}.")
        python_objects["dataset"] = _dataset_function(splits)
        raw["data"] |= {"dataset": f"{PASSED_OBJECT}:dataset", **{name: name for name in splits}}
    run = RunDir(Path(folder).absolute())
    config = with_absolute_paths(validate(raw, "the config"))
    return train_run(config, run, quiet=quiet, code_policy=code, python_objects=python_objects, callbacks=callbacks)


def _dataset_function(splits: Mapping[str, Any]) -> Callable[[str], Any]:
    """A ``data.dataset`` function that returns the data sets passed to `train`."""

    def find(name: str) -> Any:
        if name not in splits:
            raise UserError(
                f"the config refers to the data set {name!r}, but dataset only has {', '.join(splits)}; add it to "
                "dataset."
            )
        return splits[name]

    return find


def _text(value: object) -> str:
    return os.fspath(value) if isinstance(value, (str, os.PathLike)) else json.dumps(value)
