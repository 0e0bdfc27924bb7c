"""Words that images make one expect: against a plain loop, and on captions of which some were exchanged."""

from __future__ import annotations

import math
import re

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from torch import Tensor

from core.objectives.weighting import words as subject
from core.objectives.weighting.words import (
    MIN_COUNT,
    RIDGE,
    WORD_WEIGHT,
    _occurrences,
    clean_probability,
    reorder_by_words,
    word_evidence,
)

WORDS = ("red", "green", "round", "square", "large", "small")
P, D = 240, 12


@pytest.fixture(autouse=True)
def few_landmarks(monkeypatch: pytest.MonkeyPatch) -> None:
    """All of the P images, and a third of the 900."""
    monkeypatch.setattr(subject, "MAX_LANDMARKS", 300)


def pairs(exchanged: int = 0) -> tuple[Tensor, list[str]]:
    """Images (P, D), each the sum of what its three words look like, and captions, the first of them exchanged."""
    draw = np.random.default_rng(3)
    looks = dict(zip(WORDS, np.linalg.qr(draw.normal(size=(D, D)))[0], strict=False))
    said = [[pair[draw.integers(2)] for pair in (WORDS[:2], WORDS[2:4], WORDS[4:])] for _ in range(P)]
    images = np.stack([sum(looks[word] for word in one) for one in said]) + 0.1 * draw.normal(size=(P, D))
    captions = [f"A {', '.join(one)} thing-{number}!" for number, one in enumerate(said)]
    captions[:exchanged] = captions[1:exchanged] + captions[: min(1, exchanged)]
    return torch.nn.functional.normalize(torch.from_numpy(images), dim=1).float(), captions


def plain(images: Tensor, captions: list[str], counts: np.ndarray, given_to: list[int]) -> np.ndarray:
    """The measures (5, P) of image i with the caption ``given_to[i]``: one kernel regression a word and an image that
    is left out, in its dual form, one caption at a time.
    """
    x = images.double().numpy()
    apart = ((x[:, None] - x[None]) ** 2).sum(axis=2)
    kernel = np.exp(-apart / ((x - x.mean(axis=0)) ** 2).sum(axis=1).mean())
    kernel = kernel - kernel.mean(axis=0) - kernel.mean(axis=1)[:, None] + kernel.mean()  # of centred features
    split = [set(re.findall(r"\w+", caption.lower())) for caption in captions]
    known = sorted({word for one in split for word in one if sum(word in other for other in split) >= MIN_COUNT})
    has = np.array([[float(word in one) for word in known] for one in split])  # (P, V)
    usual = has.mean(axis=0)
    measures = np.zeros((5, len(split)))
    for i, j in enumerate(given_to):
        seen = np.arange(len(split)) != i
        dual = np.linalg.solve(
            counts[seen, None] * kernel[seen][:, seen] + RIDGE * np.eye(seen.sum()),
            counts[seen, None] * (has - usual)[seen],
        )
        likely = usual + kernel[i, seen] @ dual
        chance = likely.clip(1e-4, 1 - 1e-4)
        ratios = [math.log(chance[v] / usual[v]) for v in range(len(known)) if has[j, v]]
        measures[0, i] = sum(ratios) / len(ratios) if ratios else 0.0
        measures[1, i] = min(chance[v] if has[j, v] else 1.0 - chance[v] for v in range(len(known)))
        spread = np.sqrt(usual * (1 - usual))
        a, b = (likely - usual) / spread, (has[j] - usual) / spread
        measures[2, i] = float(np.dot(a, b) / np.linalg.norm(a) / np.linalg.norm(b))
        measures[3, i] = math.log(float(np.dot(a, a)))
        measures[4, i] = len(ratios)
    return measures


