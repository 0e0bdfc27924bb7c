"""With sharded weights, no rank holds a whole network, neither when saving nor when validating."""

from __future__ import annotations

import weakref
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.distributed.tensor import DTensor

from core.checkpoint import files as checkpoint
from core.ranks import tensors
from core.spec.config import RunConfig, override
from core.spec.run.folder import RunDir
from core.spec.run.model_names import resolve
from core.training import loop as loop_module
from core.training.errors import Interrupt
from core.training.loop import Loop
from core.training.team.team import ALONE, Team
from tests.core.ranks.forked import opened, over_ranks, steps_of
from tests.core.ranks.settings import config_of, labelled_pairs


@pytest.fixture
def config(tmp_path: Path) -> RunConfig:
    data = labelled_pairs(tmp_path / "pairs")
    return config_of("sd-clip-every-step", data, tmp_path, f"data.val={data}", "runtime.shard=2")


class LiveElements:
    """Counts gathered elements: now alive, most at a time, of the largest tensor, and in total."""

    def __init__(self) -> None:
        self.now = self.highest = self.largest = self.total = 0
        self._whole = tensors.full_tensor

    def gather(self, value: Tensor) -> Tensor:
        full = self._whole(value)
        if tensors.is_split(value):
            count = full.numel()
            self.now += count
            self.total += count
            self.highest, self.largest = max(self.highest, self.now), max(self.largest, count)
            weakref.finalize(full, self._freed, count)
        return full

    def _freed(self, count: int) -> None:
        self.now -= count


def state(folder: Path, part: str) -> dict[str, Tensor]:
    run = RunDir(folder)
    saved = checkpoint.load_weights(run, resolve(run, "last"), part, torch.device("cpu"))
    return {name: value for name, value in saved.items() if not name.startswith("rng.")}


def validated(loop: Loop) -> tuple[list[int], dict[str, float]]:
    """The number of unsharded blocks at each call of a block during validation, and the metrics."""
    networks = [loop.network, *(loop.teacher.networks if loop.teacher else ())]
    blocks = [block for network in networks for block in network.blocks()]
    whole = list[int]()

    def count(*given: Any) -> None:
        whole.append(sum(not any(isinstance(p, DTensor) for p in block.parameters()) for block in blocks))

    hooks = [block.register_forward_pre_hook(count) for block in blocks]
    assert loop.parts.val is not None
    found: dict[str, float] = {}

    def validate() -> float:
        found.update(loop.validator.evaluate(loop.parts.val, "val", loop.step)[0])  # type: ignore[arg-type]
        return 0.0

    loop._on_first_rank(validate)
    for hook in hooks:
        hook.remove()
    return whole, found


@pytest.mark.ci
def test_validating_and_saving_gather_one_block_or_tensor_at_a_time(
    config: RunConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run that was stopped between a step and its validation starts with the validation."""
    live = LiveElements()
    monkeypatch.setattr(tensors, "full_tensor", live.gather)

    def run(team: Team) -> tuple[list[int], dict[str, float], float, tuple[int, int, int, int]]:
        with opened(config, tmp_path / f"of-{team.size}", team) as loop:
            whole, values = validated(loop)
            (report,) = steps_of(loop, 1)
            live.highest = live.largest = live.total = 0
            loop.save()
            loop.save_if_needed()
            return whole, values, report["train/loss"], (live.now, live.highest, live.largest, live.total)

    (_, alone, loss, _), *ranks = run(ALONE), *over_ranks(2, run)
    for whole, values, own_loss, _ in ranks:
        assert max(whole) == 1
        assert values == pytest.approx(alone, abs=1e-4)
        assert own_loss == pytest.approx(loss, abs=1e-4)
    left, highest, largest, total = ranks[1][-1]
    assert (left, highest) == (0, largest), "on the rank that keeps nothing"
    assert total > 3 * largest
    for part in ("student", "teacher", "state"):
        single, together = state(tmp_path / "of-1", part), state(tmp_path / "of-2", part)
        assert single.keys() == together.keys()
        for name in single:
            torch.testing.assert_close(together[name], single[name], atol=2e-5, rtol=1e-4, msg=name)


def test_a_stop_during_the_initial_evaluation_reaches_all_ranks(
    config: RunConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only rank 0 reads requests; if it stopped alone, the others would wait for its weights."""
    retaining = override(config, [f"data.retain={config.data.train}"])
    shard = loop_module.shard_parts

    def shard_and_ask(*parts: Any) -> None:
        shard(*parts)
        RunDir(tmp_path / "run").ask("stop")

    monkeypatch.setattr(loop_module, "shard_parts", shard_and_ask)

    def run(team: Team) -> str:
        with pytest.raises(Interrupt) as caught, opened(retaining, tmp_path / "run", team):
            pass
        return caught.value.outcome

    assert over_ranks(2, run) == ["stopped", "stopped"]


@pytest.mark.slow
def test_blocks_in_bfloat16_match_autocast(config: RunConfig, tmp_path: Path) -> None:
    half = config.model_copy(update={"runtime": config.runtime.model_copy(update={"precision": "bf16"})})

    def run(team: Team) -> tuple[list[dict[str, float]], list[str]]:
        with opened(half, tmp_path / f"of-{team.size}", team) as loop:
            reports = steps_of(loop, 4)
            loop.save()
            return reports, sorted({str(value.dtype) for value in loop.network.state_dict().values()})

    (alone, _), (ranks, dtypes), _ = run(ALONE), *over_ranks(2, run)
    assert "torch.bfloat16" not in dtypes, "the optimiser's weights stay float32"
    for left, right in zip(alone, ranks, strict=True):
        assert right["train/loss"] == pytest.approx(left["train/loss"], rel=0.01)
