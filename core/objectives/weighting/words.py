"""Whether a caption has the words that its picture makes one expect, from pictures that were not looked at for it.

Flow: features of the pictures, `core.objectives.weighting.descriptors`, and their captions -> **words** -> the order of
``core.evaluation.noise``, and the pairs that `core.objectives.weighting.prior` leaves out.

A network that has memorised a wrong pair finds it as likely as a right one; what a single word looks like it can only
know from many pairs. So for each word a ridge regression says how likely a caption of a picture has the word, from the
network's features and from descriptors that know of no caption, each pair being judged by a regression that did not see
its picture (cross-validation, as confident learning asks for; Northcutt et al. 2021). Descriptors alone tell so much
that training can begin with it (`core.objectives.weighting.prior`).
Three measures of a pair count alike, each as a rank:

- *given*: the mean over its caption's words of log(likely / usual);
- *least*: the chance of the one word, among all, that the picture makes least likely to be there, or to be missing
  (self-confidence of many labels; Thyagarajan et al. 2022, Identifying incorrect annotations in multi-label
  classification data);
- *alike*: the correlation, over all words, of what the caption has with what is likely, both in standard deviations.

Words of few captions say nothing.

Legend: P pairs, D features, V words, O occurrences of words in captions, B pairs at once.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from core.objectives.weighting.evidence import below, in_double, ranks

FOLDS = 5
RIDGE = 0.3  # of features that are four unit vectors
LEAST = 3  # captions that have a word
WORDS = 8192  # the most frequent ones
FITTED = 16384  # pairs that regressions are fitted to, at most
WEIGHT = 0.7  # of the words beside the evidence; chosen on validation data
_EDGE = 1e-4  # a likelihood is at least this far from 0 and 1
_BLOCK = 8192  # occurrences at once
_PAIRS = 512  # pairs at once
_DRAWN = 10_000  # captions that are drawn, at least
_TOLD = 0.7  # least chance that a pair's own caption fits better than a drawn one
_LOWEST = 0.1  # share of the drawn ones below the lowest measure that wrong ones are counted at

_WORD = re.compile(r"\w+")


@torch.no_grad()
def word_evidence(features: Tensor, captions: Sequence[str], rows: Tensor) -> Tensor:
    """How well the words of ``captions`` (P) fit their pictures, from 0 to 1: (P,) float64.

    ``features`` (P, D) are those of each caption's picture, ``rows`` (P,) say which are of one picture. All are 0.5
    where no word is in several captions.
    """
    own = torch.arange(len(captions))
    return ranks(_measured(features, captions, rows, [own])[0]).mean(dim=0)


@torch.no_grad()
def chance_right(features: Tensor, captions: Sequence[str], rows: Tensor) -> Tensor:
    """The probability (P,) float64 that each of ``captions`` is its picture's, by its words; as `word_evidence`.

    How wrong captions measure is known: as captions drawn from all pictures do. Where F is the share of pairs, and F0
    that of such draws, below a measure, at most F / F0 of all captions are wrong, the least of these ratios being an
    estimate of their share (Storey 2002, A direct approach to false discovery rates); the chance that a pair is wrong
    is that share times the ratio of the densities (the local false discovery rate; Efron et al. 2001), which falls as
    the measure rises. All are 1 where own captions hardly fit better than drawn ones: either looks tell too little of
    these captions, or most are wrong, and nobody can say which.
    """
    P = len(captions)
    draw, draws = torch.Generator().manual_seed(0), max(1, -(-_DRAWN // P))
    asked = [torch.arange(P), *(torch.randperm(P, generator=draw) for _ in range(draws))]
    fit = ranks(_measured(features, captions, rows, asked).transpose(0, 1).flatten(1)).mean(dim=0)
    own, drawn = fit[:P], fit[P:]  # (P,), (draws * P,)
    if float((below(own, drawn) / len(drawn)).mean()) < _TOLD:
        return torch.ones(P, dtype=torch.float64)
    levels = drawn.sort().values[(torch.linspace(_LOWEST, 0.5, 20) * len(drawn)).long()]
    wrong = min(float((own <= level).double().mean() / (drawn <= level).double().mean()) for level in levels)
    return (1.0 - min(1.0, wrong) * _density_ratio(own, drawn)).clamp(0.0, 1.0)


def _density_ratio(own: Tensor, drawn: Tensor) -> Tensor:
    """The density of ``drawn`` over that of ``own`` at each of ``own`` (P,), falling, by isotonic regression."""
    from sklearn.isotonic import IsotonicRegression  # noqa: PLC0415  (a second, for those who fit)

    fit = torch.cat([own, drawn]).numpy()
    is_own = torch.cat([torch.ones_like(own), torch.zeros_like(drawn)]).numpy()
    weight = torch.cat([torch.ones_like(own), torch.full_like(drawn, len(own) / len(drawn))]).numpy()
    share = IsotonicRegression(y_min=1e-6, y_max=1.0).fit(fit, is_own, weight).predict(own.numpy())
    return torch.from_numpy((1.0 - share) / share)


def _measured(features: Tensor, captions: Sequence[str], rows: Tensor, asked: Sequence[Tensor]) -> Tensor:
    """The three measures of each picture with a caption: (A, 3, P) for A times as many of ``asked`` (P,) each.

    All 0.5 where no word is in several captions.
    """
    P = len(captions)
    measures = torch.full((len(asked), 3, P), 0.5, dtype=torch.float64)
    sample = torch.arange(P) if P <= FITTED else torch.linspace(0, P - 1, FITTED).long()
    pair, word, usual = _occurrences(captions, sample)  # (O,), (O,), (V,)
    if not len(usual):
        return measures
    features = features.cpu()
    fitted_to = in_double(features[sample])
    mean = fitted_to.mean(dim=0)
    fitted_to -= mean
    fold = _folds(rows.cpu(), sample)  # (P,)
    taught = torch.isin(pair, sample)
    place = torch.zeros(P, dtype=torch.long)  # of a pair in the sample
    place[sample] = torch.arange(len(sample))
    first = torch.searchsorted(pair.contiguous(), torch.arange(P + 1))  # occurrence of each pair
    for left_out in range(-1, FOLDS):
        judged = (fold == left_out).nonzero().squeeze(1)
        if not len(judged):
            continue
        seen = taught & (fold[pair] != left_out)
        others = fitted_to[fold[sample] != left_out]
        weights = _regressions(others, fitted_to, place[pair[seen]], word[seen], usual).to(features)  # (V, D)
        for some in judged.split(_PAIRS):
            likely = usual + (features[some] - mean.to(features)) @ weights.T  # (B, V)
            for found, caption in zip(measures, asked, strict=True):
                found[:, some] = _measures(likely, _has(first, word, caption[some], len(usual)), usual)
    return measures


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


def _has(first: Tensor, word: Tensor, some: Tensor, words: int) -> Tensor:
    """Which words the captions of the pairs ``some`` (B,) have, of as many ``words``: (B, V) bool.

    ``word`` (O,) is in the order of the pairs; a pair's begin at ``first`` (P + 1,).
    """
    begin, count = first[some], first[some + 1] - first[some]
    row = torch.arange(len(some)).repeat_interleave(count)
    within = torch.arange(len(row)) - (count.cumsum(0) - count)[row]
    has = torch.zeros(len(some), words, dtype=torch.bool)
    has[row, word[begin[row] + within]] = True
    return has


def _measures(likely: Tensor, has: Tensor, usual: Tensor) -> Tensor:
    """*Given*, *least* and *alike* (3, B) of captions that have these words, where these are ``likely`` (B, V)."""
    chance = likely.double().clamp(_EDGE, 1.0 - _EDGE)
    given = ((chance / usual).log() * has).sum(dim=1) / has.sum(dim=1).clamp(min=1)
    least = torch.where(has, chance, 1.0 - chance).amin(dim=1)
    deviation = (usual * (1.0 - usual)).sqrt().clamp(min=1e-6)
    alike = F.cosine_similarity((likely - usual) / deviation, (has.double() - usual) / deviation, dim=1)
    return torch.stack([given, least, alike])
