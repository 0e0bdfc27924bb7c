"""Whether a caption has the words that its picture makes one expect, from pictures that were not looked at for it.

Flow: features of the pictures, `core.objectives.weighting.descriptors`, and their captions -> **words** -> the order of
``core.evaluation.noise``, and the pairs that `core.objectives.weighting.prior` leaves out.

A network that has memorised a wrong pair finds it as likely as a right one; what a single word looks like it can only
know from many pairs. So for each word a kernel ridge regression says how likely a caption of a picture has the word,
from the network's features and from descriptors that know of no caption, each pair being judged by a regression that
did not see its picture (cross-validation, as confident learning asks for; Northcutt et al. 2021). The kernel is
Gaussian, by its values at `LANDMARKS` pictures (Williams and Seeger 2001, Using the Nystroem method to speed up kernel
machines). Regressions are fitted twice: to all pairs alike, and then to each by its chance of being right as the first
ones see it. Descriptors alone tell so much that training can begin with it (`core.objectives.weighting.prior`).

Three measures of a pair count alike, each as a rank:

- *given*: the mean over its caption's words of log(likely / usual);
- *least*: the chance of the one word, among all, that the picture makes least likely to be there, or to be missing
  (self-confidence of many labels; Thyagarajan et al. 2022, Identifying incorrect annotations in multi-label
  classification data);
- *alike*: the correlation, over all words, of what the caption has with what is likely, both in standard deviations.

Words of few captions say nothing.

Legend: P pairs, D features, K landmarks, V words, O occurrences of words in captions, B pairs at once.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from core.data.dataset import Progress
from core.objectives.weighting.evidence import below, in_double, ranks

FOLDS = 5
LANDMARKS = 1000  # pictures that the others are compared with, at most
RIDGE = 0.5  # of a kernel that is 1 of a picture with itself
LEAST = 3  # captions that have a word
WORDS = 8192  # the most frequent ones
FITTED = 16384  # pairs that regressions are fitted to, at most
WEIGHT = 0.7  # of the words beside the evidence; chosen on validation data
_EDGE = 1e-4  # a likelihood is at least this far from 0 and 1
_BLOCK = 8192  # occurrences at once
_PAIRS = 512  # pairs at once
_DRAWN = 10_000  # captions that are drawn, at least
_TOLD = 0.7  # least chance that a pair's own caption fits better than a drawn one
_LOW = (0.1, 0.3)  # shares of the drawn ones that are below the measures that wrong ones are counted at

_WORD = re.compile(r"\w+")


@torch.no_grad()
def word_evidence(features: Tensor, captions: Sequence[str], rows: Tensor, progress: Progress | None = None) -> Tensor:
    """How well the words of ``captions`` (P) fit their pictures, from 0 to 1: (P,) float64.

    ``features`` (P, D) are those of each caption's picture, ``rows`` (P,) say which are of one picture. All are 0.5
    where no word is in several captions. ``progress`` hears how many are judged, and may raise to end it.
    """
    own = torch.arange(len(captions))
    counts = _counts(features, captions, rows, progress)
    return ranks(_measured(features, captions, rows, [own], counts, progress)[0]).mean(dim=0)


@torch.no_grad()
def chance_right(features: Tensor, captions: Sequence[str], rows: Tensor, progress: Progress | None = None) -> Tensor:
    """The probability (P,) float64 that each of ``captions`` is its picture's, by its words; as `word_evidence`.

    How wrong captions measure is known: as captions drawn from all pictures do. Where F is the share of pairs, and F0
    that of such draws, below a measure, F / F0 of all captions are wrong, and fewer where right ones are below it too;
    at low measures few are, and the mean of these ratios is an estimate of the share (Storey 2002, A direct approach to
    false discovery rates). The chance that a pair is wrong is that share times the ratio of the densities (the local
    false discovery rate; Efron et al. 2001), which falls as the measure rises. All are 1 where own captions hardly fit
    better than drawn ones: either looks tell too little of these captions, or most are wrong, and nobody can say which.
    """
    return _chance(features, captions, rows, _counts(features, captions, rows, progress), progress)


def _counts(features: Tensor, captions: Sequence[str], rows: Tensor, progress: Progress | None) -> Tensor:
    """How much each pair counts (P,): as its chance of being right, by regressions in which all of them count 1."""
    counts, sample = torch.ones(len(captions), dtype=torch.float64), _sample(len(captions))
    some = [captions[i] for i in sample.tolist()]
    chosen = sample.to(features.device)
    counts[sample] = _chance(features[chosen], some, rows[sample.to(rows.device)], counts[sample], progress)
    return counts


def _chance(
    features: Tensor, captions: Sequence[str], rows: Tensor, counts: Tensor, progress: Progress | None
) -> Tensor:
    """As `chance_right`, by regressions in which each pair counts as much as ``counts`` (P,) says."""
    P = len(captions)
    draw, draws = torch.Generator().manual_seed(0), max(1, -(-_DRAWN // P))
    asked = [torch.arange(P), *(torch.randperm(P, generator=draw) for _ in range(draws))]
    fit = ranks(_measured(features, captions, rows, asked, counts, progress).transpose(0, 1).flatten(1)).mean(dim=0)
    own, drawn = fit[:P], fit[P:]  # (P,), (draws * P,)
    if float((below(own, drawn) / len(drawn)).mean()) < _TOLD:
        return torch.ones(P, dtype=torch.float64)
    levels = drawn.sort().values[(torch.linspace(*_LOW, 20) * len(drawn)).long()]
    ratios = [float((own <= level).double().mean() / (drawn <= level).double().mean()) for level in levels]
    return (1.0 - min(1.0, sum(ratios) / len(ratios)) * _density_ratio(own, drawn)).clamp(0.0, 1.0)


def _density_ratio(own: Tensor, drawn: Tensor) -> Tensor:
    """The density of ``drawn`` over that of ``own`` at each of ``own`` (P,), falling, by isotonic regression."""
    from sklearn.isotonic import IsotonicRegression  # noqa: PLC0415  (a second, for those who fit)

    fit = torch.cat([own, drawn]).numpy()
    is_own = torch.cat([torch.ones_like(own), torch.zeros_like(drawn)]).numpy()
    weight = torch.cat([torch.ones_like(own), torch.full_like(drawn, len(own) / len(drawn))]).numpy()
    share = IsotonicRegression(y_min=1e-6, y_max=1.0).fit(fit, is_own, weight).predict(own.numpy())
    return torch.from_numpy((1.0 - share) / share)


def _measured(
    features: Tensor,
    captions: Sequence[str],
    rows: Tensor,
    asked: Sequence[Tensor],
    counts: Tensor,
    progress: Progress | None,
) -> Tensor:
    """The three measures of each picture with a caption: (A, 3, P) for A times as many of ``asked`` (P,) each.

    In the regressions each pair counts as much as ``counts`` (P,). All 0.5 where no word is in several captions.
    """
    P = len(captions)
    measures = torch.full((len(asked), 3, P), 0.5, dtype=torch.float64)
    sample = _sample(P)
    pair, word, usual = _occurrences(captions, sample)  # (O,), (O,), (V,)
    if not len(usual):
        return measures
    features = features.cpu()
    taught_by = in_double(features[sample])
    compared = kernel_map(taught_by)
    fitted_to = compared(taught_by)  # (sample, K)
    mean = fitted_to.mean(dim=0)
    fitted_to -= mean
    fold = _folds(rows.cpu(), sample)  # (P,)
    taught = torch.isin(pair, sample)
    place = torch.zeros(P, dtype=torch.long)  # of a pair in the sample
    place[sample] = torch.arange(len(sample))
    first = torch.searchsorted(pair.contiguous(), torch.arange(P + 1))  # occurrence of each pair
    done = 0
    for left_out in range(-1, FOLDS):
        judged = (fold == left_out).nonzero().squeeze(1)
        if not len(judged):
            continue
        seen = taught & (fold[pair] != left_out)
        counted = torch.where(fold[sample] != left_out, counts[sample], 0.0)
        weights = _regressions(fitted_to, counted, place[pair[seen]], word[seen], usual).float()  # (V, K)
        for some in judged.split(_PAIRS):
            likely = usual + (compared(in_double(features[some])) - mean).float() @ weights.T  # (B, V)
            for found, caption in zip(measures, asked, strict=True):
                found[:, some] = _measures(likely, _has(first, word, caption[some], len(usual)), usual)
            done += len(some)
            if progress is not None:
                progress("judging the captions by their words", done, P)
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


def _sample(P: int) -> Tensor:
    """The pairs of P that regressions are fitted to: `FITTED` at most, evenly apart."""
    return torch.arange(P) if P <= FITTED else torch.linspace(0, P - 1, FITTED).long()


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


def kernel_map(features: Tensor) -> Callable[[Tensor], Tensor]:
    """The map (B, D) -> (B, K) float64 to vectors whose products are a Gaussian kernel, of ``features`` (P, D) float64.

    Its width is the features' own: their variance, summed over D, is twice the square of it.
    """
    from sklearn.kernel_approximation import Nystroem  # noqa: PLC0415  (a second, for those who fit)

    variance = float((features - features.mean(dim=0)).square().sum(dim=1).mean())
    landmarks = min(LANDMARKS, len(features))
    kernel = Nystroem(gamma=1.0 / max(variance, 1e-12), n_components=landmarks, random_state=0).fit(features.numpy())
    return lambda some: torch.from_numpy(kernel.transform(some.numpy()))


def _regressions(x: Tensor, counts: Tensor, pair: Tensor, word: Tensor, usual: Tensor) -> Tensor:
    """Weights (V, K) from the centred ``x`` (P, K) to the words, of pairs that count so much (P,), by who has which."""
    counted = counts[:, None] * x
    with_word = torch.zeros(len(usual), x.shape[1], dtype=x.dtype)
    for some_pairs, some_words in zip(pair.split(_BLOCK), word.split(_BLOCK), strict=True):
        with_word.index_add_(0, some_words, counted[some_pairs])
    with_word -= usual[:, None] * counted.sum(dim=0)  # of what a word deviates from its share
    covariance = x.T @ counted + RIDGE * torch.eye(x.shape[1], dtype=x.dtype)
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
