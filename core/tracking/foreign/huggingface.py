"""Reads runs of Hugging Face's Trainer: output folders with ``trainer_state.json``, which may be in a checkpoint.

Each state has the whole history, so the newest is used. ``training_args.bin`` is a pickle and is not opened. Points
have the time at which the file was written.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from core.spec.reading import MEGABYTE, read_bytes
from core.tracking.foreign.runs import (
    ForeignError,
    ForeignRun,
    Part,
    Position,
    ReplacedError,
    as_step,
    as_text,
    lenient_json,
    named_after,
)

TOOL = "transformers"
_NAME = "trainer_state.json"
_MAX_FILE_BYTES = 32 * MEGABYTE
_CHECKPOINT = re.compile(r"checkpoint-\d{1,15}")


def find(folder: Path, files: set[str], root: Path) -> list[ForeignRun]:
    """The run in ``folder``, if the folder or a checkpoint in it contains a trainer's state."""
    if _CHECKPOINT.fullmatch(folder.name) and folder != root:
        return []  # the run is the folder above
    if _newest(folder, root) is None:
        return []
    return [ForeignRun(TOOL, folder, root, *named_after(folder, root))]


def read(run: ForeignRun, position: Position) -> Iterator[Part]:
    """The new entries of the history. A trainer that resumed from an older checkpoint has a different history."""
    path = _newest(run.path, run.root)
    if path is None or (stamp := f"{as_text(str(path))} {path.stat().st_mtime_ns}") == position.get("file"):
        return
    if (state := _state(path, run.root)) is None:
        return
    history, count = state["log_history"], position.get("entries", 0)
    if len(history) < count or (count and _digest(history[:count]) != position.get("digest")):
        raise ReplacedError
    part = Part(position={"entries": len(history), "digest": _digest(history), "file": stamp})
    time = path.stat().st_mtime
    for entry in history[count:]:
        if isinstance(entry, dict):
            values = {with_split_prefix(str(name)): value for name, value in entry.items() if name != "step"}
            part.add(entry.get("step"), time, values)
    names = ("max_steps", "num_train_epochs", "train_batch_size", "trial_name", "trial_params")
    part.config = {name: state[name] for name in names if state.get(name) is not None}
    max_steps, step = as_step(state.get("max_steps")), as_step(state.get("global_step"))
    part.state = "done" if max_steps and step and step >= max_steps else "running"
    yield part


def with_split_prefix(name: str) -> str:
    """Rename ``eval_loss`` to ``eval/loss`` and ``loss`` to ``train/loss``, since panels group metrics by prefix."""
    split, _, rest = name.partition("_")
    return f"{split}/{rest}" if split in ("train", "eval", "test") and rest else f"train/{name}"


def _newest(folder: Path, root: Path) -> Path | None:
    """The newest readable state, from the folder or its last checkpoint."""
    checkpoints = [path for path in folder.glob("checkpoint-*") if _CHECKPOINT.fullmatch(path.name)]
    newest = sorted(checkpoints, key=lambda path: int(path.name.rpartition("-")[2]), reverse=True)[:2]
    paths = [path for path in (folder / _NAME, *(path / _NAME for path in newest)) if _state(path, root)]
    return max(paths, key=lambda path: path.stat().st_mtime_ns, default=None)


def _state(path: Path, root: Path) -> dict[str, Any] | None:
    """The state in ``path``; None if the file is missing or is being written."""
    try:
        state = lenient_json(read_bytes(path, _MAX_FILE_BYTES, root=root, error=ForeignError))
    except (OSError, ForeignError):
        return None
    return state if isinstance(state, dict) and isinstance(state.get("log_history"), list) else None


def _digest(history: list[Any]) -> str:
    return hashlib.sha256(json.dumps(history).encode()).hexdigest()[:16]
