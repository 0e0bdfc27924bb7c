"""How well the words of a caption fit its image, predicted without the pair itself.

Flow: features of the images, `core.objectives.weighting.descriptors`, and their captions -> **words** -> the order of
``core.evaluation.noise``, and the pairs that `core.objectives.weighting.caption_filter` drops before training.

A network that has memorised a mismatched pair assigns it a high probability; the appearance of a single word, however,
is learnt from many pairs. A kernel ridge regression predicts for each word whether the caption of an image contains it,
from the network's features and from image descriptors. Predictions for a pair leave out the captions of its own image
(leave-one-out; confident learning requires cross-validation, Northcutt et al. 2021). The kernel is Gaussian,
approximated with `LANDMARKS` images (Williams and Seeger 2001, Using the Nystroem method to speed up kernel machines).
Everything is fitted twice: with equal pair weights, then with each pair weighted by its clean probability.

Five measures describe a pair:

- *log lift*: the mean over the caption's words of log(predicted / frequency);
- *lowest*: the lowest predicted probability of any word's observed presence or absence (self-confidence for many
  labels; Thyagarajan et al. 2022, Identifying incorrect annotations in multi-label classification data);
- *cosine*: over all words, of caption and prediction, both in standard deviations from the frequency;
- *specificity*: the log of the squared length of that prediction, the information in the image;
- *word count*: the number of words of the caption that occur in several captions, the information in the caption.

A logistic regression on these and their products separates the pairs of the data from images with captions drawn at
random, out of fold. Its odds are a ratio of two densities (Sugiyama et al. 2012, Density ratio estimation in machine
learning), calibrated per pair: a measure has more weight where image and caption are more informative.

Legend: P pairs, D features, K landmarks, V words, O occurrences of words in captions, B images of a block, U their
pairs, A captions that are compared with each image.
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
LANDMARKS = 1000  # at most
RIDGE = 0.5  # for a kernel that is 1 on the diagonal
MIN_COUNT = 3  # captions that contain a word
WORDS = 8192  # the most frequent ones
FITTED = 16384  # pairs that regressions are fitted to, at most
WEIGHT = 0.7  # of words relative to the evidence; chosen on validation data
_JITTER = 1e-6  # on the diagonal of the kernel of the landmarks
_MARGIN = 1e-4  # probabilities are at least this far from 0 and 1
_BLOCK = 8192  # occurrences per block
_IMAGES = 512  # at once
_MIN_DRAWS = 10_000  # randomly drawn captions, at least
_ATTEMPTS = 20  # to draw a different caption
_MIN_AUC = 0.8  # probability that a clean pair fits better than a drawn caption; below, nothing is filtered
_MAX_SHARE = 0.85  # largest mismatched share that is distinguishable from uninformative images
_LOW_LEVELS = (0.1, 0.5)  # quantiles of the drawn captions' odds at which mismatched pairs are counted
_CLIP = 4.0  # standard deviations of a measure
_NEWTON = 12  # steps

_WORD = re.compile(r"\w+")


@torch.no_grad()
def word_evidence(features: Tensor, captions: Sequence[str], rows: Tensor, progress: Progress | None = None) -> Tensor:
    """How well the words of ``captions`` (P) fit their images, as ranks from 0 to 1: (P,) float64.

    ``features`` (P, D): of the image of each caption; ``rows`` (P,): equal for captions of one image. All ranks are 0.5
    if no word occurs in several captions. ``progress`` gets the number of processed pairs, and may raise to cancel.
    """
    return ranks(_fit_twice(features, captions, rows, progress).odds)


@torch.no_grad()
def clean_probability(
    features: Tensor, captions: Sequence[str], rows: Tensor, progress: Progress | None = None
) -> Tensor:
    """The probability (P,) float64 that each of ``captions`` matches its image; arguments as for `word_evidence`.

    See `Judged.clean`.
    """
    return _fit_twice(features, captions, rows, progress).clean()


@dataclass(frozen=True)
class PairOdds:
    """Log odds of being a pair of the data rather than an image with a drawn caption, for pairs and for draws."""

    odds: Tensor  # (P,) float64
    drawn: Tensor  # (A - 1, P) float64

    def share(self) -> float:
        """An estimate of the share e of mismatched captions, from 0 to 1.

        Mismatched captions are distributed like drawn ones. With F the share of pairs and F0 the share of draws below a
        threshold of the odds, F / F0 is e plus a contribution of clean pairs, which is small at low odds (Storey 2002,
        A direct approach to false discovery rates).
        """
        null_odds = self.drawn.flatten().sort().values
        levels = null_odds[(torch.linspace(*_LOW_LEVELS, 20) * len(null_odds)).long()]
        ratios = [
            float((self.odds <= level).double().mean() / (null_odds <= level).double().mean()) for level in levels
        ]
        return min(1.0, sum(ratios) / len(ratios))

    def auc(self) -> float:
        """The probability that a clean pair fits better than a drawn caption, corrected for mismatched pairs.

        For all pairs it is a = (1 - e) A + e / 2, as mismatched ones are distributed like drawn ones; returns A.
        """
        share = self.share()
        overall = float((below(self.odds, self.drawn.flatten()) / self.drawn.numel()).mean())
        return (overall - share / 2) / max(1.0 - share, 1e-6)

    def clean(self) -> Tensor:
        """The probability (P,) float64 that each pair is clean.

        With e the share of mismatched captions it is 1 - e f0 / f, where f and f0 are the densities of pairs and of
        draws at its odds (the local false discovery rate; Efron et al. 2001), estimated by isotonic regression.
        All are 1 if clean pairs hardly fit better than drawn captions, or nearly all pairs seem mismatched: then either
        the descriptors are uninformative or most captions are mismatched, which cannot be distinguished.
        """
        share = self.share()
        if share > _MAX_SHARE or self.auc() < _MIN_AUC:
            return torch.ones_like(self.odds)
        return (1.0 - share * self._density_ratio()).clamp(0.0, 1.0)

    def _density_ratio(self) -> Tensor:
        """The density of draws divided by that of pairs at the odds of each pair (P,), decreasing in the odds."""
        from sklearn.isotonic import IsotonicRegression  # noqa: PLC0415  (a second, for those who fit)

        P, null_odds = len(self.odds), self.drawn.flatten()
        is_pair = (torch.arange(P + len(null_odds)) < P).double()
        weight = is_pair + (1.0 - is_pair) * P / len(null_odds)
        fitted = IsotonicRegression(y_min=1e-6, y_max=1.0)
        fitted.fit(torch.cat([self.odds, null_odds]).numpy(), is_pair.numpy(), weight.numpy())
        share = torch.from_numpy(fitted.predict(self.odds.numpy()))
        return (1.0 - share) / share


def _fit_twice(features: Tensor, captions: Sequence[str], rows: Tensor, progress: Progress | None) -> PairOdds:
    """Odds from regressions weighted by the clean probabilities of a first fit with equal weights."""
    pair_weights, sample = torch.ones(len(captions), dtype=torch.float64), _sample(len(captions))
    sample_captions = [captions[i] for i in sample.tolist()]
    features, rows = features.cpu(), rows.cpu()
    kernel = kernel_map(in_double(features[sample]))
    pair_weights[sample] = _fit(
        features[sample], sample_captions, rows[sample], kernel, pair_weights[sample], progress
    ).clean()
    return _fit(features, captions, rows, kernel, pair_weights, progress)


def _fit(
    features: Tensor,
    captions: Sequence[str],
    rows: Tensor,
    kernel: Callable[[Tensor], Tensor],
    pair_weights: Tensor,
    progress: Progress | None,
) -> PairOdds:
    """Log odds from regressions with the weights ``pair_weights`` (P,) of the pairs."""
    P = len(captions)
    generator, repeats = torch.Generator().manual_seed(0), max(1, -(-_MIN_DRAWS // P))
    permutations = torch.stack([torch.randperm(P, generator=generator) for _ in range(repeats)])
    candidates = [torch.arange(P), *_redraw_equal(permutations, captions, generator)]
    odds = _log_odds(
        _all_measures(features, captions, rows, candidates, kernel, pair_weights, progress), rows, _sample(P)
    )
    return PairOdds(odds[0], odds[1:])


def _redraw_equal(permutations: Tensor, captions: Sequence[str], generator: torch.Generator) -> Tensor:
    """``permutations`` (A, P), redrawn where the text equals the image's own caption: mismatched captions differ."""
    index = {caption: caption_index for caption_index, caption in enumerate(dict.fromkeys(captions))}
    caption_index = torch.tensor([index[caption] for caption in captions])
    for _ in range(_ATTEMPTS):
        same = (caption_index[permutations] == caption_index) & (permutations != torch.arange(len(captions)))
        permutations[same] = torch.randint(len(captions), (int(same.sum()),), generator=generator)
    return permutations


