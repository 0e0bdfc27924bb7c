"""Custom code gives the same losses over several processes, and with compiled blocks, as in one process."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import core
from core.model.block_passes import compile_blocks
from core.spec.config import RunConfig, override, with_absolute_references
from core.spec.run.events import EventReader, Metrics
from core.spec.run.folder import RunDir
from core.training import assembly
from core.training.train import train
from tests.core.custom.test_extend_page import FILES
from tests.core.images import write_pairs
from tests.core.ranks.launched import Launched

SETTINGS = {"teacher.kind": "my_teacher.py:Periodic", "data.dataset": "my_data.py:NamedImages",
            "towers.build": "my_towers.py:build", "optim.epochs": 1, "optim.batch_size": 8, "runtime.log_every": 1,
            "runtime.device": "cpu", "runtime.precision": "fp32", "checkpoint.every_steps": 2}  # fmt: skip


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunConfig:
    """Every example of docs/howto/extend.md at once."""
    monkeypatch.chdir(tmp_path)
    write_pairs(tmp_path / "images")
    for name, code in FILES.items():
        (tmp_path / name).write_text(code, encoding="utf-8")
    custom = {"my_losses.py:Predict": {"weight": 0.5, "width": 64}}
    plain = core.preset("clip", "tiny", SETTINGS | {"data.train": str(tmp_path / "images")})
    return with_absolute_references(override(plain, [f"objectives.custom={json.dumps(custom)}"]))


def losses(run: RunDir) -> dict[str, list[float]]:
    """The losses of every step by name."""
    events = [event.values for event in EventReader(run.events).read_all() if isinstance(event, Metrics)]
    return {name: [values[name] for values in events] for name in ("train/contrastive", "train/Predict")}


@pytest.mark.slow
@pytest.mark.parametrize("shard", [1, 2])
def test_two_ranks_train_like_one_process(shard: int, config: RunConfig, tmp_path: Path) -> None:
    alone = RunDir(tmp_path / "alone")
    train(config, alone, quiet=True)
    with Launched(override(config, [f"runtime.shard={shard}"]), tmp_path / "two") as launched:
        status, _ = launched.wait()
        assert status == 0, launched.output[-4000:]
    expected, found = losses(alone), losses(launched.run)
    for name, values in expected.items():
        assert found[name] == pytest.approx(values, abs=2e-4), name


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor:UserWarning")
def test_compiled_blocks_give_the_same_losses(
    config: RunConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the compiler's front end only (the eager backend)."""
    monkeypatch.setattr(assembly, "compile_blocks", lambda blocks: compile_blocks(blocks, backend="eager"))
    plain, compiled = RunDir(tmp_path / "plain"), RunDir(tmp_path / "compiled")
    train(config, plain, quiet=True)
    train(override(config, ["runtime.compile=true"]), compiled, quiet=True)
    for name, values in losses(plain).items():
        assert losses(compiled)[name] == pytest.approx(values, rel=1e-4), name
