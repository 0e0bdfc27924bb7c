"""Pointing accuracy and IoU of patch maps against plain loops, with ties and patches that are left out."""

from __future__ import annotations

import pytest
import torch

from core.metrics.localisation import intersection_over_union, localisation_outcome, pointing

C, K, P = 5, 4, 16


def maps() -> tuple[torch.Tensor, torch.Tensor]:
    """Maps with few distinct values, so that there are ties, and the owner of each patch."""
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 4, (C, K, P), generator=generator).float(), torch.randint(
        -1, K, (C, P), generator=generator
    )


def test_metrics_match_plain_loops() -> None:
    scores, owner = maps()
    found_pointing, found_iou = pointing(scores, owner), intersection_over_union(scores, owner)
    for c in range(C):
        counted = [p for p in range(P) if owner[c, p] >= 0]
        best = {p: max(range(K), key=lambda k: (float(scores[c, k, p]), -k)) for p in counted}
        for k in range(K):
            top = max(float(scores[c, k, p]) for p in counted)
            highest = [p for p in counted if float(scores[c, k, p]) == top]
            expected = sum(int(owner[c, p]) == k for p in highest) / len(highest)
            assert float(found_pointing[c, k]) == pytest.approx(expected)
            predicted = {p for p in counted if best[p] == k}
            actual = {p for p in counted if int(owner[c, p]) == k}
            union = predicted | actual
            assert float(found_iou[c, k]) == pytest.approx(len(predicted & actual) / len(union) if union else 0.0)


def test_a_perfect_map_and_a_constant_map() -> None:
    owner = (torch.arange(P) % K).expand(C, P)
    perfect = (owner[:, None] == torch.arange(K)[:, None]).float()
    best = localisation_outcome(perfect, perfect, owner)
    assert set(best.metrics.values()) == {1.0}
    assert best.samples == C * K
    constant = torch.zeros(C, K, P)
    outcome = localisation_outcome(constant, constant, owner)
    assert outcome.metrics["pointing_accuracy"] == outcome.metrics["relevance_pointing_accuracy"] == pytest.approx(0.25)
    groups = outcome.per_query["pointing_accuracy"].groups
    assert groups is not None
    assert groups.tolist() == [c for c in range(C) for _ in range(K)]


def test_a_canvas_without_counted_patches_scores_nothing() -> None:
    scores, owner = torch.ones(1, K, P), torch.full((1, P), -1)
    assert float(pointing(scores, owner).sum()) == float(intersection_over_union(scores, owner).sum()) == 0.0
