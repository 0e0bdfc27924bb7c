"""Shards over ranks: each rank reads its own streams, and the losses are those of one process."""

from __future__ import annotations

from pathlib import Path

import pytest

from core.data.sources.opening import open_source
from core.data.sources.shards.writing import write_shards
from core.training.team.team import ALONE, Team
from tests.core.ranks.forked import opened, over_ranks, steps_of
from tests.core.ranks.settings import config_of, labelled_pairs
from tests.core.ranks.test_losses import LOSS, NORM, apart


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pairs")
    write_shards(open_source(labelled_pairs(folder)), folder / "shards", lambda done, total: None, rows=10)
    return folder / "shards"


def test_two_ranks_train_like_one_process(shards: Path, tmp_path: Path) -> None:
    """Four streams of nine rows, two for each rank; pairs weighted by self-confidence."""
    config = config_of("sd-clip-every-step", shards, shards)
    assert config.noise.self_confidence > 0

    def train(team: Team) -> list[dict[str, float]]:
        with opened(config, tmp_path / f"of-{team.size}", team) as loop:
            assert loop.parts.loader.streams == 4
            return steps_of(loop, 2)

    single, every = train(ALONE), over_ranks(2, train)
    for step, report in enumerate(single):
        assert report["rows"] == sum(one[step]["rows"] for one in every)
    loss, norm = apart(single, every[0])
    assert loss <= LOSS
    assert norm <= NORM
