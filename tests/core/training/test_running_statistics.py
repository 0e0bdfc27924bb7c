"""A skipped step leaves no trace in batch norm's running statistics, whatever a network with them is trained on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from core.checkpoint import files as checkpoint
from core.data.batch import Batch
from core.spec.config import override
from core.spec.presets import preset_config, preset_names
from core.spec.run.events import Evaluated, EventReader, Log
from core.spec.run.folder import RunDir
from core.spec.run.model_names import resolve
from core.training.loop import Loop
from core.training.train import train
from tests.benchmarks.syncs import former_run, run_config, write_pairs

BROKEN_STEP = 2
QUICK = ("eman", "sd-clip")  # statistics that the teacher averages, and that it copies


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_pairs(tmp_path_factory.mktemp("pairs") / "pairs")


@pytest.fixture(scope="module")
def former(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return former_run(source, tmp_path_factory.mktemp("former") / "run")


def presets_of_resnets() -> list[object]:
    """Every preset that a ResNet can be trained by: those that need neither its patches nor a caption decoder."""
    configs = {name: preset_config(name, "tiny") for name in preset_names()}
    return [
        pytest.param(name, marks=() if name in QUICK else pytest.mark.slow)
        for name, config in configs.items()
        if config.fusion.kind == "none"
        and config.views.clean.keep == 1.0
        and not config.objectives.masked_patches.weight
        and not config.objectives.captioning.weight
    ]


@pytest.mark.parametrize("preset", presets_of_resnets())
def test_a_run_with_a_skipped_step_stays_finite(
    preset: str, source: Path, former: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = [
        f"data.val={source}", "towers.architecture=sd-tiny-resnet", "views.local.size=1", "optim.epochs=1",
        "checkpoint.every_steps=1",
    ]  # fmt: skip
    config, run = override(run_config(preset, source, former), settings), RunDir(tmp_path / "run")
    original, moved = Loop.train_step, list[bool]()

    def step_with_overflow(loop: Loop, batch: Batch) -> dict[str, Tensor]:
        first = next(module for module in loop.network.towers.modules() if isinstance(module, nn.Conv2d))
        before = statistics(loop.network)
        hook: Any = None
        if loop.step + 1 == BROKEN_STEP:
            hook = first.register_forward_hook(lambda module, given, made: made * torch.inf)
        report = original(loop, batch)
        if hook is not None:
            hook.remove()
        moved.append(any(not torch.equal(before[name], value) for name, value in statistics(loop.network).items()))
        return report

    monkeypatch.setattr(Loop, "train_step", step_with_overflow)
    assert train(config, run, quiet=True) == "done"
    assert moved == [step != BROKEN_STEP for step in range(1, len(moved) + 1)]
    assert len(moved) > BROKEN_STEP
    events = EventReader(run.events).read_all()
    assert sum("was skipped" in event.message for event in events if isinstance(event, Log)) == 1
    numbers = [value for event in events if isinstance(event, Evaluated) for value in event.values.values()]
    assert numbers
    assert torch.tensor(numbers).isfinite().all()
    moves = config.teacher.kind in ("ema", "ema-state")
    for part in ("student", "teacher", "state") if moves else ("student", "state"):
        saved = checkpoint.load_weights(run, resolve(run, "last"), part, torch.device("cpu"))
        assert [name for name, value in saved.items() if not value.isfinite().all()] == []


def statistics(network: nn.Module) -> dict[str, Tensor]:
    return {
        name: value.clone()
        for name, value in network.named_buffers()
        if name.endswith(("running_mean", "running_var", "num_batches_tracked"))
    }
