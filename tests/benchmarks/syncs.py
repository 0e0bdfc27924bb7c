"""``python -m tests.benchmarks syncs``: how often a step of each preset makes the host wait for the device.

A device computes what it was told while the host goes on to tell it more. Whatever asks it for a value (``.item()``,
``nonzero``, a boolean mask as an index, a copy to the host) makes the host wait until all before is done. The step is
run on the ``meta`` device, which has shapes and no values, on any machine: what would need one is counted, and answered
with a value that was made up.
"""

from __future__ import annotations

import csv
import tempfile
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from core.bench.results import BenchResult, result
from core.checkpoint.opening import open_teachers
from core.data.dataset import PairDataset
from core.inference.encoder import Features
from core.model.network import Network
from core.model.runtime import Runtime
from core.spec.config import RunConfig, override
from core.spec.presets import PRESETS, preset_config
from core.spec.run.events import EventWriter
from core.spec.run.folder import RunDir
from core.training import assembly
from core.training.loop import Loop
from core.training.progress import Heartbeat
from core.training.train import train
from tests.core.variants import variant_config, weights_to_start_from

META = torch.device("meta")
PAIRS, CLASSES, SIDE = 48, 3, 40
_TORCHS_AUTOCAST = torch.autocast
STEPS = 1  # of each preset


class SyncCounter(TorchDispatchMode):
    """Counts, by its name, each operation on the meta device that a value would be needed for."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # torch's modes are untyped
        self.found: Counter[str] = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        name = str(func).removeprefix("aten.").split(".")[0]
        if not any(isinstance(leaf, Tensor) and leaf.device.type == "meta" for leaf in tree_leaves((args, kwargs))):
            self.found["copy to the device"] += _waits_on_the_way_there(name, args, kwargs)
            return func(*args, **kwargs)
        if name in ("_local_scalar_dense", "item", "is_nonzero", "equal"):
            self.found[name] += 1
            kind = args[0].dtype
            return True if kind == torch.bool else 1.0 if kind.is_floating_point else 1
        if name in ("nonzero", "masked_select", "_unique2", "unique_dim", "unique_consecutive"):
            self.found[name] += 1
            shape = (args[0].numel(), args[0].ndim) if name == "nonzero" else (args[0].numel(),)
            found = args[0].new_empty(shape, dtype=torch.int64 if name == "nonzero" else None)
            return (found, found.long(), found.long()) if "unique" in name else found
        if (
            name == "index_put_"
            and args[2].numel() == 1
            and all(one is None or one.dtype == torch.bool for one in args[1])
        ):
            return args[0]  # one value where a mask is true fills it
        if name in ("index", "index_put", "index_put_", "_index_put_impl_"):
            args = (args[0], [self._index(name, one) for one in args[1]], *args[2:])
        self.found["copy to the device"] += _waits_on_the_way_there(name, args, kwargs)
        if name == "_to_copy" and torch.device(kwargs.get("device") or META).type == "cpu":
            self.found["copy to the host"] += 1
            return torch.zeros(args[0].shape, dtype=kwargs.get("dtype") or args[0].dtype)
        return func(*args, **kwargs)

    def _index(self, name: str, index: Tensor | None) -> Tensor | None:
        """A boolean index, which would be asked where it is true, as one of numbers."""
        if index is None or index.dtype != torch.bool:
            return index
        self.found[f"{name} by a mask"] += 1
        return torch.zeros(index.shape[0], dtype=torch.int64, device=index.device)


def _waits_on_the_way_there(name: str, args: Any, kwargs: Any) -> bool:
    """Whether it is a copy from the host's memory to the device that is not only queued."""
    if name == "_to_copy":
        there = torch.device(kwargs.get("device") or args[0].device).type == "meta"
        return there and args[0].device.type == "cpu" and not kwargs.get("non_blocking", False)
    if name == "copy_" and args[0].device.type == "meta" and args[1].device.type == "cpu":
        return not (kwargs.get("non_blocking", False) or (len(args) > 2 and args[2]))
    return False


def run(peer: Path | None = None) -> list[BenchResult]:
    """A row for each preset; about half a minute."""
    with tempfile.TemporaryDirectory(prefix="sdgui-bench-") as folder:
        work = Path(folder)
        source = write_pairs(work / "pairs")
        former = former_run(source, work / "former")
        rows = []
        for name in PRESETS:
            counted = counted_syncs(run_config(name, source, former), work / name)
            rows.append(_row(name, counted))
        return rows


