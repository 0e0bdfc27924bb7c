"""``python -m core bench gpu --size full``: a training step on this GPU, compared with open_clip and the GPU's peak.

One call measures on one device: plain CLIP compared with open_clip's loop (autocast, compiled), on synthetic images;
MFU; the time of a self-distilling step relative to its FLOPs; JPEGs from the loader compared with synthetic images; the
delay by a save; and the loss in bfloat16 compared with float32. ``--size small``, the default, runs the same
measurements on a CPU with small towers, to check that everything works.
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
from core.bench.gpu.step_time import StepTiming, open_run, synchronize, time_steps
from core.bench.photographs import photograph
from core.bench.results import BenchResult, result
from core.model.runtime import has_bf16
from core.spec.config import RunConfig, override
from core.spec.errors import UserError
from core.spec.presets import preset_config

JPEG_SIZE = (512, 384)
COMPARED_LOSSES = 20  # number of losses that are compared


@dataclass(frozen=True)
class Scale:
    """The models, data and numbers of steps of a benchmark size."""

    device: str
    towers: tuple[str, ...]  # compared with open_clip; the MFU of the last has a minimum
    batch_size: int
    images: int
    warm_up: int
    steps: int
    loss_steps: int
    compile: bool
    is_gpu: bool  # required ratios apply on a GPU only


SCALES = {
    "small": Scale("cpu", ("sd-tiny",), 16, 64, 1, 3, 10, compile=False, is_gpu=False),
    "full": Scale("cuda", ("ViT-B-32", "ViT-B-16"), 256, 4096, 10, 30, 200, compile=True, is_gpu=True),
}


def run(size: str) -> list[BenchResult]:
    """Measure all rows; takes about fifteen minutes at full size."""
    scale = SCALES[size]
    if scale.device == "cuda" and not torch.cuda.is_available():
        raise UserError(
            "bench gpu --size full needs a CUDA GPU, but this computer has none; --size small runs on the CPU."
        )
    with tempfile.TemporaryDirectory(prefix="sdgui-bench-") as folder:
        work = Path(folder)
        write_images(work / "data", scale.images)
        rows = [row for towers in scale.towers for row in _against_open_clip(work, scale, towers)]
        row_functions = (_distilling_step_row, _real_images_row, _saving_row, _precision_row)
        return [*rows, *(measure(work, scale) for measure in row_functions)]


# settings of the most expensive sd-clip steps
EVERY_STEP_SETTINGS = ("teacher.every=1", "views.student.count=2", "views.teacher.count=1")


def _config(work: Path, scale: Scale, preset: str, towers: str, *settings: str) -> RunConfig:
    steps = scale.warm_up + scale.steps + scale.loss_steps + 2
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


def _measure(work: Path, scale: Scale, name: str, config: RunConfig, from_loader: bool = False) -> StepTiming:
    with open_run(config, work / name) as loop:
        timing = time_steps(loop, scale.warm_up, scale.steps, from_loader)
    usage = f"{timing.operations / 1e9:.1f} GFLOPs per step, MFU {timing.utilisation:.3f}"
    _log(f"{name}: {timing.pairs_per_s:.1f} pairs/s, {usage}")
    return timing


def _against_open_clip(work: Path, scale: Scale, towers: str) -> list[BenchResult]:
    config = _config(work, scale, "clip", towers)
    ours = _measure(work, scale, f"clip {towers}", config)
    precision = "bf16" if scale.is_gpu or has_bf16(torch.device(scale.device)) else "fp32"
    device = torch.device(scale.device)
    theirs = open_clip_training.pairs_per_s(
        towers, scale.batch_size, precision, device, scale.compile, scale.warm_up, scale.steps
    )
    rows = [result(f"clip {towers} against open_clip, {precision}", ours.pairs_per_s, theirs, "pairs/s",
                   ours.pairs_per_s / theirs, _required_ratio(scale, 1.0))]  # fmt: skip
    required = _required_ratio(scale, 1.0) if towers == scale.towers[-1] and ours.peak else None
    return [
        *rows,
        result("  its share of the device's peak", ours.utilisation, 0.4, "MFU", ours.utilisation / 0.4, required),
    ]


def _distilling_step_row(work: Path, scale: Scale) -> BenchResult:
    """The ratio of times of a step with a teacher and a clip step, compared with the ratio of their FLOPs."""
    towers = scale.towers[0]
    plain, distilling = (
        _measure(work, scale, f"{preset} step", _config(work, scale, preset, towers, *settings))
        for preset, settings in (("clip", ()), ("sd-clip", EVERY_STEP_SETTINGS))
    )
    time_ratio, operations_ratio = distilling.seconds / plain.seconds, distilling.operations / plain.operations
    return result(
        "sd-clip, teacher in every step: time against FLOPs",
        time_ratio,
        operations_ratio,
        "steps",
        operations_ratio / time_ratio,
        _required_ratio(scale, 1 / 1.1),
    )


def _real_images_row(work: Path, scale: Scale) -> BenchResult:
    """Pairs per second with JPEGs that the loader decodes, compared with one repeated batch."""
    config = _config(work, scale, "clip", scale.towers[-1])
    real, synthetic = (_measure(work, scale, f"images {real}", config, real) for real in (True, False))
    return result("real JPEGs against synthetic images", real.pairs_per_s, synthetic.pairs_per_s, "pairs/s",
                  real.pairs_per_s / synthetic.pairs_per_s, _required_ratio(scale, 0.95))  # fmt: skip


def _saving_row(work: Path, scale: Scale) -> BenchResult:
    """The seconds by which a save delays training; measured for the second of two saves."""
    with open_run(_config(work, scale, "sd-clip", scale.towers[-1], *EVERY_STEP_SETTINGS), work / "saving") as loop:
        time_steps(loop, 1, 1)
        seconds = []
        for _ in range(2):
            synchronize(loop.device)
            start_time = time.perf_counter()
            loop.save()
            seconds.append(time.perf_counter() - start_time)
    return result(
        "delay of training by a save, at most", seconds[-1], 0.5, "s", 0.5 / seconds[-1], _required_ratio(scale, 1.0)
    )


def _precision_row(work: Path, scale: Scale) -> BenchResult:
    """The relative difference between the mean losses of the last steps in bfloat16 and float32."""
    losses = {}
    for precision in ("fp32", "bf16"):
        config = _config(work, scale, "clip", scale.towers[0], f"runtime.precision={precision}")
        with open_run(config, work / f"loss-{precision}") as loop:
            reports = [loop.train_step(batch)["train/loss"] for batch in loop.parts.batches(0, scale.loss_steps)]
            losses[precision] = statistics.fmean(torch.stack(reports[-COMPARED_LOSSES:]).tolist())
        _log(f"{precision}: loss {losses[precision]:.4f} after {scale.loss_steps} steps")
    difference = abs(losses["bf16"] / losses["fp32"] - 1.0)
    return result("relative difference of bf16 and fp32 loss", difference, 0.01, "share", 0.01 / max(difference, 1e-9),
                  _required_ratio(scale, 1.0))  # fmt: skip


def _required_ratio(scale: Scale, at_least: float) -> float | None:
    return at_least if scale.is_gpu else None


def write_images(folder: Path, count: int) -> None:
    """``count`` JPEGs of 512 x 384 with captions in a CSV: up to 32 different images, hard-linked."""
    folder.mkdir(parents=True)
    different = min(count, 32)
    for number in range(different):
        photograph(*JPEG_SIZE, number).save(folder / f"photograph-{number}.jpg", quality=90)
    with (folder / "pairs.csv").open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file)
        table.writerow(("filepath", "title"))
        for number in range(count):
            os.link(folder / f"photograph-{number % different}.jpg", folder / f"{number}.jpg")
            table.writerow((f"{number}.jpg", _caption(number)))


def _caption(number: int) -> str:
    words: Sequence[str] = ("river", "street", "window", "garden", "bridge", "harbour", "mountain", "market")
    return f"a photograph of a {words[number % 8]} by a {words[number // 8 % 8]}, number {number}"


def _log(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
