"""``python -m core bench gpu --size full``: a step on this GPU, against open_clip's own training and the GPU's peak.

Everything is measured in one call on one device: plain CLIP against open_clip's loop with autocast and compilation, on
images that are at hand; the utilisation; a self-distilling step against its operations; real JPEGs through the loader
against images at hand; how long a save holds training up; and bfloat16's loss against float32's. ``--size small`` (as
it is by default) is the same on a CPU with small towers: it shows that everything runs, its figures are no GPU's.
"""

from __future__ import annotations

import csv
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from core.bench.gpu import peer as open_clip_training
from core.bench.gpu.step_time import Timed, opened, settle, timed
from core.bench.results import BenchResult, result
from core.model.runtime import has_bf16
from core.spec.config import RunConfig, override
from core.spec.errors import UserError
from core.spec.presets import preset_config
from tests.benchmarks.jpeg import photograph

JPEG = (512, 384)
LAST = 20  # losses that are compared


@dataclass(frozen=True)
class Scale:
    """What is trained, and how much of it."""

    device: str
    towers: tuple[str, ...]  # against open_clip; the last one's utilisation is judged
    batch_size: int
    images: int
    warm: int
    steps: int
    loss_steps: int
    compile: bool
    judged: bool  # whether the figures are a GPU's, and must hold


SCALES = {
    "small": Scale("cpu", ("sd-tiny",), 16, 64, 1, 3, 10, compile=False, judged=False),
    "full": Scale("cuda", ("ViT-B-32", "ViT-B-16"), 256, 4096, 10, 30, 200, compile=True, judged=True),
}


def run(peer: Path | None = None, size: str = "small") -> list[BenchResult]:
    """All rows; about fifteen minutes at full size."""
    scale = SCALES[size]
    if scale.device == "cuda" and not torch.cuda.is_available():
        raise UserError(
            "bench gpu --size full needs a CUDA GPU and there is none here; --size small runs it on the CPU."
        )
    with tempfile.TemporaryDirectory(prefix="sdgui-bench-") as folder:
        work = Path(folder)
        write_images(work / "data", scale.images)
        rows = [row for towers in scale.towers for row in _against_open_clip(work, scale, towers)]
        others = (_distilling, _real_images, _saving, _precision)
        return [*rows, *(measure(work, scale) for measure in others)]


def _config(work: Path, scale: Scale, preset: str, towers: str, *settings: str) -> RunConfig:
    steps = scale.warm + scale.steps + scale.loss_steps + 2
    return override(
        preset_config(preset, "base"),
        [
            f"data.train={work / 'data' / 'pairs.csv'}",
            "data.cache_mib=0",
            f"towers.architecture={towers}",
            f"optim.batch_size={scale.batch_size}",
            f"optim.epochs={max(1, steps * scale.batch_size // scale.images + 1)}",
            "optim.learning_rate=1e-4",
            f"runtime.device={scale.device}",
            f"runtime.compile={str(scale.compile).lower()}",
            "checkpoint.keep=1",
            *settings,
        ],
    )


def _measured(work: Path, scale: Scale, name: str, config: RunConfig, real: bool = False) -> Timed:
    with opened(config, work / name) as loop:
        found = timed(loop, scale.warm, scale.steps, real)
    used = f"{found.operations / 1e9:.1f} GFLOPs a step, MFU {found.utilisation:.3f}"
    _say(f"{name}: {found.pairs_per_s:.1f} pairs/s, {used}")
    return found


def _against_open_clip(work: Path, scale: Scale, towers: str) -> list[BenchResult]:
    config = _config(work, scale, "clip", towers)
    ours = _measured(work, scale, f"clip {towers}", config)
    precision = "bf16" if scale.judged or _has_bf16(scale) else "fp32"
    device = torch.device(scale.device)
    theirs = open_clip_training.pairs_per_s(
        towers, scale.batch_size, precision, device, scale.compile, scale.warm, scale.steps
    )
    rows = [result(f"clip {towers} against open_clip, {precision}", ours.pairs_per_s, theirs, "pairs/s",
                   ours.pairs_per_s / theirs, _asked(scale, 1.0))]  # fmt: skip
    asked = _asked(scale, 1.0) if towers == scale.towers[-1] and ours.peak else None
    return [
        *rows,
        result("  its share of the device's peak", ours.utilisation, 0.4, "MFU", ours.utilisation / 0.4, asked),
    ]


