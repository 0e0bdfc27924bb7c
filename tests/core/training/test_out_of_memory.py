"""What is told when memory runs out, and of how many pairs a step has room; what is told of another rank's end."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from core.model.runtime import Runtime
from core.training import over_ranks
from core.training.errors import TrainingError
from core.training.loop import Loop
from tests.core.training.test_train_step import config_for, data, opened

__all__ = ["data"]  # the fixture


@pytest.mark.parametrize(("pairs", "half"), [(12, 6), (1, 1)])
def test_with_several_ranks_no_smaller_batch_is_tried(pairs: int, half: int) -> None:
    loop: Any = SimpleNamespace(
        optimizer=SimpleNamespace(zero_grad=lambda set_to_none: None), team=SimpleNamespace(size=2), step=7,
        parts=SimpleNamespace(runtime=Runtime(torch.device("cpu"), "fp32")),
    )  # fmt: skip
    batch: Any = SimpleNamespace(rows=range(pairs))
    sentence = str(Loop._out_of_memory_error(loop, batch))
    assert f"with {pairs} pairs on each of 2 ranks; set optim.micro_batch to {half} or less" in sentence


def test_a_long_error_is_shortened_in_the_middle() -> None:
    assert over_ranks._shorten(RuntimeError("a\n  b")) == "a b"
    text = "x" * 80 + "y" * 9 + "z" * 70
    assert len(text) == 159
    assert over_ranks._shorten(RuntimeError(text)) == text
    assert over_ranks._shorten(RuntimeError(text + "!")) == "x" * 80 + " ... " + "z" * 69 + "!"


def test_out_of_memory_in_the_first_optimiser_step_names_the_batch_that_fits(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The moments are allocated there; what is tried leaves room for them."""
    with opened(config_for(data, "clip"), tmp_path / "run") as loop:
        needed = 2 * sum(p.numel() for p in loop.network.parameters())
        allocated: list[int] = []
        empty_like = torch.empty_like

        def step(*given: Any) -> None:
            monkeypatch.setattr(torch, "empty_like", lambda x: allocated.append(x.numel()) or empty_like(x))
            raise torch.OutOfMemoryError("CUDA out of memory")

        monkeypatch.setattr(loop.optimizer, "step", step)
        (batch,) = loop.parts.loader.batches(0, 1)
        with pytest.raises(TrainingError, match=r"at step 1 with optim.batch_size 12; 6 fits: set optim.batch_size"):
            loop.train_step(batch)
        assert sum(allocated) == needed
