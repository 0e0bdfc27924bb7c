"""Statistics of few seeds: Student's, permutations counted by hand, and differences that are all the same."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from core.studies.study.published import published_results
from core.studies.study.statistics import holm, mean_of, paired_mean, permutation_p
from core.studies.study.table import markdown


def test_intervals_and_p_values_match_students_t() -> None:
    values = [0.1, 0.3, 0.35]
    low, high = stats.t.interval(0.95, 2, loc=np.mean(values), scale=stats.sem(values))
    found = mean_of(values)
    assert (found.low, found.high) == pytest.approx((low, high))
    a, b = [0.5, 0.6, 0.75], [0.4, 0.45, 0.5]
    assert paired_mean(a, b).p_t == pytest.approx(stats.ttest_rel(a, b).pvalue)


@given(st.lists(st.floats(-1, 1), min_size=2, max_size=7))
def test_permutations_are_counted(gains: list[float]) -> None:
    wanted = abs(sum(gains)) - 1e-12 * sum(map(abs, gains))
    signs = list(itertools.product((1, -1), repeat=len(gains)))
    hits = sum(abs(sum(s * abs(g) for s, g in zip(some, gains, strict=True))) >= wanted for some in signs)
    assert permutation_p(gains) == pytest.approx(hits / len(signs))


@pytest.mark.parametrize("seeds", [2, 3, 10])
def test_an_equal_gain_of_every_seed_is_not_certainty(seeds: int) -> None:
    base = [0.41 + 0.013 * seed for seed in range(seeds)]
    found = paired_mean([value + 0.1 for value in base], base)  # equal but for rounding
    assert found.difference.mean == pytest.approx(0.1)
    assert (found.p_t, found.difference.low, found.significant) == (None, None, False)
    assert found.p_exact == pytest.approx(2 / 2**seeds)
    same = paired_mean(base, base)
    assert (same.p_t, same.p_exact, same.significant) == (None, 1.0, False)


def test_one_seed_has_no_interval() -> None:
    one = paired_mean([0.7], [0.4])
    assert one.difference.mean == pytest.approx(0.3)
    assert (one.difference.low, one.p_t, one.p_exact) == (None, None, None)
    assert not one.significant


def test_significance_is_two_sided() -> None:
    a, b = [0.5, 0.52, 0.51, 0.53], [0.1, 0.13, 0.1, 0.12]
    assert paired_mean(a, b).significant
    assert paired_mean(b, a).significant
    assert not paired_mean(a, [0.5, 0.1, 0.9, 0.5]).significant


def test_many_pairs_use_random_sign_flips() -> None:
    gains = [0.01 * number for number in range(1, 41)]
    assert permutation_p(gains) == 1 / 65_537, "no pattern that was drawn comes near it; the one that was seen counts"
    even = [0.1 * (-1) ** number for number in range(18)]
    assert permutation_p(even) == 1.0
    sixteen = gains[:16]
    assert permutation_p(sixteen) == 2 / 2**16


def test_holm_matches_the_step_down_procedure() -> None:
    """Against rejecting one after the other, the smallest first, each at the level over the tests that are left."""
    values = [0.04, 0.001, 0.03, 0.012, 0.9, 0.03]
    adjusted = holm(values)
    assert adjusted == pytest.approx([0.12, 0.006, 0.12, 0.06, 0.9, 0.12])
    for level in (0.005, 0.01, 0.05, 0.1, 0.2):
        rejected: set[int] = set()
        for rank, index in enumerate(np.argsort(values, kind="stable")):
            if values[index] > level / (len(values) - rank):
                break
            rejected.add(int(index))
        assert {i for i, p in enumerate(adjusted) if p <= level} == rejected
    assert holm([]) == []
    assert holm([0.7, 0.8]) == [1.0, 1.0]


def test_published_comparisons_are_adjusted_for_their_number() -> None:
    """Of 88 comparisons on clean captions 34 intervals exclude 0; 7 differences hold for all comparisons together."""
    results = published_results("clean-time")
    rows = [line.split(" | ") for line in markdown(results).splitlines() if " | final | " in line]
    assert (len(rows), sum(row[-1] == "yes |" for row in rows)) == (89, 34)  # one without a spread has no p
    assert sum(0 <= float(row[-2].strip() or 1) <= 0.05 for row in rows) == 7
