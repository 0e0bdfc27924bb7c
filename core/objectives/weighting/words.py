"""How well the words of a caption fit its image, judged without the pair itself.

Flow: features of the images, `core.objectives.weighting.descriptors`, and their captions -> **words** -> the order of
``core.evaluation.noise``, and the pairs that `core.objectives.weighting.prior` filters out before training.

A network that has memorised a mismatched pair finds it as likely as a clean one; what a single word looks like it can
only learn from many pairs. A kernel ridge regression predicts for each word whether the caption of an image has it,
from the network's features and from descriptors that know no captions. Each pair is judged without the captions of
its own image (leave-one-out; cross-validation is what confident learning asks for, Northcutt et al. 2021). The kernel
is Gaussian, approximated at `LANDMARKS` images (Williams and Seeger 2001, Using the Nystroem method to speed up kernel
machines). Everything is fitted twice: to all pairs alike, then with each weighted by its clean probability.

Five measures describe a pair:

- *given*: the mean over the caption's words of log(predicted / frequency);
- *least*: the lowest probability of any word to be there, or to be missing (self-confidence of many labels;
  Thyagarajan et al. 2022, Identifying incorrect annotations in multi-label classification data);
- *alike*: the cosine, over all words, of caption and prediction, both in standard deviations from the frequency;
- *specific*: the log of the squared length of that prediction: how much the image tells;
- *known*: how many words of the caption are in several captions: how much the caption tells.

A logistic regression on these and their products separates the pairs of the data from images with captions drawn at
random, out of fold. So its odds are the ratio of two densities (Sugiyama et al. 2012, Density ratio estimation in
machine learning), calibrated per pair: a measure counts for more where image and caption tell more.

Legend: P pairs, D features, K landmarks, V words, O occurrences of words in captions, B images at once, U pairs of
these, A captions that are compared with each image.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from core.data.dataset import Progress
from core.objectives.weighting.evidence import below, in_double, ranks

FOLDS = 5  # of the logistic regression
LANDMARKS = 1000  # images that the others are compared with, at most
RIDGE = 0.5  # of a kernel that is 1 of an image with itself
LEAST = 3  # captions that have a word
WORDS = 8192  # the most frequent ones
FITTED = 16384  # pairs that regressions are fitted to, at most
WEIGHT = 0.7  # of the words beside the evidence; chosen on validation data
_JITTER = 1e-6  # of the kernel of images that are alike
_EDGE = 1e-4  # a likelihood is at least this far from 0 and 1
_BLOCK = 8192  # occurrences at once
_IMAGES = 512  # at once
_DRAWN = 10_000  # captions that are drawn, at least
_ATTEMPTS = 20  # at a caption that differs
_LEAST_AUC = 0.8  # least chance that a clean pair fits better than a drawn caption; below, nothing is filtered
_MOST = 0.85  # largest mismatched share that can be told from images that tell nothing
_LOW = (0.1, 0.5)  # shares of the drawn captions below the odds at which mismatched ones are counted
_CLIP = 4.0  # standard deviations of a measure
_NEWTON = 12  # steps

_WORD = re.compile(r"\w+")


@torch.no_grad()
def word_evidence(features: Tensor, captions: Sequence[str], rows: Tensor, progress: Progress | None = None) -> Tensor:
    """How well the words of ``captions`` (P) fit their images, as ranks from 0 to 1: (P,) float64.

    ``features`` (P, D) are those of each caption's image, ``rows`` (P,) say which are of one image. All are 0.5
    where no word is in several captions. ``progress`` hears how many are judged, and may raise to end it.
    """
    return ranks(_fitted_twice(features, captions, rows, progress).odds)


@torch.no_grad()
def clean_probability(
    features: Tensor, captions: Sequence[str], rows: Tensor, progress: Progress | None = None
) -> Tensor:
    """The probability (P,) float64 that each of ``captions`` is its image's, by its words; as `word_evidence`.

    See `Judged.clean`.
    """
    return _fitted_twice(features, captions, rows, progress).clean()


@dataclass(frozen=True)
class Judged:
    """Log odds that a pair is one of the data rather than an image with a drawn caption: of the pairs, of the draws."""

    odds: Tensor  # (P,) float64
    drawn: Tensor  # (A - 1, P) float64

    def share(self) -> float:
        """An estimate of the share e of mismatched captions, from 0 to 1.

        Mismatched captions fit as drawn ones do. Where F is the share of pairs, and F0 that of draws, below some odds,
        F / F0 is e, and more where clean pairs are below them too; at low odds few are (Storey 2002, A direct approach
        to false discovery rates).
        """
        drawn = self.drawn.flatten().sort().values
        levels = drawn[(torch.linspace(*_LOW, 20) * len(drawn)).long()]
        ratios = [float((self.odds <= level).double().mean() / (drawn <= level).double().mean()) for level in levels]
        return min(1.0, sum(ratios) / len(ratios))

    def auc(self) -> float:
        """The chance that a clean pair fits better than a drawn caption, whatever the share of mismatched ones.

        All pairs together have a = (1 - e) A + e / 2, since mismatched ones fit as drawn ones do; this is A.
        """
        share = self.share()
        together = float((below(self.odds, self.drawn.flatten()) / self.drawn.numel()).mean())
        return (together - share / 2) / max(1.0 - share, 1e-6)

    def clean(self) -> Tensor:
        """The probability (P,) float64 that each pair is clean.

        With e the share of mismatched captions it is 1 - e f0 / f, where f and f0 are the densities of pairs and of
        draws at its odds (the local false discovery rate; Efron et al. 2001), estimated by isotonic regression.
        All are 1 where clean pairs would hardly fit better than drawn captions, or nearly all seem mismatched: then
        either the descriptors tell too little of these captions or most captions are wrong, and the data cannot say
        which.
        """
        share = self.share()
        if share > _MOST or self.auc() < _LEAST_AUC:
            return torch.ones_like(self.odds)
        return (1.0 - share * self._density_ratio()).clamp(0.0, 1.0)

    def _density_ratio(self) -> Tensor:
        """The density of draws over that of pairs at the odds of each pair (P,), falling as these rise."""
        from sklearn.isotonic import IsotonicRegression  # noqa: PLC0415  (a second, for those who fit)

        P, drawn = len(self.odds), self.drawn.flatten()
        is_pair = (torch.arange(P + len(drawn)) < P).double()
        weight = is_pair + (1.0 - is_pair) * P / len(drawn)
        fitted = IsotonicRegression(y_min=1e-6, y_max=1.0)
        fitted.fit(torch.cat([self.odds, drawn]).numpy(), is_pair.numpy(), weight.numpy())
        share = torch.from_numpy(fitted.predict(self.odds.numpy()))
        return (1.0 - share) / share


def _fitted_twice(features: Tensor, captions: Sequence[str], rows: Tensor, progress: Progress | None) -> Judged:
    """The pairs as judged by regressions in which each counts by its clean probability, as the first ones have it."""
    counts, sample = torch.ones(len(captions), dtype=torch.float64), _sample(len(captions))
    some = [captions[i] for i in sample.tolist()]
    features, rows = features.cpu(), rows.cpu()
    compared = kernel_map(in_double(features[sample]))
    counts[sample] = _judged(features[sample], some, rows[sample], compared, counts[sample], progress).clean()
    return _judged(features, captions, rows, compared, counts, progress)


def _judged(
    features: Tensor,
    captions: Sequence[str],
    rows: Tensor,
    compared: Callable[[Tensor], Tensor],
    counts: Tensor,
    progress: Progress | None,
) -> Judged:
    """The pairs by regressions in which each counts as much as ``counts`` (P,) says."""
    P = len(captions)
    draw, draws = torch.Generator().manual_seed(0), max(1, -(-_DRAWN // P))
    drawn = torch.stack([torch.randperm(P, generator=draw) for _ in range(draws)])
    asked = [torch.arange(P), *_others(drawn, captions, draw)]
    odds = _log_odds(_measured(features, captions, rows, asked, compared, counts, progress), rows, _sample(P))
    return Judged(odds[0], odds[1:])


def _others(drawn: Tensor, captions: Sequence[str], draw: torch.Generator) -> Tensor:
    """``drawn`` (A, P), drawn again where another row's caption reads as the image's own: no mismatched one does."""
    numbers = {caption: number for number, caption in enumerate(dict.fromkeys(captions))}
    number = torch.tensor([numbers[caption] for caption in captions])
    for _ in range(_ATTEMPTS):
        same = (number[drawn] == number) & (drawn != torch.arange(len(captions)))
        drawn[same] = torch.randint(len(captions), (int(same.sum()),), generator=draw)
    return drawn


def _log_odds(measures: Tensor, rows: Tensor, sample: Tensor) -> Tensor:
    """The log odds (A, P) of being a pair, the first of ``measures`` (A, 5, P), rather than a draw, all the others.

    Each image by a regression that did not see it; fitted to the pairs ``sample``.
    """
    A, M, P = measures.shape
    mean, spread = measures.mean(dim=(0, 2)), measures.transpose(1, 2).reshape(-1, M).std(dim=0).clamp(min=1e-9)
    scaled = ((measures.transpose(1, 2) - mean) / spread).clamp(-_CLIP, _CLIP)  # (A, P, M)
    first, second = torch.triu_indices(M, M)
    terms = torch.cat([scaled, scaled[..., first] * scaled[..., second], torch.ones(A, P, 1)], dim=2)  # (A, P, T)
    images, image = rows.unique(return_inverse=True)
    fold = (torch.randperm(len(images), generator=torch.Generator().manual_seed(0)) % FOLDS)[image]
    odds = torch.zeros(A, P, dtype=torch.float64)
    for left_out in fold.unique().tolist():
        seen, judged = sample[fold[sample] != left_out], fold == left_out
        is_pair = (torch.arange(A).repeat_interleave(len(seen)) == 0).double()
        weight = is_pair + (1.0 - is_pair) / (A - 1)
        odds[:, judged] = terms[:, judged] @ _logistic(terms[:, seen].flatten(0, 1), is_pair, weight)
    return odds


def _logistic(x: Tensor, y: Tensor, weight: Tensor) -> Tensor:
    """Coefficients (T,) of a logistic regression of ``y`` (N,) on ``x`` (N, T), by Newton's method."""
    coefficients = torch.zeros(x.shape[1], dtype=x.dtype)
    ridge = torch.eye(x.shape[1], dtype=x.dtype)
    for _ in range(_NEWTON):
        chance = (x @ coefficients).sigmoid()
        slope = x.T @ (weight * (y - chance)) - coefficients
        curve = (x * (weight * chance * (1.0 - chance))[:, None]).T @ x + ridge
        coefficients = coefficients + torch.linalg.solve(curve, slope)
    return coefficients


