"""BLEU 1-4, ROUGE-L and CIDEr of captions against references, as in the COCO evaluation, in Python.

Names and values are pycocoevalcap's (``Bleu_4``, ``ROUGE_L``, ``CIDEr``), so that results can be compared with
published results; METEOR and SPICE, which are Java programs, come from `core.metrics.captions.java`.

Sources: Papineni et al., "BLEU" (2002); Lin, "ROUGE" (2004); Vedantam et al., "CIDEr" (2015; the D variant, with
clipping and a Gaussian length penalty).

Flow: generated captions and references -> `caption_scores` -> `CaptionScores` -> panel, report.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np

from core.metrics.captions.degeneracy import Degeneracy, degeneracy
from core.metrics.captions.java import JavaScores
from core.metrics.captions.text import tokens
from core.metrics.inputs import EvaluationError, Progress, no_progress, part_of
from core.metrics.outcome import Floats, Outcome, Queries

ORDERS = 4  # n-grams of 1 to 4 words
ROUGE_BETA = 1.2
CIDER_SIGMA = 6.0

Words = list[str]
Grams = Counter[tuple[str, ...]]


@dataclass(frozen=True)
class CaptionScores:
    """Scores of Q captions against their references: for the corpus, or per caption (Q,)."""

    bleu: tuple[float, float, float, float]
    rouge: Floats
    cider: Floats
    exact: Floats  # 1 if the caption equals one of its references word for word
    degenerate: Degeneracy
    rows: tuple[int, ...]  # captions that have a reference
    notes: tuple[str, ...] = ()

    def metrics(self) -> dict[str, float]:
        """All scores under pycocoevalcap's names, from 0 to 1; CIDEr from 0 to 10."""
        values = {f"Bleu_{order + 1}": value for order, value in enumerate(self.bleu)}
        means = {name: float(scores.mean()) for name, scores in self._scores_per_caption().items()}
        return values | means | {"degenerate_share": self.degenerate.share}

    def outcome(self, java: JavaScores | None = None) -> Outcome:
        """The scores as an `Outcome`; BLEU is a score of the corpus, without values per caption.

        ``java`` adds METEOR and SPICE of the captions in ``rows``, or notes on why they are missing.
        """
        scores_per_caption = self._scores_per_caption() | (java.per_caption if java else {})
        return Outcome(
            task="captioning",
            samples=len(self.rows),
            metrics=self.metrics() | (java.values if java else {}),
            per_query={name: Queries(scores) for name, scores in scores_per_caption.items()},
            notes=self.notes + self.degenerate.notes() + (java.notes if java else ()),
            details={"degenerate": asdict(self.degenerate)},
        )

    def _scores_per_caption(self) -> dict[str, Floats]:
        return {"ROUGE_L": self.rouge, "CIDEr": self.cider, "exact_match": self.exact}


def caption_scores(
    captions: Sequence[str], references: Sequence[Sequence[str]], progress: Progress = no_progress
) -> CaptionScores:
    """Score each of ``captions`` against its list of ``references``; both are per image, in the same order.

    Images without a usable reference are skipped and noted. Raises EvaluationError if the lengths differ, or no image
    has a reference.
    """
    if len(captions) != len(references):
        raise EvaluationError(f"{len(captions)} captions do not match references for {len(references)} images.")
    all_reference_words = [
        [words for reference in image_references if (words := tokens(reference))] for image_references in references
    ]
    rows = tuple(row for row, image_references in enumerate(all_reference_words) if image_references)
    if not rows:
        raise EvaluationError(f"none of the {len(references)} images has a reference caption; check the data source.")
    notes = []
    if len(rows) < len(references):
        notes.append(f"{len(references) - len(rows)} of {len(references)} images have no reference and were skipped.")
    if len(rows) == 1:
        notes.append("CIDEr weights words by their rarity among images, and is 0 for a single image.")
    words_by_row = [tokens(captions[row]) for row in rows]
    reference_words = [all_reference_words[row] for row in rows]
    return CaptionScores(
        bleu=bleu(words_by_row, reference_words),
        rouge=rouge_l(words_by_row, reference_words, part_of(progress, 0, 0.5)),
        cider=cider(words_by_row, reference_words, part_of(progress, 0.5, 1)),
        exact=np.array(
            [
                float(words in image_references)
                for words, image_references in zip(words_by_row, reference_words, strict=True)
            ]
        ),
        degenerate=degeneracy(words_by_row),
        rows=rows,
        notes=tuple(notes),
    )


def grams(words: Words, order: int) -> Grams:
    """The number of occurrences of each n-gram of ``order`` words."""
    return Counter(tuple(words[start : start + order]) for start in range(len(words) - order + 1))


