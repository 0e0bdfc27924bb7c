"""Blocks stay compiled: no preset makes the compiler give up and run a block as it is written."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pytest
import torch
from torch import nn

from core.model.block_passes import compile_blocks
from core.spec.config import override
from core.spec.presets import preset_names
from core.spec.run.folder import RunDir
from core.training import assembly
from core.training.train import train
from tests.benchmarks.syncs import former_run, run_config, write_pairs

QUICK = ("silc", "sd-clip")


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_pairs(tmp_path_factory.mktemp("pairs") / "pairs")


@pytest.fixture(scope="module")
def former(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return former_run(source, tmp_path_factory.mktemp("former") / "run")


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor:UserWarning")
@pytest.mark.parametrize("preset", sorted(preset_names(), key=lambda name: name not in QUICK))
def test_no_block_falls_back_to_eager(
    preset: str, source: Path, former: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Five steps with captions of several lengths, and a validation. The limit concerns the front end alone."""

    def captured(blocks: Iterable[nn.Module]) -> None:
        compile_blocks(blocks, backend="eager", fullgraph=True)

    monkeypatch.setattr(assembly, "compile_blocks", captured)
    torch._dynamo.reset()
    torch._dynamo.utils.counters.clear()
    settings = [f"data.val={source}", "runtime.compile=true", "runtime.precision=fp32", "optim.epochs=0.7"]
    config = override(run_config(preset, source, former), settings)
    with torch._dynamo.config.patch(fail_on_recompile_limit_hit=True):
        assert train(config, RunDir(tmp_path / "run"), quiet=True) == "done"
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] > 1
