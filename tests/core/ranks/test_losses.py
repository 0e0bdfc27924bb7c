"""Every preset over ranks has the losses and gradients of one process with the same global batch."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
from torch import Tensor
from torch.distributed.fsdp._fully_shard import _fsdp_state
from torch.utils._pytree import tree_leaves

from core.data.sources.opening import open_source
from core.data.sources.shards.writing import write_shards
from core.ranks import sharding
from core.spec.presets import preset_names
from core.training.team.team import ALONE, Team
from tests.core.ranks.forked import opened, over_ranks, steps_of
from tests.core.ranks.settings import config_of, former_run, labelled_pairs

LOSS, NORM = 1e-5, 5e-4
# Together they have every objective: contrast with and without a queue, words, matching, prototypes, patches, classes.
QUICK = ("sd-clip-every-step", "mixmatch", "slip")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return labelled_pairs(tmp_path_factory.mktemp("pairs"))


@pytest.fixture(scope="module")
def former(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return former_run(data, tmp_path_factory.mktemp("former") / "run")


def apart(one: list[dict[str, float]], other: list[dict[str, float]]) -> tuple[float, float]:
    """The greatest absolute difference of a loss, and relative difference of the gradient norm, over all steps."""
    losses, norms = [0.0], [0.0]
    for left, right in zip(one, other, strict=True):
        assert left.keys() == right.keys()
        for name in left:
            if name == "train/grad_norm":
                norms.append(abs(left[name] - right[name]) / max(1.0, left[name]))
            elif name.startswith("train/"):
                assert math.isfinite(left[name])
                losses.append(abs(left[name] - right[name]))
    return max(losses), max(norms)


def check(preset: str, data: Path, former: Path, folder: Path, ranks: int, steps: int, *settings: str) -> None:
    config = config_of(preset, data, former, *settings)

    def train(team: Team) -> list[dict[str, float]]:
        with opened(config, folder / f"of-{team.size}", team) as loop:
            return steps_of(loop, steps)

    single, every = train(ALONE), over_ranks(ranks, train)
    loss, norm = apart(single, every[0])
    assert loss <= LOSS
    assert norm <= NORM
    for step, report in enumerate(single):
        assert sum(reports[step]["rows"] for reports in every) == report["rows"], "another batch"


@pytest.mark.parametrize("preset", [QUICK[0], *(pytest.param(name, marks=pytest.mark.ci) for name in QUICK[1:])])
def test_two_ranks_match_one_process(preset: str, data: Path, former: Path, tmp_path: Path) -> None:
    check(preset, data, former, tmp_path, 2, 2)


def test_two_ranks_draw_the_text_anchors_of_one_process(data: Path, former: Path, tmp_path: Path) -> None:
    anchors = ["weight=3", f"source={data}", "per_step=7"]
    settings = [f"towers.pretrained={former}", *(f"objectives.text_anchors.{setting}" for setting in anchors)]
    check("clip", data, former, tmp_path, 2, 3, *settings)


@pytest.mark.slow
def test_fsdp_finds_every_output_in_a_pytree(
    data: Path, former: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before torch 2.13, FSDP does not look into data classes."""

    def in_trees(output: Any) -> tuple[Tensor, ...]:
        return tuple(leaf for leaf in tree_leaves(output) if isinstance(leaf, Tensor) and leaf.requires_grad)

    monkeypatch.setattr(_fsdp_state, "collect_grad_tensors", in_trees)
    check("sd-clip-every-step", data, former, tmp_path, 2, 3, "runtime.shard=2")


@pytest.mark.slow
@pytest.mark.parametrize("shard", [1, 2])
def test_only_the_root_may_be_wrapped(
    shard: int, data: Path, former: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One FSDP unit gives the same losses as a unit per block; unsharded, and sharded over two ranks."""
    by_block = sharding.shard_module
    monkeypatch.setattr(sharding, "shard_module", lambda root, blocks, mesh: by_block(root, (), mesh))
    check("sd-clip", data, former, tmp_path, 2, 10, f"runtime.shard={shard}")


@pytest.mark.slow
@pytest.mark.parametrize("ranks", [2, 4])
@pytest.mark.parametrize("preset", preset_names())
def test_every_preset_runs_over_ranks(preset: str, ranks: int, data: Path, former: Path, tmp_path: Path) -> None:
    check(preset, data, former, tmp_path, ranks, 10)


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pairs")
    write_shards(open_source(labelled_pairs(folder)), folder / "shards", lambda done, total: None, rows=10)
    return folder / "shards"


def test_two_ranks_read_their_own_streams_of_shards(shards: Path, tmp_path: Path) -> None:
    """Four streams of nine rows, two for each rank; pairs weighted by self-confidence."""
    assert config_of("sd-clip-every-step", shards, shards).noise.self_confidence > 0
    check("sd-clip-every-step", shards, shards, tmp_path, 2, 2)
