"""Statistics of few seeds: Student's, permutations counted by hand, and differences that are all the same."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from core.studies.study.statistics import mean_of, paired, permutation_p


def test_intervals_and_p_values_are_students() -> None:
    values = [0.1, 0.3, 0.35]
    low, high = stats.t.interval(0.95, 2, loc=np.mean(values), scale=stats.sem(values))
    found = mean_of(values)
    assert (found.low, found.high) == pytest.approx((low, high))
    assert mean_of([0.4]).low is None
    a, b = [0.5, 0.6, 0.75], [0.4, 0.45, 0.5]
    assert paired(a, b).p_t == pytest.approx(stats.ttest_rel(a, b).pvalue)
    assert not paired([0.5, 0.4], [0.4, 0.5]).significant


@given(st.lists(st.floats(-1, 1), min_size=2, max_size=7))
def test_permutations_are_counted(gains: list[float]) -> None:
    wanted = abs(sum(gains)) - 1e-12 * sum(map(abs, gains))
    signs = list(itertools.product((1, -1), repeat=len(gains)))
    hits = sum(abs(sum(s * abs(g) for s, g in zip(some, gains, strict=True))) >= wanted for some in signs)
    assert permutation_p(gains) == pytest.approx(hits / len(signs))


@pytest.mark.parametrize("seeds", [2, 3, 10])
def test_the_same_gain_of_every_seed_is_no_certainty(seeds: int) -> None:
    base = [0.41 + 0.013 * seed for seed in range(seeds)]
    found = paired([value + 0.1 for value in base], base)  # equal but for rounding
    assert found.difference.mean == pytest.approx(0.1)
    assert (found.p_t, found.difference.low, found.significant) == (None, None, False)
    assert found.p_exact == pytest.approx(2 / 2**seeds)
    same = paired(base, base)
    assert (same.p_t, same.p_exact, same.significant) == (None, 1.0, False)
