"""How well the words of a caption fit its image, predicted without the pair itself.

Flow: features of the images, `core.objectives.weighting.descriptors`, and captions -> **words** -> the ranking of
``core.evaluation.noise``, and the pairs that `core.objectives.weighting.caption_filter` drops before training.

A network that has memorised a mismatched pair assigns it a high probability; the appearance of a single word, however,
is learnt from many pairs. For each word, a kernel ridge regression predicts from the network's features and from image
descriptors whether the caption contains the word. Predictions for a pair leave out the captions of its own image
(leave-one-out; confident learning requires cross-validation, Northcutt et al. 2021). The kernel is Gaussian,
approximated with `MAX_LANDMARKS` images (Williams and Seeger 2001, Using the Nystroem method to speed up kernel
machines). Everything is fitted twice: with equal pair weights, then with the clean probabilities as weights.

Five measures describe a pair:

- *log lift*: the mean over the caption's words of log(predicted / frequency);
- *lowest*: the lowest predicted probability of any word's observed presence or absence (self-confidence for many
  labels; Thyagarajan et al. 2022, Identifying incorrect annotations in multi-label classification data);
- *cosine*: between the caption's words and the predicted words, both in standard deviations from the frequency;
- *specificity*: the log of the squared length of the prediction, a measure of the information in the image;
- *word count*: the number of words of the caption that occur in several captions, a measure of its information.

A pretrained model, if there is one, adds the two measures of `core.objectives.weighting.model_fit`.

A logistic regression on these measures and their products distinguishes, out of fold, the pairs of the data from images
with randomly drawn captions. Its odds are a ratio of two densities (Sugiyama et al. 2012, Density ratio estimation in
machine learning), calibrated per pair: a measure has more weight if image and caption are more informative.

Legend: P pairs, D features, K landmarks, V words, O occurrences of words in captions, B images of a block, U pairs of
these images, A captions that are compared with each image, M measures, T terms of the logistic regression.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from core.data.dataset import Progress
from core.objectives.weighting.evidence import count_below, ranks, to_double
from core.objectives.weighting.model_fit import ModelFit

FOLDS = 5  # folds of the logistic regression
MAX_LANDMARKS = 1000
RIDGE = 0.5  # for a kernel that is 1 on the diagonal
MIN_COUNT = 3  # words that occur in fewer captions are ignored
MAX_WORDS = 8192  # only the most frequent words are used
MAX_FITTED_PAIRS = 16384  # regressions are fitted to at most this many pairs
WORD_WEIGHT = 0.7  # weight of words relative to the evidence; chosen on validation data
_JITTER = 1e-6  # added to the diagonal of the landmarks' kernel matrix
_MARGIN = 1e-4  # probabilities are at least this far from 0 and 1
_BLOCK_OCCURRENCES = 8192
_BLOCK_IMAGES = 512
_MIN_DRAWS = 10_000  # minimum number of randomly drawn captions
_MAX_ATTEMPTS = 20  # attempts to draw a different caption
_MIN_AUC = 0.8  # probability that a clean pair fits better than a drawn caption; below it, nothing is filtered
_MAX_SHARE = 0.85  # largest mismatched share that is distinguishable from uninformative images
_LOW_LEVELS = (0.1, 0.5)  # quantiles of the drawn captions' odds at which mismatched pairs are counted
_MAX_DEVIATION = 4.0  # measures are clipped at this many standard deviations
_NEWTON_STEPS = 12

_WORD = re.compile(r"\w+")


@torch.no_grad()
def word_evidence(features: Tensor, captions: Sequence[str], rows: Tensor, progress: Progress | None = None) -> Tensor:
    """How well the words of ``captions`` (P) fit their images, as ranks from 0 to 1; (P,) float64.

    ``features`` (P, D): features of each caption's image. ``rows`` (P,): equal for captions of the same image. All
    ranks are 0.5 if no word occurs in several captions. ``progress`` counts processed pairs, and may raise to cancel.
    """
    return ranks(pair_odds(features, captions, rows, progress).odds)


@torch.no_grad()
def clean_probability(
    features: Tensor,
    captions: Sequence[str],
    rows: Tensor,
    progress: Progress | None = None,
    model_fit: ModelFit | None = None,
) -> Tensor:
    """The probability (P,) float64 that each of ``captions`` matches its image (`PairOdds.clean_probability`).

    ``model_fit``: how well they match according to a model that was not trained on these pairs. The other arguments
    are the same as in `word_evidence`.
    """
    return pair_odds(features, captions, rows, progress, model_fit).clean_probability()


@dataclass(frozen=True)
class PairOdds:
    """Log odds of being a pair of the data rather than an image with a drawn caption, for pairs and drawn captions."""

    odds: Tensor  # (P,) float64
    drawn: Tensor  # (A - 1, P) float64

    def mismatched_share(self) -> float:
        """An estimate of the share e of mismatched captions, from 0 to 1.

        Mismatched captions are distributed like drawn captions. With F the share of pairs and F0 the share of drawn
        captions below a threshold of the odds, F / F0 is e plus a contribution of clean pairs, which is small at low
        odds (Storey 2002, A direct approach to false discovery rates).
        """
        null_odds = self.drawn.flatten().sort().values
        levels = null_odds[(torch.linspace(*_LOW_LEVELS, 20) * len(null_odds)).long()]
        ratios = [
            float((self.odds <= level).double().mean() / (null_odds <= level).double().mean()) for level in levels
        ]
        return min(1.0, sum(ratios) / len(ratios))

    def auc(self) -> float:
        """The probability that a clean pair fits better than a drawn caption, corrected for mismatched pairs.

        Over all pairs, the probability is a = (1 - e) A + e / 2, since mismatched captions are distributed like drawn
        captions. Returns A.
        """
        share = self.mismatched_share()
        overall = float((count_below(self.odds, self.drawn.flatten()) / self.drawn.numel()).mean())
        return (overall - share / 2) / max(1.0 - share, 1e-6)

    def clean_probability(self) -> Tensor:
        """The probability (P,) float64 that each pair is clean.

        With e the share of mismatched captions, the probability is 1 - e f0 / f, where f and f0 are the densities of
        pairs and of drawn captions at the pair's odds (the local false discovery rate; Efron et al. 2001), estimated by
        isotonic regression. All probabilities are 1 if clean pairs hardly fit better than drawn captions, or nearly all
        pairs seem mismatched: then uninformative descriptors cannot be distinguished from mismatched captions.
        """
        share = self.mismatched_share()
        if share > _MAX_SHARE or self.auc() < _MIN_AUC:
            return torch.ones_like(self.odds)
        return (1.0 - share * self._density_ratio()).clamp(0.0, 1.0)

    def _density_ratio(self) -> Tensor:
        """f0 / f at the odds of each pair, (P,): the density of drawn captions / of pairs, decreasing in the odds."""
        from sklearn.isotonic import IsotonicRegression  # noqa: PLC0415  (the import takes a second)

        P, null_odds = len(self.odds), self.drawn.flatten()
        is_pair = (torch.arange(P + len(null_odds)) < P).double()
        weight = is_pair + (1.0 - is_pair) * P / len(null_odds)  # pairs and drawn captions have equal total weight
        fitted = IsotonicRegression(y_min=1e-6, y_max=1.0)
        fitted.fit(torch.cat([self.odds, null_odds]).numpy(), is_pair.numpy(), weight.numpy())
        pair_share = torch.from_numpy(fitted.predict(self.odds.numpy()))  # f / (f + f0)
        return (1.0 - pair_share) / pair_share


def pair_odds(
    features: Tensor,
    captions: Sequence[str],
    rows: Tensor,
    progress: Progress | None,
    model_fit: ModelFit | None = None,
) -> PairOdds:
    """Odds from regressions weighted by the clean probabilities of a first fit with equal weights."""
    pair_weights = torch.ones(len(captions), dtype=torch.float64)
    sample = _sample(len(captions))
    sample_captions = [captions[i] for i in sample.tolist()]
    features, rows = features.cpu(), rows.cpu()
    kernel = kernel_map(to_double(features[sample]))
    sample_fit = model_fit.subset(sample) if model_fit else None
    pair_weights[sample] = _fit(
        features[sample], sample_captions, rows[sample], kernel, pair_weights[sample], progress, sample_fit
    ).clean_probability()
    return _fit(features, captions, rows, kernel, pair_weights, progress, model_fit)


def _fit(
    features: Tensor,
    captions: Sequence[str],
    rows: Tensor,
    kernel: Callable[[Tensor], Tensor],
    pair_weights: Tensor,
    progress: Progress | None,
    model_fit: ModelFit | None,
) -> PairOdds:
    """Log odds from regressions with the weights ``pair_weights`` (P,) of the pairs."""
    P = len(captions)
    generator, repeats = torch.Generator().manual_seed(0), math.ceil(_MIN_DRAWS / P)
    permutations = torch.stack([torch.randperm(P, generator=generator) for _ in range(repeats)])
    candidates = [torch.arange(P), *_redraw_equal(permutations, captions, generator)]
    measures = _all_measures(features, captions, rows, candidates, kernel, pair_weights, progress)
    if model_fit is not None:
        of_model = torch.stack([model_fit.measures(candidate) for candidate in candidates])
        measures = torch.cat([measures, of_model], dim=1)
    odds = _log_odds(measures, rows, _sample(P))
    return PairOdds(odds[0], odds[1:])


def _redraw_equal(permutations: Tensor, captions: Sequence[str], generator: torch.Generator) -> Tensor:
    """``permutations`` (A, P), redrawn where another pair's caption has the same text as the image's own caption.

    Such a caption would not be a mismatch.
    """
    number_of = {text: number for number, text in enumerate(dict.fromkeys(captions))}
    text_numbers = torch.tensor([number_of[caption] for caption in captions])
    for _ in range(_MAX_ATTEMPTS):
        same = (text_numbers[permutations] == text_numbers) & (permutations != torch.arange(len(captions)))
        permutations[same] = torch.randint(len(captions), (int(same.sum()),), generator=generator)
    return permutations


def _log_odds(measures: Tensor, rows: Tensor, sample: Tensor) -> Tensor:
    """The log odds (A, P) that the ``measures`` (A, M, P) belong to a pair (index 0) rather than a drawn caption.

    Predictions are out of fold, with folds of images; regressions are fitted to the pairs ``sample``.
    """
    A, M, P = measures.shape
    mean, spread = measures.mean(dim=(0, 2)), measures.transpose(1, 2).reshape(-1, M).std(dim=0).clamp(min=1e-9)
    scaled = ((measures.transpose(1, 2) - mean) / spread).clamp(-_MAX_DEVIATION, _MAX_DEVIATION)  # (A, P, M)
    first, second = torch.triu_indices(M, M)
    terms = torch.cat([scaled, scaled[..., first] * scaled[..., second], torch.ones(A, P, 1)], dim=2)  # (A, P, T)
    images, image_of_pair = rows.unique(return_inverse=True)  # image_of_pair (P,): index in images
    fold = (torch.randperm(len(images), generator=torch.Generator().manual_seed(0)) % FOLDS)[image_of_pair]
    odds = torch.zeros(A, P, dtype=torch.float64)
    for left_out in fold.unique().tolist():
        training, scored = sample[fold[sample] != left_out], fold == left_out
        is_pair = (torch.arange(A).repeat_interleave(len(training)) == 0).double()
        weight = is_pair + (1.0 - is_pair) / (A - 1)
        odds[:, scored] = terms[:, scored] @ _logistic(terms[:, training].flatten(0, 1), is_pair, weight)
    return odds


def _logistic(x: Tensor, y: Tensor, weight: Tensor) -> Tensor:
    """Coefficients (T,) of a logistic regression of ``y`` (N,) on ``x`` (N, T), by Newton's method."""
    coefficients = torch.zeros(x.shape[1], dtype=x.dtype)
    ridge = torch.eye(x.shape[1], dtype=x.dtype)
    for _ in range(_NEWTON_STEPS):
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
    """The five measures (A, 5, P) float64 of each image with each of A ``candidates`` (P,), permutations of captions.

    Regressions weight pairs by ``pair_weights`` (P,). All measures are 0 if no word occurs in several captions.
    """
    P, sample = len(captions), _sample(len(captions))
    measures = torch.zeros(len(candidates), 5, P, dtype=torch.float64)
    pair, word, frequency = _occurrences(captions, sample)  # (O,), (O,), (V,)
    if not len(frequency):
        return measures
    x = kernel(to_double(features[sample]))  # (sample, K)
    mean = x.mean(dim=0)
    x -= mean
    sample_position = torch.full((P,), -1)  # position of each pair in the sample
    sample_position[sample] = torch.arange(len(sample))
    in_sample = sample_position[pair] >= 0
    weights, inverse = _regressions(
        x, pair_weights[sample], sample_position[pair[in_sample]], word[in_sample], frequency
    )  # (V, K), (K, K)
    first = torch.searchsorted(pair.contiguous(), torch.arange(P + 1))  # first occurrence of each pair
    images, image_of_pair, pairs_per_image = rows.unique(return_inverse=True, return_counts=True)
    by_image = image_of_pair.argsort(stable=True)  # (P,) all pairs, grouped by image
    end = pairs_per_image.cumsum(0)  # position in by_image after each image's last pair
    for begin in range(0, len(images), _BLOCK_IMAGES):
        image_numbers = torch.arange(begin, min(begin + _BLOCK_IMAGES, len(images)))
        block = by_image[end[begin] - pairs_per_image[begin] : end[image_numbers[-1]]]  # (U,) pairs of these images
        first_pairs = by_image[end[image_numbers] - pairs_per_image[image_numbers]]  # (B,) the first of each image
        z = kernel(to_double(features[first_pairs])) - mean  # (B, K)
        own_pairs = block[sample_position[block] >= 0]
        centred_presence = _word_presence(first, word, own_pairs, len(frequency)) - frequency
        target_sums = torch.zeros(len(image_numbers), len(frequency), dtype=torch.float64)
        target_sums.index_add_(0, image_of_pair[own_pairs] - begin, pair_weights[own_pairs, None] * centred_presence)
        weight_sum = torch.zeros(len(image_numbers), dtype=torch.float64).index_add_(
            0, image_of_pair[own_pairs] - begin, pair_weights[own_pairs]
        )
        leverage = ((z @ inverse) * z).sum(dim=1)
        predicted = frequency + _leave_one_out(z @ weights.T, target_sums, weight_sum, leverage)  # (B, V)
        for measure, caption in zip(measures, candidates, strict=True):
            presence = _word_presence(first, word, caption[block], len(frequency))
            measure[:, block] = _measures(predicted[image_of_pair[block] - begin], presence, frequency)
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


