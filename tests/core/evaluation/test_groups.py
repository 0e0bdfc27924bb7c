"""Two groups of beliefs are seen where there are two, and not where pairs are only more and less alike."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from core.evaluation.groups import _fit, two_groups
from core.objectives.weighting.evidence import evidence

D, CONCEPTS = 32, 40


def beliefs(pairs: int, wrong: float, seed: int, uneven: float) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Evidence of pairs drawn at random, a share of which have another's caption; and which ones these are.

    ``uneven``: how much easier some images are than others (the standard deviation of their log quality).
    """
    draw = torch.Generator().manual_seed(seed)
    concepts = torch.randn(CONCEPTS, D, generator=draw)[torch.randint(0, CONCEPTS, (pairs,), generator=draw)]
    meaning = concepts + 0.7 * torch.randn(pairs, D, generator=draw)
    blur = torch.exp(-uneven * torch.randn(pairs, 1, generator=draw)) / 3
    images = meaning + blur * torch.randn(pairs, D, generator=draw)
    order = torch.arange(pairs)
    chosen = torch.randperm(pairs, generator=draw)[: round(wrong * pairs)]
    order[chosen] = chosen.roll(1)
    texts = meaning[order] + blur * torch.randn(pairs, D, generator=draw)
    unit = torch.nn.functional.normalize
    return evidence(unit(images), unit(texts), 20.0).double().numpy(), (order != torch.arange(pairs)).numpy()


@pytest.mark.parametrize(("seed", "uneven"), [(0, 0.0), (1, 0.5)])
def test_clean_pairs_are_one_group(seed: int, uneven: float) -> None:
    assert two_groups(beliefs(700, 0.0, seed, uneven)[0]) is None


@pytest.mark.parametrize(("seed", "wrong"), [(0, 0.05), (1, 0.4)])
def test_mismatched_captions_are_the_lower_group(seed: int, wrong: float) -> None:
    belief, truly = beliefs(700, wrong, seed, 0.0)
    found = two_groups(belief)
    assert found is not None
    right = found.clean_probability(belief)
    low = right < 0.5
    assert truly[low].mean() > 0.85
    assert low[truly].mean() > 0.85
    assert np.all(np.diff(right[np.argsort(belief)]) >= 0), "the less believed is not the likelier one"
    assert right.min() >= 0
    assert right.max() <= 1


def test_overlapping_groups_are_found_deterministically() -> None:
    """Where the likelihood is flat, a fit that ends early depends on where it began."""
    drawn = np.random.default_rng(0)
    x = np.concatenate([drawn.normal(-1.1, 0.8, 600), drawn.normal(0.6, 0.7, 1400)])
    fits = [_fit(x[:, None])[1] for _ in range(2)]
    for fit in fits:
        assert np.array_equal(np.sort(fit.means_[:, 0]), np.sort(fits[0].means_[:, 0]))
        assert fit.converged_
    lower = fits[0].means_.argmin()
    assert fits[0].means_[lower, 0] == pytest.approx(-1.1, abs=0.25)
    assert fits[0].weights_[lower] == pytest.approx(0.3, abs=0.1)


def test_inseparable_scores_are_one_group() -> None:
    for few in ([], [0.5], [0.1, 0.9], [0.0] * 50, [0.0, 1.0] * 30):
        assert two_groups(np.array(few)) is None
