"""Shuffled orders that are computed: one to one, for every size, and without a pattern that a test of chance sees."""

from __future__ import annotations

import numpy as np
import pytest

from core.data.permutation import permute_positions


@pytest.mark.parametrize("size", [*range(1, 40), 97, 1000, 1024, 1025])
def test_every_position_appears_once(size: int) -> None:
    for seed in range(4):
        assert sorted(permute_positions(np.arange(size), size, seed)) == list(range(size))


def test_the_permutation_depends_on_each_key_and_nothing_else() -> None:
    positions = np.arange(500)
    orders = [permute_positions(positions, 500, *keys).tolist() for keys in ((1, 2), (2, 1), (1, 3), (1, 2))]
    assert orders[0] == orders[3]
    assert len({tuple(order) for order in orders}) == 3
    assert permute_positions(positions[7:9], 500, 1, 2).tolist() == orders[0][7:9]


def test_sizes_and_keys_may_vary_by_position() -> None:
    sizes, streams = np.array([5, 9, 5, 9]), np.array([0, 1, 0, 1])
    together = permute_positions(np.array([0, 0, 4, 8]), sizes, 3, streams)
    alone = [
        int(permute_positions(np.array([p]), s, 3, v)[0]) for p, s, v in ((0, 5, 0), (0, 9, 1), (4, 5, 0), (8, 9, 1))
    ]
    assert together.tolist() == alone


def test_the_permutation_looks_random() -> None:
    """Where a position lands is even (chi squared of 20 bins), and neighbours land apart as in a random order."""
    size, bins = 10_000, 20
    for seed in range(5):
        order = permute_positions(np.arange(size), size, seed)
        counts = np.histogram2d(np.arange(size), order, bins)[0]
        expected = size / bins**2
        assert ((counts - expected) ** 2 / expected).sum() < 361 + 5 * np.sqrt(2 * 361)  # 19 x 19 degrees of freedom
        assert abs(np.corrcoef(np.arange(size), order)[0, 1]) < 0.05
        apart = np.abs(np.diff(order)).mean() / size
        assert abs(apart - 1 / 3) < 0.02


def test_a_billion_rows_need_no_list() -> None:
    found = permute_positions(np.array([0, 1, 999_999_999]), 1_000_000_000, 7)
    assert len(set(found.tolist())) == 3
    assert found.max() < 1_000_000_000