def _distilling(work: Path, scale: Scale) -> BenchResult:
    """A step in which a teacher teaches against a clip step, in time and in operations."""
    towers = scale.towers[0]
    plain, distilling = (
        _measured(work, scale, f"{preset} step", _config(work, scale, preset, towers))
        for preset in ("clip", "sd-clip-every-step")
    )
    dearer, more = distilling.seconds / plain.seconds, distilling.operations / plain.operations
    return result(
        "sd-clip-every-step's time, against its FLOPs", dearer, more, "steps", more / dearer, _asked(scale, 1 / 1.1)
    )


def _real_images(work: Path, scale: Scale) -> BenchResult:
    """JPEGs that the loader decodes, against the same batch again and again."""
    config = _config(work, scale, "clip", scale.towers[-1])
    real, at_hand = (_measured(work, scale, f"images {real}", config, real) for real in (True, False))
    return result("real JPEGs against images at hand", real.pairs_per_s, at_hand.pairs_per_s, "pairs/s",
                  real.pairs_per_s / at_hand.pairs_per_s, _asked(scale, 0.95))  # fmt: skip


def _saving(work: Path, scale: Scale) -> BenchResult:
    """Seconds for which a save holds training up, the second of two."""
    with opened(_config(work, scale, "sd-clip-every-step", scale.towers[-1]), work / "saving") as loop:
        timed(loop, 1, 1)
        took = []
        for _ in range(2):
            settle(loop.device)
            began = time.perf_counter()
            loop.save()
            took.append(time.perf_counter() - began)
    return result("a save holds training up, at most", took[-1], 0.5, "s", 0.5 / took[-1], _asked(scale, 1.0))


def _precision(work: Path, scale: Scale) -> BenchResult:
    """The mean loss of the last steps in bfloat16 against that in float32."""
    losses = {}
    for precision in ("fp32", "bf16"):
        config = _config(work, scale, "clip", scale.towers[0], f"runtime.precision={precision}")
        with opened(config, work / f"loss-{precision}") as loop:
            reports = [loop.train_step(batch)["train/loss"] for batch in loop.parts.batches(0, scale.loss_steps)]
            losses[precision] = statistics.fmean(torch.stack(reports[-LAST:]).tolist())
        _say(f"{precision}: loss {losses[precision]:.4f} after {scale.loss_steps} steps")
    apart = abs(losses["bf16"] / losses["fp32"] - 1.0)
    return result("bf16's loss against fp32's, apart by at most", apart, 0.01, "share", 0.01 / max(apart, 1e-9),
                  _asked(scale, 1.0))  # fmt: skip


def _asked(scale: Scale, at_least: float) -> float | None:
    return at_least if scale.judged else None


def _has_bf16(scale: Scale) -> bool:
    return has_bf16(torch.device(scale.device))


def write_images(folder: Path, count: int) -> None:
    """``count`` JPEGs of 512 x 384 with captions in a CSV: some photographs, each under many names."""
    folder.mkdir(parents=True)
    different = min(count, 32)
    for number in range(different):
        photograph(*JPEG, number).save(folder / f"photograph-{number}.jpg", quality=90)
    with (folder / "pairs.csv").open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file)
        table.writerow(("filepath", "title"))
        for number in range(count):
            os.link(folder / f"photograph-{number % different}.jpg", folder / f"{number}.jpg")
            table.writerow((f"{number}.jpg", _caption(number)))


def _caption(number: int) -> str:
    words: Sequence[str] = ("river", "street", "window", "garden", "bridge", "harbour", "mountain", "market")
    return f"a photograph of a {words[number % 8]} by a {words[number // 8 % 8]}, number {number}"


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