def reorder_by_words(match_scores: Tensor, words: Tensor, groups: Tensor) -> Tensor:
    """``match_scores`` (P,) reordered within each of ``groups`` (P,), by a weighted mean of the scores and the ranks of
    ``words`` (P,), which have the weight `WORD_WEIGHT`.

    The values within a group do not change, since words say nothing about the number of mismatched pairs.
    """
    score = (1.0 - WORD_WEIGHT) * match_scores.double() + WORD_WEIGHT * ranks(words)
    result = torch.empty_like(match_scores)
    for group in groups.unique():
        members = (groups == group).nonzero().squeeze(1)
        result[members[score[members].argsort(stable=True)]] = match_scores[members].sort().values
    return result


def _sample(P: int) -> Tensor:
    """The pairs that regressions are fitted to: at most `MAX_FITTED_PAIRS` of P, evenly spaced."""
    return torch.arange(P) if P <= MAX_FITTED_PAIRS else torch.linspace(0, P - 1, MAX_FITTED_PAIRS).long()


def _occurrences(captions: Sequence[str], sample: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The distinct (pair, word) occurrences as two tensors, and the share of captions with each word."""
    words_of = [set(_WORD.findall(caption.lower())) for caption in captions]
    counts = Counter(word for i in sample.tolist() for word in words_of[i])
    frequent = [(word, count) for word, count in counts.most_common(MAX_WORDS) if count >= MIN_COUNT]
    index = {word: i for i, (word, _) in enumerate(frequent)}
    pairs = [(i, index[word]) for i, words in enumerate(words_of) for word in sorted(words) if word in index]
    pair, word = torch.tensor(pairs, dtype=torch.long).reshape(-1, 2).unbind(dim=1)
    frequency = torch.tensor([count for _, count in frequent], dtype=torch.float64) / len(sample)
    return pair, word, frequency


def kernel_map(features: Tensor) -> Callable[[Tensor], Tensor]:
    """A function from (B, D) to (B, K) float64 vectors whose products approximate a Gaussian kernel.

    The squared width of the kernel is half the variance of ``features`` (P, D) float64, summed over D.
    """
    variance = max(float((features - features.mean(dim=0)).square().sum(dim=1).mean()), 1e-12)
    landmark_rows = torch.randperm(len(features), generator=torch.Generator().manual_seed(0))[:MAX_LANDMARKS]
    landmarks = features[landmark_rows]  # (K, D)

    def kernel(x: Tensor) -> Tensor:
        squared = x.square().sum(dim=1)[:, None] + landmarks.square().sum(dim=1) - 2 * x @ landmarks.T
        return squared.clamp(min=0.0).div_(-variance).exp_()

    root = torch.linalg.cholesky(kernel(landmarks) + _JITTER * torch.eye(len(landmarks), dtype=features.dtype))
    return lambda x: torch.linalg.solve_triangular(root, kernel(x).T, upper=False).T


def _regressions(
    x: Tensor, pair_weights: Tensor, pair: Tensor, word: Tensor, frequency: Tensor
) -> tuple[Tensor, Tensor]:
    """The ridge regressions of all words on the centred ``x`` (P, K), with pair weights (P,).

    Returns the coefficients (V, K), and the inverse (K, K) of the matrix of the normal equations.
    """
    weighted = pair_weights[:, None] * x
    with_word = torch.zeros(len(frequency), x.shape[1], dtype=x.dtype)
    for some_pairs, some_words in zip(pair.split(_BLOCK_OCCURRENCES), word.split(_BLOCK_OCCURRENCES), strict=True):
        with_word.index_add_(0, some_words, weighted[some_pairs])
    with_word -= frequency[:, None] * weighted.sum(dim=0)  # targets are deviations from the frequency
    inverse = torch.linalg.inv(x.T @ weighted + RIDGE * torch.eye(x.shape[1], dtype=x.dtype))
    return with_word @ inverse, inverse


def _word_presence(first: Tensor, word: Tensor, pairs: Tensor, words: int) -> Tensor:
    """Which of ``words`` words occur in the captions of ``pairs`` (B,): (B, V) float64, 0 or 1.

    ``word`` (O,): the words of all pairs, in order; ``first`` (P + 1,): the position of each pair's first word.
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