def _measured(
    features: Tensor,
    captions: Sequence[str],
    rows: Tensor,
    asked: Sequence[Tensor],
    compared: Callable[[Tensor], Tensor],
    counts: Tensor,
    progress: Progress | None,
) -> Tensor:
    """The five measures of each image with a caption: (A, 5, P) float64 for A times as many of ``asked`` (P,) each.

    In the regressions each pair counts as much as ``counts`` (P,). All 0 where no word is in several captions.
    """
    P, sample = len(captions), _sample(len(captions))
    measures = torch.zeros(len(asked), 5, P, dtype=torch.float64)
    pair, word, usual = _occurrences(captions, sample)  # (O,), (O,), (V,)
    if not len(usual):
        return measures
    x = compared(in_double(features[sample]))  # (sample, K)
    mean = x.mean(dim=0)
    x -= mean
    place = torch.full((P,), -1)  # of a pair in the sample
    place[sample] = torch.arange(len(sample))
    taught = place[pair] >= 0
    weights, inverse = _regressions(x, counts[sample], place[pair[taught]], word[taught], usual)  # (V, K), (K, K)
    first = torch.searchsorted(pair.contiguous(), torch.arange(P + 1))  # occurrence of each pair
    images, image, size = rows.unique(return_inverse=True, return_counts=True)
    by_image, end = image.argsort(stable=True), size.cumsum(0)
    for begin in range(0, len(images), _IMAGES):
        numbers = torch.arange(begin, min(begin + _IMAGES, len(images)))
        some = by_image[end[begin] - size[begin] : end[numbers[-1]]]  # (U,), the pairs of these images
        z = compared(in_double(features[by_image[end[numbers] - size[numbers]]])) - mean  # (B, K)
        own = some[place[some] >= 0]
        has = _has(first, word, own, len(usual)) - usual
        taught_by = torch.zeros(len(numbers), len(usual), dtype=torch.float64)
        taught_by.index_add_(0, image[own] - begin, counts[own, None] * has)
        much = torch.zeros(len(numbers), dtype=torch.float64).index_add_(0, image[own] - begin, counts[own])
        likely = usual + _without(z @ weights.T, taught_by, much, ((z @ inverse) * z).sum(dim=1))  # (B, V)
        for measure, caption in zip(measures, asked, strict=True):
            has = _has(first, word, caption[some], len(usual))
            measure[:, some] = _measures(likely[image[some] - begin], has, usual)
        if progress is not None:
            progress("judging the captions by their words", int(end[numbers[-1]]), P)
    return measures


