"""A checkpoint resumes on another number of ranks with the same weights, rows and losses."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from core.spec.run.events import CheckpointSaved, EventReader
from core.training.team.team import ALONE, Team
from tests.core.ranks.forked import opened, over_ranks, steps_of, weights_of
from tests.core.ranks.settings import config_of, labelled_pairs

LOSS = 1e-5


def saved_and_resumed(folder: Path, wholes: tuple[int, ...], before: int, after: int, *settings: str) -> None:
    """Train over two ranks, save and continue; then resume the checkpoint on each number of ranks in ``wholes``."""
    data = labelled_pairs(folder / "pairs")
    config = config_of("sd-clip-every-step", data, folder, *settings)

    def begin(team: Team) -> tuple[list[dict[str, float]], dict[str, Any]]:
        with opened(config, folder / "run", team) as loop:
            steps_of(loop, before)
            loop.save()
            weights = weights_of(loop)
            return steps_of(loop, after), weights

    def go_on(team: Team) -> tuple[list[dict[str, float]], dict[str, Any]]:
        with opened(config, folder / "run", team) as loop:
            assert loop.step == before
            weights = weights_of(loop)
            return steps_of(loop, after), weights

    (expected, saved), *others = over_ranks(2, begin)
    for _, weights in others:
        assert all(np.array_equal(saved[name], value) for name, value in weights.items()), "ranks have other weights"
    whole_rows = [sum(reports[step]["rows"] for reports, _ in [(expected, saved), *others]) for step in range(after)]
    for size in wholes:
        ranks = [go_on(ALONE)] if size == 1 else over_ranks(size, go_on)
        for reports, weights in ranks:
            assert weights.keys() == saved.keys()
            assert all(np.array_equal(saved[name], value) for name, value in weights.items()), size
            for left, right in zip(expected, reports, strict=True):
                assert abs(left["train/loss"] - right["train/loss"]) <= LOSS
        for step in range(after):
            assert sum(reports[step]["rows"] for reports, _ in ranks) == whole_rows[step]


@pytest.mark.ci
def test_a_run_saved_on_two_ranks_resumes_on_one(tmp_path: Path) -> None:
    saved_and_resumed(tmp_path, (1,), 2, 1)


@pytest.mark.slow
def test_a_run_saved_on_two_ranks_resumes_on_one_three_and_four(tmp_path: Path) -> None:
    saved_and_resumed(tmp_path, (1, 3, 4), 3, 10)


@pytest.mark.slow
def test_sharded_weights_resume_unsharded(tmp_path: Path) -> None:
    """Saved on two ranks that share the weights; resumed on four ranks."""
    saved_and_resumed(tmp_path, (4,), 3, 10, "runtime.shard=2")


def test_a_checkpoint_written_in_a_thread_has_the_state_of_its_step(tmp_path: Path) -> None:
    """Training continues meanwhile without changing it; it is announced when it is complete."""
    data = labelled_pairs(tmp_path / "pairs")
    config = config_of("clip", data, tmp_path, "checkpoint.keep=2")
    with opened(config, tmp_path / "run") as loop:
        loop.checkpointing.background = True
        steps_of(loop, 2)
        weights = weights_of(loop)
        loop.save()
        expected = steps_of(loop, 2)
        loop.save_if_needed()
    events = EventReader(tmp_path / "run" / "events.jsonl").read_all()
    assert [event.step for event in events if isinstance(event, CheckpointSaved)] == [2, 4]
    shutil.rmtree(tmp_path / "run" / "checkpoints" / "step-00000004")
    with opened(config, tmp_path / "run") as again:
        assert again.step == 2
        assert all(np.array_equal(weights[name], value) for name, value in weights_of(again).items())
        assert steps_of(again, 2) == expected