def _log_odds(measures: Tensor, rows: Tensor, sample: Tensor) -> Tensor:
    """The log odds (A, P) of being a pair, the first of ``measures`` (A, 5, P), rather than a draw, the others.

    Out-of-fold predictions by image; fitted to the pairs ``sample``.
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
        fitted, judged = sample[fold[sample] != left_out], fold == left_out
        is_pair = (torch.arange(A).repeat_interleave(len(fitted)) == 0).double()
        weight = is_pair + (1.0 - is_pair) / (A - 1)
        odds[:, judged] = terms[:, judged] @ _logistic(terms[:, fitted].flatten(0, 1), is_pair, weight)
    return odds


def _logistic(x: Tensor, y: Tensor, weight: Tensor) -> Tensor:
    """Coefficients (T,) of a logistic regression of ``y`` (N,) on ``x`` (N, T), by Newton's method."""
    coefficients = torch.zeros(x.shape[1], dtype=x.dtype)
    ridge = torch.eye(x.shape[1], dtype=x.dtype)
    for _ in range(_NEWTON):
        probability = (x @ coefficients).sigmoid()
        gradient = x.T @ (weight * (y - probability)) - coefficients
        hessian = (x * (weight * probability * (1.0 - probability))[:, None]).T @ x + ridge
        coefficients = coefficients + torch.linalg.solve(hessian, gradient)
    return coefficients