def _without(fit: Tensor, taught_by: Tensor, much: Tensor, leverage: Tensor) -> Tensor:
    """Predictions (B, V) of regressions that did not see these images, from ``fit`` (B, V) of those that did.

    ``taught_by`` (B, V): the sum over an image's captions of count times target, ``much`` (B,) the sum of the counts,
    ``leverage`` (B,) z' (X'CX + r)^-1 z. By the matrix inversion lemma (Cook and Weisberg 1982, Residuals and influence
    in regression).
    """
    return (fit - leverage[:, None] * taught_by) / (1.0 - leverage * much)[:, None].clamp(min=1e-9)


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


def kernel_map(features: Tensor) -> Callable[[Tensor], Tensor]:
    """The map (B, D) -> (B, K) float64 to vectors whose products are a Gaussian kernel, of ``features`` (P, D) float64.

    Its width is the features' own: their variance, summed over D, is twice the square of it.
    """
    variance = max(float((features - features.mean(dim=0)).square().sum(dim=1).mean()), 1e-12)
    chosen = torch.randperm(len(features), generator=torch.Generator().manual_seed(0))[:LANDMARKS]
    landmarks = features[chosen]  # (K, D)

    def kernel(some: Tensor) -> Tensor:
        apart = some.square().sum(dim=1)[:, None] + landmarks.square().sum(dim=1) - 2 * some @ landmarks.T
        return apart.clamp(min=0.0).div_(-variance).exp_()

    root = torch.linalg.cholesky(kernel(landmarks) + _JITTER * torch.eye(len(landmarks), dtype=features.dtype))
    return lambda some: torch.linalg.solve_triangular(root, kernel(some).T, upper=False).T