def _row(name: str, counted: Counter[str]) -> BenchResult:
    ways = ", ".join(f"{count} {what}" for what, count in sorted(counted.items()))
    title = f"{name} ({ways})" if ways else name
    return result(title, sum(counted.values()) / STEPS, 0.0, "syncs/step", float(not counted), 1.0)


def run_config(name: str, source: Path, former: Path) -> RunConfig:
    """Preset ``name`` at its least size, for ``STEPS`` steps and more on ``source``, with everything that may wait."""
    config = variant_config(name)
    settings = [f"data.train={source}", "runtime.threads=1", "optim.epochs=1"]
    if not config.data.unlabelled_ratio:
        settings += ["noise.self_confidence=0.5", "optim.batch_size=6"]
    if config.teacher.kind == "frozen":
        settings.append(f"teacher.checkpoint={former}")
    if config.teacher.kind == "initial":
        settings.append(f"towers.pretrained={weights_to_start_from(config, source.parent)}")
    return override(config, settings)


def counted_syncs(config: RunConfig, folder: Path) -> Counter[str]:
    """What the host would wait for in whole steps of ``config``, views and optimiser included: in ``STEPS`` in which
    the teacher teaches, and those between them.
    """
    with on_meta(config, folder) as loop:
        batches = iter(loop.parts.loader.batches(0, STEPS * config.teacher.every))
        counter = SyncCounter()
        with counter:
            for batch in batches:
                loop.train_step(batch)
        return +counter.found


@contextmanager
def on_meta(config: RunConfig, folder: Path) -> Iterator[Loop]:
    """A run whose networks, memory and batches are on the meta device."""
    run_dir = RunDir(folder)
    run_dir.create()
    events = EventWriter(run_dir.events)
    try:
        runtime = Runtime(META, "fp32")
        with (
            patch.object(assembly, "set_up", lambda *asked: runtime),
            patch.object(assembly, "open_teachers", _teachers),
            patch.object(assembly, "encode_dataset", _encoded),
            patch.object(torch, "autocast", _autocast),
        ):
            yield Loop(config, run_dir, events, Heartbeat(run_dir, quiet=True), threading.Event())
    finally:
        events.close()


def _teachers(names: str, weights: str, device: torch.device) -> list[Network]:
    """Trained networks, read on the host: files hold values."""
    return [network.to(device) for network in open_teachers(names, weights, torch.device("cpu"))]


def _encoded(network: Network, dataset: PairDataset, *others: object) -> Features:
    """Features that are stored before the first step, on the host as the real ones are."""
    N, C, D = len(dataset), len(dataset.captions), network.towers.embed_dim
    return Features(torch.zeros(N, D), torch.zeros(C, D), dataset.caption_rows, torch.arange(N))


def _autocast(device_type: str, *settings: Any, **more: Any) -> AbstractContextManager[Any]:
    """torch's, which knows no meta device."""
    return nullcontext() if device_type == "meta" else _TORCHS_AUTOCAST(device_type, *settings, **more)


def former_run(source: Path, folder: Path) -> Path:
    """A run of one step, for presets whose teacher is a former one; it compares pairs and tells classes apart."""
    settings = [f"data.train={source}", f"data.label={_labels()[0]}", "objectives.classification.weight=1",
                "optim.epochs=0.1", "runtime.threads=1"]  # fmt: skip
    train(override(preset_config("clip", "tiny"), settings), RunDir(folder), quiet=True)
    return folder


def write_pairs(folder: Path) -> Path:
    """A CSV of small images of noise with captions, and a column for every label that a preset asks for."""
    folder.mkdir(parents=True)
    generator = np.random.default_rng(0)
    path = folder / "pairs.csv"
    with path.open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file)
        table.writerow(("filepath", "title", *_labels()))
        for number in range(PAIRS):
            pixels = generator.integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / f"{number}.png")
            title = " ".join(["an image", *["and more"] * (number % 4), f"number {number}"])
            table.writerow((f"{number}.png", title, *[f"class {number % CLASSES}"] * len(_labels())))
    return path


def _labels() -> Sequence[str]:
    return sorted({preset_config(name, "tiny").data.label for name in PRESETS} - {""})
