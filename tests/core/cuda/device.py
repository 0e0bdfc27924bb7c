"""The device that the tests marked ``cuda`` are about, and runs on it."""

from __future__ import annotations

import os
from pathlib import Path

import torch

from core.bench.gpu.step_time import open_run
from core.data.batch import Batch
from core.spec.config import RunConfig, override
from tests.benchmarks.syncs import run_config

# To try the tests themselves where there is no GPU; what needs one is then skipped.
DEVICE = os.environ.get("SDGUI_TEST_DEVICE", "cuda")
ON_GPU = DEVICE == "cuda"


def preset_on(device: str, name: str, source: Path, former: Path, *settings: str) -> RunConfig:
    """Preset ``name`` at its least size on ``device``, in float32 unless ``settings`` say otherwise."""
    return override(
        run_config(name, source, former),
        [f"runtime.device={device}", "runtime.precision=fp32", *settings],
    )


def host_batches(config: RunConfig, folder: Path, steps: int) -> list[Batch]:
    """The first batches of a run, made and distorted on the CPU."""
    with open_run(config, folder) as loop:
        return list(loop.parts.loader.batches(0, steps))


def reports(config: RunConfig, folder: Path, batches: list[Batch]) -> list[dict[str, float]]:
    """What is reported of steps on ``batches``."""
    with open_run(config, folder) as loop:
        torch.manual_seed(5)  # what is drawn on the host is the same for each device
        return [{name: float(value) for name, value in loop.train_step(batch).items()} for batch in batches]