def _all_measures(
    features: Tensor,
    captions: Sequence[str],
    rows: Tensor,
    candidates: Sequence[Tensor],
    kernel: Callable[[Tensor], Tensor],
    pair_weights: Tensor,
    progress: Progress | None,
) -> Tensor:
    """The five measures of each image with a caption: (A, 5, P) float64 for A ``candidates`` (P,).

    Regressions weight pairs by ``pair_weights`` (P,). All measures are 0 if no word occurs in several captions.
    """
    P, sample = len(captions), _sample(len(captions))
    measures = torch.zeros(len(candidates), 5, P, dtype=torch.float64)
    pair, word, frequency = _occurrences(captions, sample)  # (O,), (O,), (V,)
    if not len(frequency):
        return measures
    x = kernel(in_double(features[sample]))  # (sample, K)
    mean = x.mean(dim=0)
    x -= mean
    sample_position = torch.full((P,), -1)  # of each pair in the sample
    sample_position[sample] = torch.arange(len(sample))
    in_sample = sample_position[pair] >= 0
    weights, inverse = _regressions(
        x, pair_weights[sample], sample_position[pair[in_sample]], word[in_sample], frequency
    )  # (V, K), (K, K)
    first = torch.searchsorted(pair.contiguous(), torch.arange(P + 1))  # occurrence of each pair
    images, image, size = rows.unique(return_inverse=True, return_counts=True)
    by_image, end = image.argsort(stable=True), size.cumsum(0)
    for begin in range(0, len(images), _IMAGES):
        image_numbers = torch.arange(begin, min(begin + _IMAGES, len(images)))
        block = by_image[end[begin] - size[begin] : end[image_numbers[-1]]]  # (U,) pairs of these images
        z = kernel(in_double(features[by_image[end[image_numbers] - size[image_numbers]]])) - mean  # (B, K)
        own_pairs = block[sample_position[block] >= 0]
        centred_presence = _word_presence(first, word, own_pairs, len(frequency)) - frequency
        target_sums = torch.zeros(len(image_numbers), len(frequency), dtype=torch.float64)
        target_sums.index_add_(0, image[own_pairs] - begin, pair_weights[own_pairs, None] * centred_presence)
        weight_sum = torch.zeros(len(image_numbers), dtype=torch.float64).index_add_(
            0, image[own_pairs] - begin, pair_weights[own_pairs]
        )
        # (B, V)
        predicted = frequency + _leave_one_out(z @ weights.T, target_sums, weight_sum, ((z @ inverse) * z).sum(dim=1))
        for measure, caption in zip(measures, candidates, strict=True):
            centred_presence = _word_presence(first, word, caption[block], len(frequency))
            measure[:, block] = _measures(predicted[image[block] - begin], centred_presence, frequency)
        if progress is not None:
            progress("scoring captions by their words", int(end[image_numbers[-1]]), P)
    return measures


def _leave_one_out(fit: Tensor, target_sums: Tensor, weight_sum: Tensor, leverage: Tensor) -> Tensor:
    """Leave-one-out predictions (B, V), from the predictions ``fit`` (B, V) of regressions with these images.

    ``target_sums`` (B, V): the weighted sum of targets of an image's captions, ``weight_sum`` (B,) the sum of weights,
    ``leverage`` (B,) z' (X'CX + r)^-1 z. By the matrix inversion lemma (Cook and Weisberg 1982, Residuals and influence
    in regression).
    """
    return (fit - leverage[:, None] * target_sums) / (1.0 - leverage * weight_sum)[:, None].clamp(min=1e-9)


def reorder_by_words(belief: Tensor, words: Tensor, groups: Tensor) -> Tensor:
    """``belief`` (P,) in another order within each of ``groups`` (P,): for `WEIGHT` of the whole by ``words`` (P,).

    The values of a group stay as they are: words say nothing of how many pairs are wrong.
    """
    score = (1.0 - WEIGHT) * belief.double() + WEIGHT * ranks(words)
    result = torch.empty_like(belief)
    for group in groups.unique():
        members = (groups == group).nonzero().squeeze(1)
        result[members[score[members].argsort(stable=True)]] = belief[members].sort().values
    return result


