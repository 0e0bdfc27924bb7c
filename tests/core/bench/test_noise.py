"""The noise bench: the classes it gives to cleanlab, and rankings that keep their pairs."""

from __future__ import annotations

import numpy as np
import pytest

from core.evaluation.noise import RankedPair, Ranking
from tests.benchmarks import noise
from tests.benchmarks.noise import Features, confident, out_of_sample

PAIRS, GROUPS = 240, 6


def said(row: int, wrong: set[int]) -> int:
    """The group that the caption of ``row`` names: its own, or the next."""
    return (row + (row in wrong)) % GROUPS


def ranking(wrong: set[int]) -> Ranking:
    pairs = [
        RankedPair(row, f"{row}.png", f"of group {said(row, wrong)}", 0.5, None, PAIRS - row, row in wrong)
        for row in range(PAIRS)
    ]
    return Ranking("m", "d", False, tuple(reversed(pairs)), 0)


def test_confident_learning_finds_captions_of_another_group(monkeypatch: pytest.MonkeyPatch) -> None:
    """Images and captions of six groups, tight around their centres; every tenth caption is of another group."""
    pytest.importorskip("cleanlab")
    monkeypatch.setattr(noise, "CLASSES", (GROUPS,))
    draw = np.random.default_rng(0)
    centres = np.linalg.qr(draw.normal(size=(16, 16)))[0][:GROUPS]
    group = np.arange(PAIRS) % GROUPS
    wrong = set(range(0, PAIRS, 10))
    named = np.array([said(row, wrong) for row in range(PAIRS)])
    images, texts = (centres[which] + 0.05 * draw.normal(size=(PAIRS, 16)) for which in (group, named))
    found = list(confident(Features(images, texts, np.zeros((PAIRS, 2)), 10.0), ranking(wrong)))
    assert len(found) == 3
    for one in found:
        assert {pair.row for pair in one.pairs if pair.shuffled} == wrong
        assert [pair.rank for pair in one.pairs] == list(range(1, PAIRS + 1))
    assert found[0].precision() == 1.0
    assert (found[1].auc() or 0) > 0.9  # each caption a class of its own
    assert found[2].auc() == 1.0  # words as labels
    assert len(wrong) / 2 <= found[0].doubted <= 1.2 * len(wrong)


def test_regression_scores_are_out_of_fold() -> None:
    """Of images without any structure it learns nothing that holds for others, however often it saw them."""
    draw = np.random.default_rng(1)
    given = np.arange(PAIRS) % 2
    chances = out_of_sample(draw.normal(size=(PAIRS, 64)), given, 2)
    assert np.allclose(chances.sum(axis=1), 1.0)
    assert abs((chances.argmax(axis=1) == given).mean() - 0.5) < 0.15
