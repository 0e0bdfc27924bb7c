"""Image-text retrieval in both directions.

Flow: the training loop validates with `retrieval_metrics` (open_clip's names, so that curves are comparable); the
Search panel and the bootstrap use the per-query `ranks`; `core.metrics.rerank` reorders the best candidates.

An image may have any number of captions. Text to image ranks the image of each caption; image to text uses the rank of
the *best* caption of each image. Images without a caption are distractors only.

Ties: candidates with equal scores are in random order, and every metric is its expectation over this order. So constant
features score at chance level, never 100 %, and the order of rows does not matter. Scores are compared in float32; the
few scores that differ by less than its rounding error are compared again in float64, so that ranks equal the ranks in
double precision. If very many scores are that close (a collapsed model), all of them count as equal.

Legend: N images, M captions, D embed, Q queries.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from core.metrics.inputs import EvaluationError, Progress, check_features, full_precision, no_progress, unit_rows
from core.metrics.outcome import Integers, Outcome, Queries

# Cosines of unit vectors in float32 vary by less than this with the order of summation.
FLOAT32_TOLERANCE = 2e-6
FLOAT64_TOLERANCE = 2e-8  # the same for cosines in float64 of features that were stored in float32
MAX_RECOMPARED = 8192  # pairs of a block that are compared again
BLOCK_PAIRS = 1 << 24  # scores per block; 64 MiB
RECALL_AT = (1, 5, 10)
DIRECTIONS = ("image_to_text", "text_to_image")


@dataclass(frozen=True)
class Ranks:
    """The rank of each query's correct candidate among the wrong candidates; on the CPU."""

    queries: Tensor  # (Q,) int64, row of each query among images or captions
    better: Tensor  # (Q,) int64, wrong candidates that score strictly higher
    tied: Tensor  # (Q,) int64, wrong candidates that score the same
    correct: Tensor  # (Q,) int64, correct candidates with this score: 1, or more if the best captions of an image tie

    def expected_ranks(self) -> Tensor:
        """The expected rank of each query, from 1 (best): (Q,) float64; an integer without ties.

        In a random order of ``tied`` + ``correct`` candidates, the expected position of the first correct one is
        (tied + correct + 1) / (correct + 1).
        """
        tied, correct = self.tied.double(), self.correct.double()
        return self.better.double() + (tied + correct + 1) / (correct + 1)

    def hits(self, k: int) -> Tensor:
        """The probability of a correct candidate among the first ``k`` per query: (Q,) float64; 0 or 1 without ties.

        If d of the ``tied`` + ``correct`` candidates, in random order, are among the first k, the probability that none
        of these d is correct is C(tied, d) / C(tied + correct, d).
        """
        tied, correct = self.tied.double(), self.correct.double()
        hits_among_ties = (k - self.better.double()).clamp_min(0).minimum(tied + correct)
        single = (hits_among_ties / (tied + 1)).clamp(0, 1)
        remaining = (tied - hits_among_ties).clamp_min(0)
        logarithm = (
            _log_factorial(tied)
            - _log_factorial(remaining)
            + _log_factorial(remaining + correct)
            - _log_factorial(tied + correct)
        )
        several = torch.where(hits_among_ties > tied, 1.0, -torch.expm1(logarithm))
        return torch.where((self.correct == 1) | (hits_among_ties == 0), single, several)

    def reciprocal(self) -> Tensor:
        """The expected 1/rank of each query: (Q,) float64.

        With one correct candidate, the rank is uniform over better+1 .. better+tied+1, so the expectation is a
        difference of harmonic numbers.
        """
        first, last = self.better.double() + 1, self.better.double() + self.tied.double() + 1
        harmonic = (torch.digamma(last + 1) - torch.digamma(first)) / (last - first + 1)
        reciprocals = torch.where(self.tied > 0, harmonic, 1 / first)
        several = (self.correct > 1) & (self.tied > 0)
        kinds, position = torch.stack([self.better, self.tied, self.correct])[:, several].unique(
            dim=1, return_inverse=True
        )
        values = [_reciprocal_of_first(*kind) for kind in kinds.T.tolist()]
        reciprocals[several] = torch.tensor(values, dtype=torch.float64)[position]
        return reciprocals

    def metrics(self, name: str) -> dict[str, float]:
        """open_clip's metrics, and MRR, with the prefix ``name``: recalls and MRR from 0 to 1, ranks from 1.

        The median rank is floored, as in open_clip.
        """
        expected = self.expected_ranks()
        return {
            **{f"{name}_R@{k}": self.hits(k).mean().item() for k in RECALL_AT},
            f"{name}_mean_rank": expected.mean().item(),
            f"{name}_median_rank": float(np.floor(np.median(expected.numpy()))),
            f"{name}_MRR": self.reciprocal().mean().item(),
        }