def test_measures_match_a_plain_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    images, captions = pairs(exchanged=10)
    captions[7] = "nothing that another caption says"
    captions[8] = "???"
    rows, counts = torch.arange(P), torch.linspace(0.2, 1.0, P).double()
    drawn = torch.randperm(P, generator=torch.Generator().manual_seed(1))
    monkeypatch.setattr(subject, "_BLOCK_IMAGES", 16)
    compared = subject.kernel_map(images.double())
    found = subject._all_measures(images, captions, rows, [rows, drawn], compared, counts, None)
    for measures, given_to in zip(found, (rows, drawn), strict=True):
        expected = plain(images, captions, counts.numpy(), given_to.tolist())
        assert measures.numpy() == pytest.approx(expected, abs=1e-3)


def test_captions_of_one_image_are_scored_without_each_other(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if the image and its captions were not there, but for the frequencies of words."""
    images, captions = pairs()
    rows = torch.arange(P) // 3
    images = images[rows * 3]
    counts, compared = torch.ones(P).double(), subject.kernel_map(images.double())
    whole = subject._all_measures(images, captions, rows, [torch.arange(P)], compared, counts, None)[0]
    counts[:3] = 0.0
    without = subject._all_measures(images, captions, rows, [torch.arange(P)], compared, counts, None)[0]
    assert whole[:, :3].numpy() == pytest.approx(without[:, :3].numpy(), abs=1e-6)
    assert not torch.allclose(whole[:, 3:], without[:, 3:], atol=1e-4)


def test_the_regression_matches_scikit_learn() -> None:
    draw = np.random.default_rng(0)
    x, weight = draw.normal(size=(300, 4)), draw.uniform(0.1, 2.0, 300)
    y = (x @ [1.0, -2.0, 0.5, 0.0] + draw.normal(size=300) > 0).astype(float)
    found = subject._logistic(*map(torch.from_numpy, (x, y, weight)))
    peer = LogisticRegression(fit_intercept=False, tol=1e-8).fit(x, y, weight)
    assert found.numpy() == pytest.approx(peer.coef_[0], abs=1e-4)


def test_mismatched_captions_score_lower_than_clean_ones() -> None:
    images, captions = pairs(exchanged=40)
    right = pairs()[1]
    found = word_evidence(images, captions, torch.arange(P))
    wrong = torch.tensor([a.split(" thing")[0] != b.split(" thing")[0] for a, b in zip(captions, right, strict=True)])
    assert 20 < int(wrong.sum()) < 40
    assert float(found[wrong].max()) < float(found[~wrong].median())


def many(wrong: int, seed: int = 0) -> tuple[Tensor, list[str], Tensor]:
    """900 images, the captions of ``wrong`` of them dealt out anew; and which these are."""
    draw = np.random.default_rng(seed)
    looks = np.linalg.qr(draw.normal(size=(30, 30)))[0]
    has = draw.random((900, 30)) < 0.12
    images = torch.from_numpy(has @ looks + 0.15 * draw.normal(size=(900, 30))).float()
    captions = [" ".join(f"w{i}" for i in np.flatnonzero(one)) for one in has]
    order = np.arange(900)
    chosen = draw.permutation(900)[:wrong]
    order[chosen] = np.roll(chosen, 1)
    said = [captions[i] for i in order]
    return (
        torch.nn.functional.normalize(images, dim=1),
        said,
        torch.tensor([a != b for a, b in zip(said, captions, strict=True)]),
    )


@pytest.mark.parametrize("wrong", [90, 540])
def test_the_filter_works_at_every_share_of_mismatched_captions(wrong: int) -> None:
    """60 % too, where a pair as it comes hardly fits better than a drawn caption."""
    images, captions, is_wrong = many(wrong)
    found = clean_probability(images, captions, torch.arange(900))
    assert float((1 - found).sum()) == pytest.approx(int(is_wrong.sum()), rel=0.25)
    dropped = found < 0.5
    assert float(is_wrong[dropped].float().mean()) > 0.8
    assert float(dropped[is_wrong].float().mean()) > 0.6
    fit = word_evidence(images, captions, torch.arange(900))
    assert float(found[fit.argsort()].diff().min()) > -1e-9, "the better the words fit, the likelier clean"


def test_two_classes_are_filtered_though_half_of_the_shuffled_captions_are_clean() -> None:
    draw = np.random.default_rng(5)
    of = draw.integers(2, size=300)
    images = torch.from_numpy(np.eye(2)[of] + 0.1 * draw.normal(size=(300, 2)))
    wrong = torch.arange(300) < 90
    captions = [("cat", "dog")[int(a) ^ int(b)] for a, b in zip(of, wrong, strict=True)]
    found = clean_probability(images, captions, torch.arange(300))
    assert float((found[wrong] < 0.5).float().mean()) > 0.9
    assert float((found[~wrong] < 0.5).float().mean()) < 0.05


def test_clean_data_is_kept_entirely() -> None:
    images, captions, _ = many(0)
    found = clean_probability(images, captions, torch.arange(900))
    assert float(found.mean()) > 0.97
    assert ((found >= 0) & (found <= 1)).all()


def test_without_visual_evidence_nothing_is_filtered() -> None:
    """As little as of images with nothing to see; that most captions are wrong looks alike."""
    images, captions, _ = many(900)
    nothing = torch.nn.functional.normalize(
        torch.randn(images.shape, generator=torch.Generator().manual_seed(0)), dim=1
    )
    for seen, said in ((images, captions), (nothing, many(0)[1]), (images, [f"unique{i}" for i in range(900)])):
        assert (clean_probability(seen, said, torch.arange(900)) == 1).all()


def test_large_data_is_fitted_on_a_sample_and_scored_entirely(monkeypatch: pytest.MonkeyPatch) -> None:
    images, captions = pairs(exchanged=40)
    clean = pairs()[1]
    wrong = torch.tensor([a.split(" thing")[0] != b.split(" thing")[0] for a, b in zip(captions, clean, strict=True)])
    monkeypatch.setattr(subject, "MAX_FITTED_PAIRS", 120)
    monkeypatch.setattr(subject, "_BLOCK_OCCURRENCES", 7)
    told: list[tuple[int, int]] = []
    some = word_evidence(images, captions, torch.arange(P), lambda doing, done, total: told.append((done, total)))
    assert (120, 120) in told, "the sample first"
    assert told[-1] == (P, P)
    assert float(some[wrong].max()) < float(some[~wrong].median())
    assert ((some >= 0.0) & (some <= 1.0)).all()


@pytest.mark.parametrize("caption", ["", "???", "unique{}"])
def test_captions_without_common_words_are_not_scored(caption: str) -> None:
    captions = [caption.format(i) for i in range(P)]
    assert word_evidence(pairs()[0], captions, torch.arange(P)).tolist() == pytest.approx([0.5] * P)


def test_words_count_from_the_minimum_frequency() -> None:
    captions = ["red"] * MIN_COUNT + ["blue"] * (MIN_COUNT - 1)
    pair, word, usual = _occurrences(captions, torch.arange(len(captions)))
    assert (pair.tolist(), word.tolist()) == (list(range(MIN_COUNT)), [0] * MIN_COUNT)
    assert usual.tolist() == [MIN_COUNT / (2 * MIN_COUNT - 1)]


def test_shuffling_permutes_within_groups() -> None:
    belief = torch.tensor([0.1, 0.2, 0.3, 0.6, 0.7, 0.8])
    low = torch.tensor([True, True, True, False, False, False])
    against = torch.tensor([0.0, 3.0, -3.0, 1.0, 2.0, -9.0])
    found = reorder_by_words(belief, against, low)
    assert found.tolist() == pytest.approx([0.2, 0.3, 0.1, 0.7, 0.8, 0.6])
    assert 0.0 < WORD_WEIGHT < 1.0
    assert reorder_by_words(belief, torch.zeros(6), low).tolist() == belief.tolist()
    equal = torch.full((6,), 0.5)
    assert reorder_by_words(equal, against, low).tolist() == equal.tolist()
    three = torch.tensor([0, 1, 0, 1, 2, 2])
    close = belief / 100 + 0.5
    found = reorder_by_words(close, -torch.arange(6.0), three)
    assert [found[three == group].sort().values.tolist() for group in range(3)] == [
        close[three == group].tolist() for group in range(3)
    ]
