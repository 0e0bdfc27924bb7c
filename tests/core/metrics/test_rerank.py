"""Two-stage retrieval against a plain loop."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from core.metrics.inputs import EvaluationError
from core.metrics.rerank import rerank, reranked_metrics
from core.metrics.retrieval import ranks, retrieval_metrics


def example() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    owner = torch.randint(20, (45,), generator=generator)
    images = torch.randn(20, 5, generator=generator)
    texts = images[owner] + 1.5 * torch.randn(45, 5, generator=generator)
    return images, texts, owner, torch.randn(20, 45, generator=generator)  # the head's opinion of each pair


def plain(cosine: Tensor, opinion: Tensor, own: Tensor, top: int) -> int:
    """Rank of the best own candidate of one query when the first ``top`` are reordered."""
    order = cosine.argsort(descending=True).tolist()
    order = sorted(order[:top], key=lambda i: -float(opinion[i])) + order[top:]
    return 1 + min(place for place, i in enumerate(order) if own[i])


@pytest.mark.parametrize(("top", "at_once"), [(1, 4096), (10, 35), (4, 1), (1000, 4096)])
def test_matches_a_plain_loop(top: int, at_once: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("core.metrics.rerank.PAIRS_PER_CALL", at_once)
    images, texts, owner, opinion = example()
    of_images, of_texts = rerank(images, texts, owner, lambda i, j: opinion[i, j], top)
    cosine = torch.nn.functional.cosine_similarity(images[:, None], texts[None], dim=2)
    for query, rank in zip(of_images.queries.tolist(), of_images.expected_ranks().tolist(), strict=True):
        expected = plain(cosine[query], opinion[query], owner == query, top)
        if expected <= top:  # beyond, the plain order counts own captions among the rivals
            assert rank == expected
    for query, rank in zip(of_texts.queries.tolist(), of_texts.expected_ranks().tolist(), strict=True):
        assert rank == plain(cosine[:, query], opinion[:, query], torch.arange(20) == owner[query], top)


def test_reranking_by_the_cosine_changes_only_the_names() -> None:
    images, texts, owner, _ = example()
    head = lambda i, j: torch.nn.functional.cosine_similarity(images[i], texts[j])  # noqa: E731
    plain_values = retrieval_metrics(images, texts, owner)
    assert reranked_metrics(*rerank(images, texts, owner, head, top=7)) == pytest.approx(
        {f"reranked_{name}": value for name, value in plain_values.items()}
    )


def test_a_constant_head_scores_chance_among_the_candidates() -> None:
    images, texts, owner, _ = example()
    of_images, of_texts = rerank(images, texts, owner, lambda i, j: torch.zeros(len(i)), top=4)
    inside = ranks(images, texts, owner)[1].expected_ranks() <= 4
    assert of_texts.hits(1)[inside].tolist() == [0.25] * int(inside.sum())
    near = torch.nn.functional.normalize(images) @ torch.nn.functional.normalize(texts).T
    own = (owner[near.topk(4, dim=1).indices] == torch.arange(20)[:, None]).sum(dim=1)[of_images.queries]
    assert of_images.hits(1)[own > 0].tolist() == pytest.approx((own[own > 0] / 4).tolist())


def test_a_bad_head_raises_a_user_error() -> None:
    images, texts, owner, _ = example()
    with pytest.raises(EvaluationError, match="NaN"):
        rerank(images, texts, owner, lambda i, j: torch.full((len(i),), torch.nan))
    with pytest.raises(EvaluationError, match=r"scores of shape \(\d+, 2\)"):
        rerank(images, texts, owner, lambda i, j: torch.zeros(len(i), 2))
    with pytest.raises(EvaluationError, match="at least one candidate"):
        rerank(images, texts, owner, lambda i, j: torch.zeros(len(i)), top=0)
