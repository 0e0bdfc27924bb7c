"""Whether a caption has the words that its picture makes one expect, from pictures that were not looked at for it.

Flow: features of the pictures and their captions -> **words** -> ``core.evaluation.noise``.

A network that has memorised a wrong pair finds it as likely as a right one; what a single word looks like it can only
know from many pairs. So for each word a ridge regression says from a picture's features how likely a caption of it has
the word, each pair being judged by a regression that did not see its picture (cross-validation, as confident learning
asks for; Northcutt et al. 2021). A pair's measure is the mean over its words of log(likely / usual): above 0 where the
words are more likely than in any caption. Words of few captions say nothing.

Legend: P pairs, D embed, V words, O occurrences of words in captions.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

import torch
from torch import Tensor

from core.objectives.weighting.evidence import in_double, ranks

FOLDS = 5
RIDGE = 0.03  # of unit vectors
LEAST = 3  # captions that have a word
WORDS = 8192  # the most frequent ones
FITTED = 16384  # pairs that regressions are fitted to, at most
WEIGHT = 0.4  # of the words beside the evidence; chosen on validation data
_EDGE = 1e-3  # a likelihood is at least this far from 0 and 1
_BLOCK = 8192  # occurrences at once

_WORD = re.compile(r"\w+")


@torch.no_grad()
def word_evidence(images: Tensor, captions: Sequence[str], rows: Tensor) -> Tensor:
    """How much likelier than usual the words of ``captions`` (P) are by their pictures' unit vectors: (P,) float64.

    ``images`` (P, D) are those of each caption, ``rows`` (P,) say which are of one picture. 0 for captions without a
    word that several have.
    """
    P = len(captions)
    sample = torch.arange(P) if P <= FITTED else torch.linspace(0, P - 1, FITTED).long()
    pair, word, usual = _occurrences(captions, sample)  # (O,), (O,), (V,)
    found = torch.zeros(P, dtype=torch.float64)
    if not len(usual):
        return found
    images = images.cpu()
    fitted_to = in_double(images[sample])
    mean = fitted_to.mean(dim=0)
    fitted_to -= mean
    fold = _folds(rows.cpu(), sample)  # (P,)
    taught = torch.isin(pair, sample)
    place = torch.zeros(P, dtype=torch.long)  # of a pair in the sample
    place[sample] = torch.arange(len(sample))
    for left_out in range(-1, FOLDS):
        asked = fold[pair] == left_out
        if not asked.any():
            continue
        seen = taught & (fold[pair] != left_out)
        others = fitted_to[fold[sample] != left_out]
        weights = _regressions(others, fitted_to, place[pair[seen]], word[seen], usual)  # (V, D)
        found.index_add_(0, pair[asked], _log_ratios(images, mean, pair[asked], word[asked], weights, usual))
    return found / torch.bincount(pair, minlength=P).clamp(min=1)


def reordered(belief: Tensor, words: Tensor, groups: Tensor) -> Tensor:
    """``belief`` (P,) in another order within each of ``groups`` (P,): for `WEIGHT` of the whole by ``words`` (P,).

    The values of a group stay as they are: words say nothing of how many pairs are wrong.
    """
    order = (1.0 - WEIGHT) * belief.double() + WEIGHT * ranks(words)
    handed = torch.empty_like(belief)
    for group in groups.unique():
        members = (groups == group).nonzero().squeeze(1)
        handed[members[order[members].argsort(stable=True)]] = belief[members].sort().values
    return handed


def _occurrences(captions: Sequence[str], sample: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Which pair has which word, each once, and the share of captions with each word."""
    split = [set(_WORD.findall(caption.lower())) for caption in captions]
    counts = Counter(word for i in sample.tolist() for word in split[i])
    known = [(word, count) for word, count in counts.most_common(WORDS) if count >= LEAST]
    number = {word: i for i, (word, _) in enumerate(known)}
    pairs = [(i, number[word]) for i, words in enumerate(split) for word in sorted(words) if word in number]
    table = torch.tensor(pairs, dtype=torch.long).reshape(-1, 2)
    usual = torch.tensor([count for _, count in known], dtype=torch.float64) / len(sample)
    return table[:, 0], table[:, 1], usual


def _folds(rows: Tensor, sample: Tensor) -> Tensor:
    """The fold of each pair (P,), one for all captions of a picture; -1 where none is fitted to the picture."""
    pictures, picture = rows.unique(return_inverse=True)
    dealt = torch.randperm(len(pictures), generator=torch.Generator().manual_seed(0)) % FOLDS
    fitted = torch.zeros(len(pictures), dtype=torch.bool)
    fitted[picture[sample]] = True
    return torch.where(fitted, dealt, -1)[picture]


def _regressions(seen: Tensor, x: Tensor, pair: Tensor, word: Tensor, usual: Tensor) -> Tensor:
    """Weights (V, D) from centred features to the words, by the rows ``seen`` of ``x`` and the words that they have."""
    with_word = torch.zeros(len(usual), x.shape[1], dtype=x.dtype)
    for some_pairs, some_words in zip(pair.split(_BLOCK), word.split(_BLOCK), strict=True):
        with_word.index_add_(0, some_words, x[some_pairs])
    with_word -= usual[:, None] * seen.sum(dim=0)  # of what a word deviates from its share
    covariance = seen.T @ seen + RIDGE * torch.eye(x.shape[1], dtype=x.dtype)
    weights: Tensor = torch.linalg.solve(covariance, with_word, left=False)
    return weights


def _log_ratios(images: Tensor, mean: Tensor, pair: Tensor, word: Tensor, weights: Tensor, usual: Tensor) -> Tensor:
    """log(likely / usual) of each occurrence (O,)."""
    parts = []
    for some_pairs, some_words in zip(pair.split(_BLOCK), word.split(_BLOCK), strict=True):
        x = in_double(images[some_pairs]) - mean
        likely = usual[some_words] + torch.einsum("od,od->o", x, weights[some_words])
        parts.append((likely.clamp(_EDGE, 1.0 - _EDGE) / usual[some_words]).log())
    return torch.cat(parts)
