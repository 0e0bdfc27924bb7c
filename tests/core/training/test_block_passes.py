"""Blocks that are computed again, or compiled, give the same losses and the same weights."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import ExitStack
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from core.model.block_passes import compile_blocks
from core.model.towers.transformer import ResidualBlock
from core.training import assembly
from tests.core.training.test_train_step import config_for, data, opened

__all__ = ["data"]  # the fixture
STEPS = 2


class Products(TorchDispatchMode):
    """Counts matrix products."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.count = 0

    def __torch_dispatch__(
        self, function: object, types: object, given: tuple = (), options: dict | None = None
    ) -> object:
        self.count += str(function).startswith(("aten.mm", "aten.addmm", "aten.bmm"))
        return function(*given, **(options or {}))


def trained(data: Path, folder: Path, *settings: str) -> tuple[list[float], dict[str, torch.Tensor], int]:
    """Losses of some steps, the network after them, and the products of the last step."""
    with opened(config_for(data, "sd-coca-every-step", *settings), folder) as loop:
        losses = []
        for batch in loop.parts.batches(0, STEPS):
            products = Products() if len(losses) == STEPS - 1 and "runtime.compile=true" not in settings else None
            with ExitStack() as counting:
                if products is not None:
                    counting.enter_context(products)
                losses.append(float(loop.train_step(batch)["train/loss"]))
        weights = {name: value.clone() for name, value in loop.network.state_dict().items()}
        return losses, weights, products.count if products is not None else 0


@pytest.fixture(scope="module")
def plain(data: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[list[float], dict[str, torch.Tensor], int]:
    return trained(data, tmp_path_factory.mktemp("plain") / "run")


@pytest.mark.parametrize("what", ["selective", "blocks"])
def test_recomputed_activations_are_identical(
    what: str, plain: tuple[list[float], dict[str, torch.Tensor], int], data: Path, tmp_path: Path
) -> None:
    losses, weights, products = trained(data, tmp_path / "run", f"runtime.recompute={what}")
    assert losses == plain[0]
    assert weights.keys() == plain[1].keys()
    assert [name for name, value in weights.items() if not torch.equal(value, plain[1][name])] == []
    assert (products > plain[2]) == (what == "blocks")  # selective keeps the products


@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor:UserWarning")
@pytest.mark.ci
def test_compiled_blocks_compute_the_same(
    plain: tuple[list[float], dict[str, torch.Tensor], int], data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Captured whole by the compiler's front end; what it makes of them is another's code."""
    compiled: list[nn.Module] = []

    def captured(blocks: Iterable[nn.Module]) -> None:
        given = list(blocks)
        compiled.extend(given)
        compile_blocks(given, backend="eager", fullgraph=True)

    monkeypatch.setattr(assembly, "compile_blocks", captured)
    torch._dynamo.reset()
    losses, weights, _ = trained(data, tmp_path / "run", "runtime.compile=true")
    assert len(compiled) == 2 * len({id(block) for block in compiled[: len(compiled) // 2]}) > 8  # both networks'
    assert any(isinstance(block, ResidualBlock) for block in compiled)
    assert losses == pytest.approx(plain[0], rel=1e-5)
    for name, value in weights.items():
        torch.testing.assert_close(value, plain[1][name], atol=1e-5, rtol=1e-4, msg=name)