def _log_factorial(count: Tensor) -> Tensor:
    return torch.lgamma(count + 1)


def _reciprocal_of_first(better: int, tied: int, correct: int) -> float:
    """The expected 1/rank of the first of ``correct`` candidates in random order among ``tied``, after ``better``."""
    position = torch.arange(1, tied + 2, dtype=torch.float64)
    # Position i + 1 has the first correct candidate only if position i has a wrong one, so each probability follows
    # from the previous one.
    steps = (tied - position[:-1] + 1) / (tied + correct - position[:-1])
    chances = correct / (tied + correct) * torch.cat([torch.ones(1, dtype=torch.float64), steps]).cumprod(0)
    return float((chances / (better + position)).sum())


def retrieval_metrics(
    image_features: Tensor,
    text_features: Tensor,
    text_to_image: Tensor,
    block: int | None = None,
) -> dict[str, float]:
    """R@1/5/10, mean and median rank and MRR in both directions, and ``mean_recall``, the mean of the six recalls.

    ``image_features`` (N, D), ``text_features`` (M, D); ``text_to_image`` (M,): the row of each caption's image.
    Recalls and MRR are from 0 to 1, ranks start at 1. For ``block`` and errors, see `ranks`.
    """
    return summarise(*ranks(image_features, text_features, text_to_image, block))


def summarise(image_to_text: Ranks, text_to_image: Ranks) -> dict[str, float]:
    """The metrics of `retrieval_metrics` from the ranks of both directions."""
    values = image_to_text.metrics("image_to_text") | text_to_image.metrics("text_to_image")
    recalls = [values[f"{direction}_R@{k}"] for direction in DIRECTIONS for k in RECALL_AT]
    return values | {"mean_recall": sum(recalls) / len(recalls)}


def retrieval_outcome(
    image_to_text: Ranks,
    text_to_image: Ranks,
    owner: Tensor,
    extra: Mapping[str, float] | None = None,
    clusters: Integers | None = None,
) -> Outcome:
    """The ranks as an `Outcome`.

    ``owner`` (M,): the ``text_to_image`` of the ranks, since the bootstrap resamples captions of an image together.
    ``extra``: additional metrics, such as re-ranked metrics. ``clusters`` (N,): the cluster of each image, if whole
    clusters are resampled.
    """
    owners = owner.cpu().numpy().astype(np.int64)
    image_groups = None if clusters is None else clusters[image_to_text.queries.numpy()]
    caption_groups = owners if clusters is None else clusters[owners]
    per_query: dict[str, Queries] = {}
    for direction, direction_ranks, group in (
        ("image_to_text", image_to_text, image_groups),
        ("text_to_image", text_to_image, caption_groups),
    ):
        for k in RECALL_AT:
            per_query[f"{direction}_R@{k}"] = Queries(direction_ranks.hits(k).numpy(), group)
        per_query[f"{direction}_MRR"] = Queries(direction_ranks.reciprocal().numpy(), group)
    notes = []
    image_count, captions = len(image_to_text.queries), len(text_to_image.queries)
    tied = int((image_to_text.tied > 0).sum() + (text_to_image.tied > 0).sum())
    if tied:
        notes.append(
            f"{tied} of {image_count + captions} queries tie with wrong candidates; ties count at their expected rank."
        )
    return Outcome(
        task="retrieval",
        samples=captions,
        metrics=summarise(image_to_text, text_to_image) | dict(extra or {}),
        per_query=per_query,
        notes=tuple(notes),
        details={"images": image_count, "captions": captions},
    )


