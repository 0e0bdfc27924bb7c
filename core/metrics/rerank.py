"""Retrieval in two stages: the cosine selects candidates, and a matching head scores and reorders them.

As in ALBEF's evaluation (Li et al., "Align before Fuse", 2021, section 5), the head scores the first ``top`` candidates
by cosine; all other candidates follow in their old order. Metrics have the prefix ``reranked_``, to distinguish them
from metrics of the embeddings alone.

Legend: N images, M captions, D embed, Q queries, k candidates.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from core.metrics.inputs import EvaluationError, Progress, full_precision, no_progress, part_of, unit_rows
from core.metrics.retrieval import BLOCK_PAIRS, Ranks, check_retrieval, ranks, summarise

ScorePairs = Callable[[Tensor, Tensor], Tensor]
"""Maps rows of images (p,) and of captions (p,) to matching scores (p,), higher is better."""

TOP_CANDIDATES = 128
PAIRS_PER_CALL = 4096


def reranked_metrics(of_images: Ranks, of_texts: Ranks) -> dict[str, float]:
    """The metrics of `retrieval_metrics` for the ranks from `rerank`, with the prefix ``reranked_``."""
    return {f"reranked_{name}": value for name, value in summarise(of_images, of_texts).items()}


def rerank(
    image_features: Tensor,
    text_features: Tensor,
    text_to_image: Tensor,
    score_pairs: ScorePairs,
    top: int = TOP_CANDIDATES,
    progress: Progress = no_progress,
) -> tuple[Ranks, Ranks]:
    """Ranks of images and of captions after reordering the first ``top`` candidates of each query by ``score_pairs``.

    ``image_features`` (N, D), ``text_features`` (M, D) and ``text_to_image`` (M,): see `ranks`. Raises EvaluationError
    like `ranks`, if ``top`` is below 1, and if scores are NaN or do not have the shape (pairs,).
    """
    if top < 1:
        raise EvaluationError(f"re-ranking needs at least one candidate, not {top}.")
    images, texts, owner = check_retrieval(image_features, text_features, text_to_image)
    image_ranks, text_ranks = ranks(images, texts, owner, progress=part_of(progress, 0, 0.1))
    images, texts = unit_rows(images), unit_rows(texts)

    captioned = image_ranks.queries.to(images.device)  # rows of the images that have captions
    return (
        _reorder(
            image_ranks,
            _candidates(images[captioned], texts, top),
            lambda rows, items: owner[items] == captioned[rows],
            lambda rows, items: score_pairs(captioned[rows], items),
            part_of(progress, 0.1, 0.55, "re-ranking captions"),
        ),
        _reorder(
            text_ranks,
            _candidates(texts, images, top),
            lambda rows, items: items == owner[rows],
            lambda rows, items: score_pairs(items, rows),
            part_of(progress, 0.55, 1, "re-ranking images"),
        ),
    )


def _candidates(queries: Tensor, items: Tensor, top: int) -> Tensor:
    """The rows (Q, k) of the ``top`` items that are nearest to each query."""
    step = max(1, BLOCK_PAIRS // len(items))
    with full_precision(queries.device):
        blocks = [(part @ items.T).topk(min(top, len(items)), dim=1).indices for part in queries.split(step)]
    return torch.cat(blocks)


def _reorder(
    cosine_ranks: Ranks,
    candidates: Tensor,
    matches: Callable[[Tensor, Tensor], Tensor],
    score: Callable[[Tensor, Tensor], Tensor],
    progress: Progress,
) -> Ranks:
    """The new ranks of queries with a correct item among the candidates; the ranks of other queries do not change."""
    better, tied, correct = (x.clone() for x in (cosine_ranks.better, cosine_ranks.tied, cosine_ranks.correct))
    k = candidates.shape[1]
    step = max(1, PAIRS_PER_CALL // k)
    for start in range(0, len(candidates), step):
        progress(start / len(candidates), "re-ranking")
        block = candidates[start : start + step]  # (q, k)
        rows = torch.arange(start, start + len(block), device=block.device).repeat_interleave(k)
        is_correct = matches(rows, block.flatten()).view_as(block)
        scores = _check_scores(score(rows, block.flatten()), len(rows)).to(block.device).view_as(block)
        best = scores.masked_fill(~is_correct, -torch.inf).amax(dim=1, keepdim=True)  # (q, 1)
        contains_correct = is_correct.any(dim=1).cpu()
        part = slice(start, start + len(block))
        rivals = ~is_correct
        better[part] = torch.where(contains_correct, ((scores > best) & rivals).sum(dim=1).cpu(), better[part])
        tied[part] = torch.where(contains_correct, ((scores == best) & rivals).sum(dim=1).cpu(), tied[part])
        correct[part] = torch.where(contains_correct, ((scores == best) & is_correct).sum(dim=1).cpu(), correct[part])
    progress(1.0, "re-ranking")
    return Ranks(cosine_ranks.queries, better, tied, correct)


def _check_scores(scores: Tensor, pairs: int) -> Tensor:
    if scores.shape != (pairs,):
        raise EvaluationError(f"the matching head gave scores of shape {tuple(scores.shape)} for {pairs} pairs.")
    if not torch.isfinite(scores).all():
        raise EvaluationError("the matching head gave NaN or infinity; evaluate an earlier checkpoint, or in fp32.")
    return scores.detach().float()
