"""The parent of a run: the checkpoint of another run that it continues, forks or fine-tunes."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from core.spec.config import RunConfig, differences, override, read_config
from core.spec.errors import UserError
from core.spec.reading import excerpt
from core.spec.run.folder import RunDir
from core.spec.run.model_names import locate_run

_ALWAYS_DIFFERENT = ("name", "towers.pretrained", "towers.weights", "towers.start")


def parent_of(config: RunConfig) -> dict[str, Any]:
    """The ``run``, ``folder``, ``step`` and ``kind`` of the parent in ``config``; {} if there is no parent.

    ``kind``: "continue" (state, same settings), "fork" (state, changed settings) or "fine-tune" (weights only). Raises
    UserError if the parent has no such checkpoint.
    """
    source = locate_run(config.towers.pretrained, config.towers.weights) if config.towers.pretrained else None
    if source is None:
        return {}
    kind = "fine-tune"
    if config.towers.start == "state":
        kind = "fork"
        with suppress(UserError):
            changed = differences(config, read_config(source.run.config))
            kind = "fork" if changed.keys() - set(_ALWAYS_DIFFERENT) else "continue"
    step = int("0" + source.checkpoint.rpartition("-")[2])
    return {"run": source.run.path.name, "folder": str(source.run.path), "step": step, "kind": kind}


def started_from(config: RunConfig, run: RunDir, checkpoint: str, kind: str) -> RunConfig:
    """The config of a run that continues, forks or fine-tunes the run with ``config`` from ``checkpoint``.

    Raises ConfigError if the settings contradict each other.
    """
    state = kind != "fine-tune"
    start = f"towers.start={'state' if state else 'weights'}"
    weights = f"towers.weights={'student' if state else 'auto'}"
    return override(config, [f"towers.pretrained={run.path}@{checkpoint}", weights, start])


def parent_text(parent: Mapping[str, Any]) -> str:
    """A short description of the parent in an untrusted event: "fork of NAME at step 400"; "" if there is none."""
    run, step, kind = parent.get("run"), parent.get("step"), parent.get("kind")
    if not (isinstance(run, str) and type(step) is int and kind in ("continue", "fork", "fine-tune")):
        return ""
    relation = {"continue": "continues", "fork": "fork of", "fine-tune": "fine-tuned from"}[str(kind)]
    return f"{relation} {excerpt(run)} at step {step:,}"