def bleu(captions: Sequence[Words], references: Sequence[Sequence[Words]]) -> tuple[float, float, float, float]:
    """BLEU-1 to BLEU-4 of the corpus (Papineni et al. 2002), from 0 to 1.

    The geometric mean of clipped n-gram precisions; times exp(1 - r/c) if the captions' total length c is below r, the
    sum of the closest reference lengths.
    """
    matches, totals = [0] * ORDERS, [0] * ORDERS
    length, closest = 0, 0
    for words, image_references in zip(captions, references, strict=True):
        length += len(words)
        closest += min((abs(len(reference) - len(words)), len(reference)) for reference in image_references)[1]
        for order in range(1, ORDERS + 1):
            max_counts: Grams = Counter()
            for reference in image_references:
                max_counts |= grams(reference, order)
            matches[order - 1] += (grams(words, order) & max_counts).total()
            totals[order - 1] += max(0, len(words) - order + 1)
    # The constants are pycocoevalcap's; they prevent division by zero for empty captions.
    ratio = (length + 1e-15) / (closest + 1e-9)
    brevity = math.exp(1 - 1 / ratio) if ratio < 1 else 1.0
    product, values = 1.0, []
    for order in range(ORDERS):
        product *= (matches[order] + 1e-15) / (totals[order] + 1e-9)
        values.append(product ** (1 / (order + 1)) * brevity)
    return values[0], values[1], values[2], values[3]


def rouge_l(
    captions: Sequence[Words], references: Sequence[Sequence[Words]], progress: Progress = no_progress
) -> Floats:
    """ROUGE-L of each caption (Q,), from 0 to 1 (Lin 2004; beta = 1.2, as in COCO's evaluation).

    With P and R the best precision and the best recall of the longest common subsequence over the references:
    (1 + beta^2) P R / (R + beta^2 P).
    """
    scores = np.zeros(len(captions))
    for row, (words, image_references) in enumerate(zip(captions, references, strict=True)):
        if row % 256 == 0:
            progress(row / len(captions), "ROUGE-L")
        if not words:
            continue
        common = [longest_common(words, reference) for reference in image_references]
        precision = max(common) / len(words)
        recall = max(length / len(reference) for length, reference in zip(common, image_references, strict=True))
        if precision and recall:
            scores[row] = (1 + ROUGE_BETA**2) * precision * recall / (recall + ROUGE_BETA**2 * precision)
    return scores


def longest_common(a: Words, b: Words) -> int:
    """The length of the longest common subsequence of two lists of words."""
    before = [0] * (len(b) + 1)
    for word in a:
        row = [0]
        for position, candidate in enumerate(b):
            row.append(before[position] + 1 if word == candidate else max(row[position], before[position + 1]))
        before = row
    return before[-1]


def cider(captions: Sequence[Words], references: Sequence[Sequence[Words]], progress: Progress = no_progress) -> Floats:
    """CIDEr-D of each caption (Q,), from 0 to 10 (Vedantam et al. 2015); document frequencies are of ``references``."""
    image_counts: Counter[tuple[str, ...]] = Counter()  # n-gram -> number of images with a reference that contains it
    for image_references in references:
        image_counts.update(
            {
                gram
                for reference in image_references
                for order in range(1, ORDERS + 1)
                for gram in grams(reference, order)
            }
        )
    max_idf = math.log(len(captions))
    scores = np.zeros(len(captions))
    for row, (words, image_references) in enumerate(zip(captions, references, strict=True)):
        if row % 256 == 0:
            progress(row / len(captions), "CIDEr")
        vectors = [_tf_idf(words, order, image_counts, max_idf) for order in range(1, ORDERS + 1)]
        total = 0.0
        for reference in image_references:
            # The length counts pairs of words, as in pycocoevalcap.
            delta = max(0, len(words) - 1) - max(0, len(reference) - 1)
            penalty = math.exp(-(delta**2) / (2 * CIDER_SIGMA**2))
            for order, vector in enumerate(vectors, start=1):
                total += penalty * _cosine(vector, _tf_idf(reference, order, image_counts, max_idf))
        scores[row] = 10 * total / (ORDERS * len(image_references))
    return scores


Vector = dict[tuple[str, ...], float]


def _tf_idf(words: Words, order: int, image_counts: Counter[tuple[str, ...]], max_idf: float) -> Vector:
    """TF-IDF of each n-gram; an n-gram that occurs in no reference is treated as if it occurred for one image."""
    counts = grams(words, order)
    return {gram: count * (max_idf - math.log(max(1, image_counts[gram]))) for gram, count in counts.items()}


def _cosine(caption: Vector, reference: Vector) -> float:
    """The cosine similarity, with each weight of the caption clipped to the reference's weight."""
    product = sum(
        min(weight, reference_weight) * reference_weight
        for gram, weight in caption.items()
        if (reference_weight := reference.get(gram))
    )
    norm = math.sqrt(sum(w * w for w in caption.values())) * math.sqrt(sum(w * w for w in reference.values()))
    return product / norm if norm else 0.0
