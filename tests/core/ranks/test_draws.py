"""Dropout differs between ranks, random draws of objectives are shared, and both continue after a resume."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from core.ranks import draws
from core.training.team.team import ALONE, Team
from tests.core.ranks.forked import opened, over_ranks
from tests.core.ranks.settings import config_of, labelled_pairs


@pytest.mark.ci
def test_dropout_differs_by_rank_and_other_draws_agree(tmp_path: Path) -> None:
    config = config_of("clip", labelled_pairs(tmp_path / "pairs"), tmp_path)

    def drawn(team: Team, first: int, last: int) -> tuple[list[float], list[float]]:
        """The random numbers of dropout and objectives in each step from ``first`` on."""
        own, shared = list[float](), list[float]()

        def note() -> None:
            own.append(torch.rand(()).item())
            shared.append(torch.rand((), generator=draws.shared_generator).item())

        with opened(config, tmp_path / f"of-{team.size}", team) as loop:
            assert loop.step == first
            loop.parts.student.register_forward_pre_hook(lambda *given: note())
            for batch in loop.parts.loader.batches(first, last):
                loop.train_step(batch)
            if first == 0:
                loop.save()
                loop.save_if_needed()
        return own, shared

    (begun_0, resumed_0), (begun_1, resumed_1) = over_ranks(2, lambda team: (drawn(team, 0, 2), drawn(team, 2, 4)))
    assert len({*begun_0[0], *begun_1[0], *resumed_0[0], *resumed_1[0]}) == 8
    assert begun_0[1] == begun_1[1] == drawn(ALONE, 0, 2)[1]
    assert resumed_0[1] == resumed_1[1]
    assert len({*begun_0[1], *resumed_0[1]}) == 4
