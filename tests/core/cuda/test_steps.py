"""A step on a GPU is that on the CPU: losses of every preset, gradients and views; and it never waits."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from core.bench.gpu.step_time import open_run
from core.data.views.distortion import draw_distortion
from core.data.views.recipe import ViewRecipe
from core.spec.config import override
from core.spec.presets import PRESETS
from tests.core.cuda.device import DEVICE, ON_GPU, host_batches, preset_on, reports

pytestmark = pytest.mark.cuda
STEPS = 3


@pytest.mark.parametrize("name", list(PRESETS))
def test_a_step_matches_the_cpu(name: str, source: Path, former: Path, tmp_path: Path) -> None:
    here = preset_on("cpu", name, source, former)
    batches = host_batches(here, tmp_path / "batches", STEPS)
    wanted = reports(here, tmp_path / "cpu", batches)
    there = preset_on(DEVICE, name, source, former)
    found = reports(there, tmp_path / "device", batches)
    for step, (ours, theirs) in enumerate(zip(found, wanted, strict=True)):
        assert ours.keys() == theirs.keys()
        losses = [key for key in theirs if key.startswith("train/") and key != "train/grad_norm"]
        # Later steps start from weights that differ by rounding already.
        assert {key: ours[key] for key in losses} == pytest.approx(
            {key: theirs[key] for key in losses}, rel=1e-4 if step == 0 else 1e-3, abs=1e-5
        )
    assert found[0]["train/grad_norm"] == pytest.approx(wanted[0]["train/grad_norm"], rel=1e-3)
    halved = reports(override(there, ["runtime.precision=bf16"]), tmp_path / "bf16", batches[:1])
    assert halved[0]["train/loss"] == pytest.approx(wanted[0]["train/loss"], rel=0.03, abs=0.02)


@pytest.mark.parametrize("name", list(PRESETS))
def test_a_step_does_not_wait_for_the_device(name: str, source: Path, former: Path, tmp_path: Path) -> None:
    if not ON_GPU:
        pytest.skip("only CUDA tells when it is waited for")
    with open_run(preset_on(DEVICE, name, source, former, "optim.epochs=4"), tmp_path / "run") as loop:
        batches = loop.parts.batches(0, STEPS)
        loop.train_step(next(batches))  # libraries start up with their first call
        torch.cuda.synchronize()
        torch.cuda.set_sync_debug_mode("error")
        try:
            for batch in batches:
                loop.train_step(batch)
        finally:
            torch.cuda.set_sync_debug_mode("default")


def test_views_on_the_device_match_the_cpu() -> None:
    config = ViewRecipe(
        flip=True, randaugment_ops=2, jitter=0.8, greyscale=0.2, blur=0.5, solarize=0.2, erase=0.3
    )  # fmt: skip
    rows = torch.arange(256)
    distortion = draw_distortion(config, 0, 0, rows.numpy(), 2)
    assert distortion is not None
    smooth = torch.nn.functional.interpolate(torch.rand(256, 3, 8, 8), size=(64, 64), mode="bilinear")
    images = (255 * smooth).round().to(torch.uint8)
    wanted = distortion.apply(images.clone()).int()
    found = distortion.apply(images.to(DEVICE)).cpu().int()
    apart = (found - wanted).abs()
    # A rounding of a half falls either way; in a histogram, or at a threshold, some pixels then differ by more.
    assert (apart > 1).float().mean() < 0.01
    assert apart.float().mean() < 0.3


@pytest.mark.parametrize("name", ["sd-clip-every-step", "sd-coca-every-step"])
def test_compiled_blocks_give_the_same_losses(name: str, source: Path, former: Path, tmp_path: Path) -> None:
    if not ON_GPU:
        pytest.skip("minutes of a CPU's compiler")
    config = preset_on(DEVICE, name, source, former)
    batches = host_batches(preset_on("cpu", name, source, former), tmp_path / "batches", STEPS)
    wanted = reports(config, tmp_path / "plain", batches)
    for setting in ("runtime.compile=true", "runtime.recompute=selective", "runtime.recompute=blocks"):
        found = reports(override(config, [setting]), tmp_path / setting, batches)
        for ours, theirs in zip(found, wanted, strict=True):
            assert ours["train/loss"] == pytest.approx(theirs["train/loss"], rel=1e-3), setting
