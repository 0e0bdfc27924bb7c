"""Intervals against published figures, scipy and simulation; the paired bootstrap."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from core.metrics.inputs import EvaluationError
from core.metrics.outcome import Outcome, Queries
from core.metrics.statistics import compare, interval, paired_difference, student_interval, wilson


@pytest.mark.parametrize(("successes", "trials"), [(0, 10), (81, 263), (1, 1)])
def test_wilson_equals_scipy(successes: int, trials: int) -> None:
    theirs = stats.binomtest(successes, trials).proportion_ci(0.95, "wilson")
    ours = wilson(successes, trials)
    assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high), abs=1e-9)


def test_wilson_of_zero_trials_is_refused() -> None:
    with pytest.raises(EvaluationError, match="0 successes in 0 trials"):
        wilson(0, 0)


def test_student_interval_equals_scipy() -> None:
    values = np.array([0.61, 0.58, 0.66])
    low, high = stats.t.interval(0.95, 2, loc=values.mean(), scale=stats.sem(values))
    ours = student_interval(values)
    assert (ours.low, ours.high) == pytest.approx((low, high))


@pytest.mark.parametrize("values", [np.arange(600) % 7 / 7, np.random.default_rng(1).random(900)])
def test_bootstrap_agrees_with_the_normal_interval(values: np.ndarray) -> None:
    ours = interval(Queries(values))
    half = 1.96 * values.std() / np.sqrt(len(values))
    assert ours.low == pytest.approx(values.mean() - half, abs=0.15 * half)
    assert ours.high == pytest.approx(values.mean() + half, abs=0.15 * half)


def test_proportions_get_wilsons_interval() -> None:
    assert interval(Queries(np.array([1.0, 0, 0, 1]))) == wilson(2, 4)


def test_differences_of_grouped_queries_have_wider_intervals() -> None:
    groups = np.repeat(np.arange(100), 5)
    gains = np.repeat(np.random.default_rng(0).integers(2, size=100).astype(float), 5)  # all five agree
    nothing = np.zeros(500)
    alone = paired_difference(Queries(gains), Queries(nothing)).interval
    grouped = paired_difference(Queries(gains, groups), Queries(nothing, groups)).interval
    assert (grouped.high - grouped.low) / (alone.high - alone.low) == pytest.approx(np.sqrt(5), rel=0.15)


def test_a_real_difference_is_found_and_a_null_one_is_not() -> None:
    random = np.random.default_rng(0)
    hard = random.random(2000)
    a = Queries((random.random(2000) < 0.3 + 0.5 * hard).astype(float))
    worse = a.values.copy()
    worse[random.permutation(np.flatnonzero(worse))[:60]] = 0
    found = paired_difference(a, Queries(worse))
    assert found.value == pytest.approx(0.03)
    assert found.significant
    assert found.p < 0.01
    assert (found.better, found.worse, found.equal) == (60, 0, 1940)
    same = paired_difference(a, Queries(random.permutation(a.values)))
    assert not same.significant
    assert same.p > 0.05
    assert paired_difference(a, a).p == 1


def test_the_paired_interval_has_its_nominal_coverage() -> None:
    random = np.random.default_rng(5)
    covered = 0
    for trial in range(100):
        a, b = (random.random((2, 150)) < [[0.6], [0.5]]).astype(float)
        ends = paired_difference(Queries(a), Queries(b), draws=400, seed=trial).interval
        covered += ends.low <= 0.1 <= ends.high
    assert covered >= 88


def test_comparing_outcomes() -> None:
    a = Outcome(task="knn", samples=4, metrics={}, per_query={"acc1": Queries(np.ones(4)), "acc5": Queries(np.ones(4))})
    b = Outcome(task="knn", samples=4, metrics={}, per_query={"acc1": Queries(np.array([1.0, 0, 1, 1]))})
    assert {name: one.value for name, one in compare(a, b).items()} == {"acc1": 0.25}
    other = Outcome(task="retrieval", samples=4, metrics={}, per_query=b.per_query)
    with pytest.raises(EvaluationError, match="cannot compare knn with retrieval"):
        compare(a, other)
    with pytest.raises(EvaluationError, match="A has 4 queries, but B has 3"):
        paired_difference(a.per_query["acc1"], Queries(np.ones(3)))
    with pytest.raises(EvaluationError, match="finite"):
        interval(Queries(np.array([np.nan])))


def test_strata_are_resampled_separately() -> None:
    """A mean over classes: no sample has more of a class than there is, so the interval stays within 0 and 1."""
    strata = np.array([0] * 96 + [1] * 4)
    hits = np.array([1.0] * 90 + [0.0] * 6 + [1.0] * 3 + [0.0])
    weights = 100 / (2 * np.array([96.0] * 96 + [4.0] * 4))
    found = interval(Queries(hits * weights, strata=strata))
    random = np.random.default_rng(5)
    means = [(random.choice(hits[:96], 95).mean() + random.choice(hits[96:], 3).mean()) / 2 for _ in range(4000)]
    low, high = np.quantile(means, [0.025, 0.975])
    assert found.low == pytest.approx(low, abs=0.03)
    assert found.high == pytest.approx(high, abs=0.03)
    assert found.high <= 1


def by_class(hits: np.ndarray) -> Queries:
    """Hits (K, rows) weighted so that their mean is the mean over classes."""
    return Queries(hits.astype(float).ravel(), strata=np.repeat(np.arange(len(hits)), hits.shape[1]))


@pytest.mark.parametrize("rows", [1, 2, 5])
def test_few_rows_per_class_have_nominal_coverage(rows: int) -> None:
    random = np.random.default_rng(7)
    covered = 0
    for trial in range(150):
        truth = random.beta(2, 2, 40)
        ends = interval(by_class(random.random((40, rows)) < truth[:, None]), draws=300, seed=trial)
        covered += ends.low <= truth.mean() <= ends.high
    assert covered >= 0.91 * 150


def test_classes_of_one_row_are_resampled_like_rows() -> None:
    hits = np.arange(100)[:, None] < 40
    found, plain = interval(by_class(hits)), wilson(40, 100)
    assert (found.low, found.high) == pytest.approx((plain.low, plain.high), abs=0.02)
    one_more = paired_difference(by_class(np.arange(100)[:, None] < 41), by_class(hits))
    assert not one_more.significant
    assert one_more.p > 0.5


def test_a_single_class_of_one_row_is_merged_with_the_smallest_other() -> None:
    strata = np.array([0] * 20 + [1] * 4 + [2])
    weights = 25 / (3 * np.array([20.0] * 20 + [4.0] * 4 + [1.0]))
    hits = np.array([1.0] * 24 + [0.0])  # recalls 1, 1, 0
    found = interval(Queries(hits * weights, strata=strata))
    assert (found.low, found.high) == pytest.approx((1 / 3, 1))  # both 0, or both 1


@pytest.mark.parametrize("groups", [None, np.array([3, 3])])
def test_a_single_query_or_group_has_no_interval_and_no_p_value(groups: np.ndarray | None) -> None:
    size = 1 if groups is None else 2
    difference = paired_difference(Queries(np.ones(size), groups), Queries(np.zeros(size), groups))
    assert difference.value == 1
    assert np.isnan([difference.interval.low, difference.interval.high, difference.p]).all()
    assert not difference.significant
