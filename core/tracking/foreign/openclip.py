"""Reads runs of open_clip's training: folders of logs with ``params.txt``.

With ``--report-to tensorboard``, the metrics come from the folder ``tensorboard``, at the steps that TensorBoard
shows; otherwise from ``out.log`` and ``checkpoints/results.jsonl``, at steps as its W&B logger counts them
(open_clip_train/train.py).
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from core.tracking.foreign import tensorboard
from core.tracking.foreign.runs import (
    ForeignError,
    ForeignRun,
    Part,
    Position,
    as_number,
    as_step,
    lenient_json,
    named_after,
    new_lines,
    plain_values,
    small_text,
)

TOOL = "open_clip"
_PARAMS, _LOG, _RESULTS, _EVENTS = "params.txt", "out.log", Path("checkpoints/results.jsonl"), "tensorboard"
_TRAIN = re.compile(r"^(\S+) \|.*Train Epoch: (\d{1,9}) \[ *(\d{1,15})/(\d{1,15}) ")
_VALUE = re.compile(r"\b([A-Z]\w*(?: Scale)?): ?([-+.\w]+)")
_NAMES = {"LR": "lr", "Logit Scale": "scale"}


def find(folder: Path, files: set[str], root: Path) -> list[ForeignRun]:
    """The run in ``folder``, if the folder contains open_clip's parameters and log."""
    if _PARAMS not in files or not (files & {_LOG} or (folder / _EVENTS).is_dir()):
        return []
    with suppress(OSError, ForeignError):
        if "world_size" in plain_values(small_text(folder / _PARAMS, root)):
            return [ForeignRun(TOOL, folder, root, *named_after(folder, root))]
    return []


def read(run: ForeignRun, position: Position) -> Iterator[Part]:
    """The config in the first part, then new metrics."""
    config = plain_values(small_text(run.path / _PARAMS, run.root))
    position = dict(position)
    if not position:
        yield Part(config=config)
    if (run.path / _EVENTS).is_dir() and not (run.path / _EVENTS).is_symlink():
        events = ForeignRun(TOOL, run.path / _EVENTS, run.root, run.name, run.project)
        for part in tensorboard.read(events, position.get(_EVENTS, {})):
            part.position = {**position, _EVENTS: part.position}
            yield part
        return
    batch = 1
    for name in ("batch_size", "world_size", "accum_freq"):
        batch *= as_step(config.get(name)) or 1
    yield from _read_log(run, position, max(1, batch))
    yield from _read_results(run, position)


def _read_log(run: ForeignRun, position: Position, batch: int) -> Iterator[Part]:
    with suppress(FileNotFoundError):
        for lines, offset in new_lines(run.path / _LOG, run.root, position.get("log", 0)):
            part = Part()
            for line in lines:
                text = line[:10_000].decode("utf-8", "replace")
                if match := _TRAIN.match(text):
                    epoch, samples, all_samples = (int(number) for number in match.groups()[1:])
                    position["batches"] = max(1, all_samples // batch)
                    step = position["batches"] * epoch + max(0, samples // batch - 1)
                    part.add(step, _time(match[1]), _values(text[match.end() :]))
            position["log"] = offset
            part.position = dict(position)
            yield part


def _read_results(run: ForeignRun, position: Position) -> Iterator[Part]:
    with suppress(FileNotFoundError):
        path = run.path / _RESULTS
        written = path.stat().st_mtime
        for lines, offset in new_lines(path, run.root, position.get("results", 0)):
            part = Part()
            for line in lines:
                row = lenient_json(line)
                if isinstance(row, dict) and (epoch := as_number(row.get("epoch"))) is not None:
                    values = {f"val/{name}": value for name, value in row.items() if name != "epoch"}
                    part.add(epoch * position.get("batches", 1), written, values)
            position["results"] = offset
            part.position = dict(position)
            yield part


def _values(text: str) -> dict[str, Any]:
    """Parse learning rate, scale and losses: "LR: 0.000500 Logit Scale: 14.2 Loss: 2.1 (2.4)"."""
    values = {}
    for name, number in _VALUE.findall(text):
        if name in _NAMES or name.lower().endswith("loss"):
            with suppress(ValueError):
                values[f"train/{_NAMES.get(name, name.lower())}"] = float(number)
    return values


def _time(text: str) -> float:
    """Seconds since the epoch of "2024-05-01,12:30:00", in local time; 0 for other text."""
    with suppress(ValueError, OverflowError):
        return time.mktime(time.strptime(text, "%Y-%m-%d,%H:%M:%S"))
    return 0.0