def ranks(
    image_features: Tensor,
    text_features: Tensor,
    text_to_image: Tensor,
    block: int | None = None,
    progress: Progress = no_progress,
) -> tuple[Ranks, Ranks]:
    """Per-query ranks by cosine similarity: for the images that have captions, and for all captions.

    Features need not have unit length. Scores are computed for ``block`` captions at a time (default: 64 MiB of
    scores), once for both directions, on the device of the image features.

    Raises EvaluationError for features that are empty, not finite or have different widths, and if ``text_to_image``
    does not contain one image for each caption.
    """
    images, texts, owner = check_retrieval(image_features, text_features, text_to_image)
    pairs = _Pairs(images, texts)
    own_scores = pairs.own_scores(owner)  # (M,)
    best = torch.full((len(images),), -torch.inf, dtype=torch.float64)  # (N,)
    best.scatter_reduce_(0, owner.cpu(), own_scores, "amax")
    rows = block or max(1, BLOCK_PAIRS // len(images))
    with full_precision(images.device):
        of_texts, of_images = _count_rivals(pairs, owner, own_scores, best, rows, progress)
    captioned = torch.isfinite(best).nonzero().flatten()
    return (
        Ranks(captioned, *of_images[:, captioned]),
        Ranks(torch.arange(len(texts)), *of_texts),
    )


def check_retrieval(
    image_features: Tensor, text_features: Tensor, text_to_image: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Both features in float32 and the owners of the captions, on one device; raises like `ranks`."""
    images = check_features(image_features, "image features")
    texts = check_features(text_features, "text features").to(images.device)
    if images.shape[1] != texts.shape[1]:
        raise EvaluationError(
            f"image features have {images.shape[1]} dimensions, but text features have {texts.shape[1]}; encode both "
            "with the same model, after the projection."
        )
    if text_to_image.shape != texts.shape[:1] or text_to_image.is_floating_point():
        raise EvaluationError(
            f"text_to_image must contain one row number for each of the {len(texts)} captions, "
            f"not {text_to_image.dtype} of shape {tuple(text_to_image.shape)}."
        )
    owner = text_to_image.to(images.device, torch.int64)
    outside = ((owner < 0) | (owner >= len(images))).nonzero().flatten()
    if len(outside):
        row = int(outside[0])
        raise EvaluationError(
            f"caption {row} belongs to image {int(owner[row])}, but the images are 0 to {len(images) - 1} "
            f"({len(outside)} such captions); exclude captions whose image could not be read."
        )
    return images, texts, owner


@dataclass(frozen=True)
class _Pairs:
    """Computes cosines of single pairs in float64, on the CPU (some devices have no float64)."""

    images: Tensor  # (N, D) float32
    texts: Tensor  # (M, D) float32

    def cosine(self, image_rows: Tensor, text_rows: Tensor) -> Tensor:
        """The cosines (p,) float64 of pairs, given by their rows (p,); 0 if either vector is zero."""
        image = self.images[image_rows.to(self.images.device)].cpu().double()  # (p, D)
        text = self.texts[text_rows.to(self.texts.device)].cpu().double()  # (p, D)
        lengths: Tensor = torch.linalg.vector_norm(image, dim=1) * torch.linalg.vector_norm(text, dim=1)
        products: Tensor = torch.linalg.vecdot(image, text)
        return products / lengths.clamp_min(1e-24)

    def own_scores(self, owner: Tensor) -> Tensor:
        """The cosine of each caption with its image: (M,) float64."""
        step = max(1, BLOCK_PAIRS // self.images.shape[1] // 8)
        text_rows = torch.arange(len(owner), device=owner.device)
        return torch.cat([self.cosine(owner[part], part) for part in text_rows.split(step)])


def _count_rivals(
    pairs: _Pairs, owner: Tensor, own_scores: Tensor, best: Tensor, rows: int, progress: Progress
) -> tuple[Tensor, Tensor]:
    """The counts of better wrong, tied wrong and tied correct candidates, int64 on the CPU.

    (3, M) for the captions, then (3, N) for the images.
    """
    images, texts = unit_rows(pairs.images), unit_rows(pairs.texts)
    image_count, captions = len(images), len(texts)
    of_texts = torch.ones(3, captions, dtype=torch.int64)
    of_images = torch.zeros(3, image_count, dtype=torch.int64)
    owners = owner.cpu()
    buffer = torch.empty(min(rows, captions), image_count, device=images.device)
    marks = torch.empty_like(buffer)  # results of comparisons, as 0 and 1
    for start in range(0, captions, rows):
        progress(start / captions, "ranking")
        part = slice(start, min(start + rows, captions))
        scores = buffer[: part.stop - start]
        torch.mm(texts[part], images.T, out=scores)  # (rows, N)
        # A caption and its image are not rivals, in either direction.
        scores.scatter_(1, owner[part, None], -torch.inf)

        def cosine_of_text(text: Tensor, image: Tensor, start: int = start) -> Tensor:
            return pairs.cosine(image, text + start)

        def cosine_of_image(image: Tensor, text: Tensor, start: int = start) -> Tensor:
            return pairs.cosine(image, text + start)

        of_texts[:2, part], _ = _rivals(scores, own_scores[part], marks[: len(scores)], cosine_of_text)
        counts, tolerance = _rivals(scores.T, best, marks[: len(scores)].T, cosine_of_image)
        of_images[:2] += counts
        of_images[2].index_add_(0, owners[part], (own_scores[part] >= best[owners[part]] - tolerance).long())
    progress(1.0, "ranking")
    return of_texts, of_images


def _rivals(
    scores: Tensor, threshold: Tensor, marks: Tensor, cosine: Callable[[Tensor, Tensor], Tensor]
) -> tuple[Tensor, float]:
    """The numbers of ``scores`` (Q, C) above, and equal to, each query's float64 ``threshold``: (2, Q).

    Also returns the tolerance within which scores were counted as equal.
    """
    low = (threshold - FLOAT32_TOLERANCE).float().to(scores.device)[:, None]
    high = (threshold + FLOAT32_TOLERANCE).float().to(scores.device)[:, None]
    # 0 and 1 as floats, whose sums are fast, and exact for these sizes.
    better = torch.gt(scores, high, out=marks).sum(dim=1).long().cpu()
    near = torch.ge(scores, low, out=marks).sum(dim=1).long().cpu() - better
    is_dense = int(near.sum()) > MAX_RECOMPARED
    if not is_dense and near.any():
        rows = near.nonzero().flatten()
        device_rows = rows.to(scores.device)
        close = (scores[device_rows] >= low[device_rows]) & (scores[device_rows] <= high[device_rows])
        position, column = (index.cpu() for index in close.nonzero(as_tuple=True))
        gap = cosine(rows[position], column) - threshold[rows[position]]
        better.index_add_(0, rows[position], (gap > FLOAT64_TOLERANCE).long())
        near = torch.zeros_like(near).index_add_(0, rows[position], (gap.abs() <= FLOAT64_TOLERANCE).long())
    return torch.stack([better, near]), FLOAT32_TOLERANCE if is_dense else FLOAT64_TOLERANCE
