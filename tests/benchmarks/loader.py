"""``python -m tests.benchmarks loader``: images a second that one core makes ready, beside open_clip's own loader.

JPEGs of 512 x 384 become the views that a preset asks for at 224 pixels, decoded anew each time. Ours and the peer take
turns in this process, both without loader processes, with one thread, on one core; counted are seconds of its
processor, so that what else the machine does counts for neither. What the config leaves to the training device
(colours, RandAugment) is done there and not counted, which the peer does not have at all.
"""

from __future__ import annotations

import importlib.util
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import open_clip
import torch

from core.bench.photographs import photograph
from core.bench.results import BenchResult, result
from core.data.dataset import open_dataset
from core.data.loader import Loader, RankPosition
from core.spec.config import RunConfig, override
from core.spec.errors import UserError
from tests.core.variants import variant_config

SIDE, PATCH = 224, 32
SIZE = (512, 384)
IMAGES, BATCH = 256, 128
ROUNDS = 5
CAPTION = "a photograph of a quiet street with two bicycles in front of an old house"
AT_LEAST = {"clip": 500.0, "sd-clip-every-step": 350.0}  # images a second on one core
AGAINST_PEER = 2.0


def run(peer: Path | None = None) -> list[BenchResult]:
    """Rows for clip, the peer, and sd-clip-every-step; about half a minute."""
    missing = [name for name in ("braceexpand", "webdataset", "pandas") if importlib.util.find_spec(name) is None]
    if missing:
        raise UserError(f"open_clip's loader needs {', '.join(missing)}; pip install 'sdgui[bench]'.")
    with tempfile.TemporaryDirectory(prefix="sdgui-bench-") as folder, _one_core():
        manifest = _write(Path(folder))
        sides = {
            "clip": _ours(manifest, "clip"),
            "peer": _peer(manifest),
            "sd-clip-every-step": _ours(manifest, "sd-clip-every-step"),
        }
        speeds: dict[str, list[float]] = {name: [] for name in sides}
        for _ in range(ROUNDS):
            for name, measure in sides.items():
                speeds[name].append(measure())
    best = {name: statistics.median(values) for name, values in speeds.items()}
    ratio = statistics.median(a / b for a, b in zip(speeds["clip"], speeds["peer"], strict=True))
    rows = [
        result(f"{name}, one core, at least", best[name], least, "images/s", best[name] / least, 1.0)
        for name, least in AT_LEAST.items()
    ]
    return [
        *rows,
        result("clip against open_clip's loader", best["clip"], best["peer"], "images/s", ratio, AGAINST_PEER),
    ]


def _write(folder: Path) -> Path:
    """A manifest of images: a tab-separated one, which both read."""
    lines = ["filepath\ttitle"]
    for number in range(IMAGES):
        path = folder / f"{number:04}.jpg"
        if number < 16:
            photograph(*SIZE, number).save(path, quality=90)
        else:
            path.write_bytes((folder / f"{number % 16:04}.jpg").read_bytes())
        lines.append(f"{path}\t{CAPTION}")
    manifest = folder / "pairs.tsv"
    manifest.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return manifest


def _config(manifest: Path, preset: str) -> RunConfig:
    settings = [f"data.train={manifest}", "data.cache_mib=0", "data.workers=0", f"optim.batch_size={BATCH}"]
    return override(variant_config(preset, "base"), settings)


def _ours(manifest: Path, preset: str) -> Callable[[], float]:
    config = _config(manifest, preset)
    dataset = open_dataset(manifest, config.data, SIDE, open_clip.tokenizer.SimpleTokenizer())
    loader = Loader(dataset, config, SIDE, patch_side=PATCH, position=RankPosition(device_distorts=True))
    epoch = iter(range(1 << 30))

    def measure() -> float:
        first = next(epoch) * loader.steps_per_epoch
        began = time.process_time()
        count = sum(len(batch.rows) for batch in loader.batches(first, first + loader.steps_per_epoch))
        return count / (time.process_time() - began)

    return measure


def _peer(manifest: Path) -> Callable[[], float]:
    """open_clip's own data set and transform, in the loader that its trainer puts around them."""
    from open_clip_train.data import CsvDataset  # noqa: PLC0415  (needs the packages that were looked for)

    tokenizer = open_clip.tokenizer.SimpleTokenizer()
    transform: Any = open_clip.image_transform(SIDE, is_train=True)
    dataset: Any = CsvDataset(str(manifest), transform, "filepath", "title", tokenizer=tokenizer)
    loader = torch.utils.data.DataLoader(dataset, BATCH, shuffle=True, drop_last=True)

    def measure() -> float:
        began = time.process_time()
        count = sum(len(texts) for _, texts in loader)
        return count / (time.process_time() - began)

    return measure


@contextmanager
def _one_core() -> Iterator[None]:
    """This process and its threads on one core, and torch with one thread."""
    threads = torch.get_num_threads()
    cores = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else set()
    torch.set_num_threads(1)
    if cores:
        os.sched_setaffinity(0, {min(cores)})
    try:
        yield
    finally:
        torch.set_num_threads(threads)
        if cores:
            os.sched_setaffinity(0, cores)