def _regressions(x: Tensor, counts: Tensor, pair: Tensor, word: Tensor, usual: Tensor) -> tuple[Tensor, Tensor]:
    """Weights (V, K) from the centred ``x`` (P, K) to the words, of pairs that count so much (P,), by who has which.

    And the inverse (K, K) of what they were solved with.
    """
    counted = counts[:, None] * x
    with_word = torch.zeros(len(usual), x.shape[1], dtype=x.dtype)
    for some_pairs, some_words in zip(pair.split(_BLOCK), word.split(_BLOCK), strict=True):
        with_word.index_add_(0, some_words, counted[some_pairs])
    with_word -= usual[:, None] * counted.sum(dim=0)  # of what a word deviates from its share
    inverse = torch.linalg.inv(x.T @ counted + RIDGE * torch.eye(x.shape[1], dtype=x.dtype))
    return with_word @ inverse, inverse


def _has(first: Tensor, word: Tensor, some: Tensor, words: int) -> Tensor:
    """Which words the captions of the pairs ``some`` (B,) have, of as many ``words``: (B, V) float64, 0 or 1.

    ``word`` (O,) is in the order of the pairs; a pair's begin at ``first`` (P + 1,).
    """
    begin, count = first[some], first[some + 1] - first[some]
    row = torch.arange(len(some)).repeat_interleave(count)
    within = torch.arange(len(row)) - (count.cumsum(0) - count)[row]
    has = torch.zeros(len(some), words, dtype=torch.float64)
    has[row, word[begin[row] + within]] = 1.0
    return has


def _measures(likely: Tensor, has: Tensor, usual: Tensor) -> Tensor:
    """The five measures (5, U) of captions that have the words ``has`` (U, V), where these are ``likely`` (U, V)."""
    chance = likely.clamp(_EDGE, 1.0 - _EDGE)
    known = has.sum(dim=1)
    given = ((chance / usual).log() * has).sum(dim=1) / known.clamp(min=1)
    least = torch.where(has > 0, chance, 1.0 - chance).amin(dim=1)
    deviation = (usual * (1.0 - usual)).sqrt().clamp(min=1e-6)
    expected, said = (likely - usual) / deviation, (has - usual) / deviation
    alike = F.cosine_similarity(expected, said, dim=1)
    specific = expected.square().sum(dim=1).clamp(min=1e-12).log()
    return torch.stack([given, least, alike, specific, known])