def _sample(P: int) -> Tensor:
    """The pairs out of P that regressions are fitted to: `FITTED` at most, evenly spaced."""
    return torch.arange(P) if P <= FITTED else torch.linspace(0, P - 1, FITTED).long()


def _occurrences(captions: Sequence[str], sample: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The distinct (pair, word) occurrences as two tensors, and the share of captions with each word."""
    words_of = [set(_WORD.findall(caption.lower())) for caption in captions]
    counts = Counter(word for i in sample.tolist() for word in words_of[i])
    frequent = [(word, count) for word, count in counts.most_common(WORDS) if count >= MIN_COUNT]
    index = {word: i for i, (word, _) in enumerate(frequent)}
    pairs = [(i, index[word]) for i, words in enumerate(words_of) for word in sorted(words) if word in index]
    table = torch.tensor(pairs, dtype=torch.long).reshape(-1, 2)
    frequency = torch.tensor([count for _, count in frequent], dtype=torch.float64) / len(sample)
    return table[:, 0], table[:, 1], frequency


def kernel_map(features: Tensor) -> Callable[[Tensor], Tensor]:
    """The map (B, D) -> (B, K) float64 to vectors whose products are a Gaussian kernel, of ``features`` (P, D) float64.

    Its width is the features' own: their variance, summed over D, is twice the square of it.
    """
    variance = max(float((features - features.mean(dim=0)).square().sum(dim=1).mean()), 1e-12)
    landmark_rows = torch.randperm(len(features), generator=torch.Generator().manual_seed(0))[:LANDMARKS]
    landmarks = features[landmark_rows]  # (K, D)

    def kernel(x: Tensor) -> Tensor:
        squared = x.square().sum(dim=1)[:, None] + landmarks.square().sum(dim=1) - 2 * x @ landmarks.T
        return squared.clamp(min=0.0).div_(-variance).exp_()

    root = torch.linalg.cholesky(kernel(landmarks) + _JITTER * torch.eye(len(landmarks), dtype=features.dtype))
    return lambda some: torch.linalg.solve_triangular(root, kernel(some).T, upper=False).T


def _regressions(
    x: Tensor, pair_weights: Tensor, pair: Tensor, word: Tensor, frequency: Tensor
) -> tuple[Tensor, Tensor]:
    """Weights (V, K) from the centred ``x`` (P, K) to the words, of pairs that count so much (P,), by who has which.

    And the inverse (K, K) of what they were solved with.
    """
    weighted = pair_weights[:, None] * x
    with_word = torch.zeros(len(frequency), x.shape[1], dtype=x.dtype)
    for some_pairs, some_words in zip(pair.split(_BLOCK), word.split(_BLOCK), strict=True):
        with_word.index_add_(0, some_words, weighted[some_pairs])
    with_word -= frequency[:, None] * weighted.sum(dim=0)  # targets are deviations from the frequency
    inverse = torch.linalg.inv(x.T @ weighted + RIDGE * torch.eye(x.shape[1], dtype=x.dtype))
    return with_word @ inverse, inverse


def _word_presence(first: Tensor, word: Tensor, pairs: Tensor, words: int) -> Tensor:
    """The words that occur in the captions of ``pairs`` (B,), out of ``words``: (B, V) float64, 0 or 1.

    ``word`` (O,) is in the order of the pairs; a pair's begin at ``first`` (P + 1,).
    """
    begin, count = first[pairs], first[pairs + 1] - first[pairs]
    caption = torch.arange(len(pairs)).repeat_interleave(count)
    position = torch.arange(len(caption)) - (count.cumsum(0) - count)[caption]
    presence = torch.zeros(len(pairs), words, dtype=torch.float64)
    presence[caption, word[begin[caption] + position]] = 1.0
    return presence


def _measures(predicted: Tensor, presence: Tensor, frequency: Tensor) -> Tensor:
    """The five measures (5, U) of captions with words ``presence`` (U, V), given ``predicted`` (U, V)."""
    probability = predicted.clamp(_MARGIN, 1.0 - _MARGIN)
    word_count = presence.sum(dim=1)
    log_lift = ((probability / frequency).log() * presence).sum(dim=1) / word_count.clamp(min=1)
    lowest = torch.where(presence > 0, probability, 1.0 - probability).amin(dim=1)
    deviation = (frequency * (1.0 - frequency)).sqrt().clamp(min=1e-6)
    expected, observed = (predicted - frequency) / deviation, (presence - frequency) / deviation
    cosine = F.cosine_similarity(expected, observed, dim=1)
    specificity = expected.square().sum(dim=1).clamp(min=1e-12).log()
    return torch.stack([log_lift, lowest, cosine, specificity, word_count])
