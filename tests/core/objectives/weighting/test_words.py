"""Words that pictures make one expect: against a plain loop, and on captions of which some were exchanged."""

from __future__ import annotations

import math
import re

import numpy as np
import pytest
import torch
from torch import Tensor

from core.objectives.weighting import words as subject
from core.objectives.weighting.evidence import STEP, ranks
from core.objectives.weighting.words import LEAST, RIDGE, WEIGHT, _occurrences, chance_right, reordered, word_evidence

WORDS = ("red", "green", "round", "square", "large", "small")
P, D = 240, 12


@pytest.fixture(autouse=True)
def few_landmarks(monkeypatch: pytest.MonkeyPatch) -> None:
    """All of the P pictures, and a third of the 900."""
    monkeypatch.setattr(subject, "LANDMARKS", 300)


def pairs(exchanged: int = 0) -> tuple[Tensor, list[str]]:
    """Pictures (P, D), each the sum of what its three words look like, and captions, the first of them exchanged."""
    draw = np.random.default_rng(3)
    looks = dict(zip(WORDS, np.linalg.qr(draw.normal(size=(D, D)))[0], strict=False))
    said = [[pair[draw.integers(2)] for pair in (WORDS[:2], WORDS[2:4], WORDS[4:])] for _ in range(P)]
    images = np.stack([sum(looks[word] for word in one) for one in said]) + 0.1 * draw.normal(size=(P, D))
    captions = [f"A {', '.join(one)} thing-{number}!" for number, one in enumerate(said)]
    captions[:exchanged] = captions[1:exchanged] + captions[: min(1, exchanged)]
    return torch.nn.functional.normalize(torch.from_numpy(images), dim=1).float(), captions


def places(values: list[float]) -> list[float]:
    """A place for each that is less; of those within a step of it, a part of one."""
    step = STEP * float(np.std(values))
    parts = [[min(1.0, max(0.0, (x - y) / (2 * step) + 0.5)) for y in values] for x in values]
    return [(sum(row) - 0.5) / (len(values) - 1) for row in parts]


def plain(images: Tensor, captions: list[str], fold: np.ndarray, counts: np.ndarray) -> list[float]:
    """One kernel regression a word and a fold, in its dual form, one caption at a time."""
    x = images.double().numpy()
    apart = ((x[:, None] - x[None]) ** 2).sum(axis=2)
    kernel = np.exp(-apart / ((x - x.mean(axis=0)) ** 2).sum(axis=1).mean())
    kernel = kernel - kernel.mean(axis=0) - kernel.mean(axis=1)[:, None] + kernel.mean()  # of centred features
    split = [set(re.findall(r"\w+", caption.lower())) for caption in captions]
    known = sorted({word for one in split for word in one if sum(word in other for other in split) >= LEAST})
    usual = {word: sum(word in one for one in split) / len(split) for word in known}
    likely: dict[str, np.ndarray] = {}
    for word in known:
        has = np.array([float(word in one) for one in split])
        likely[word] = np.zeros(len(split))
        for left_out in range(subject.FOLDS):
            seen, count = fold != left_out, np.diag(counts[fold != left_out])
            dual = np.linalg.solve(
                count @ kernel[seen][:, seen] + RIDGE * np.eye(len(count)), count @ (has - usual[word])[seen]
            )
            likely[word][~seen] = usual[word] + kernel[~seen][:, seen] @ dual
    measures: list[list[float]] = [[], [], []]
    for i, words in enumerate(split):
        chance = {word: min(max(float(likely[word][i]), 1e-4), 1 - 1e-4) for word in known}
        ratios = [math.log(chance[word] / usual[word]) for word in known if word in words]
        measures[0].append(sum(ratios) / len(ratios) if ratios else 0.0)
        measures[1].append(min(chance[word] if word in words else 1.0 - chance[word] for word in known))
        spread = [math.sqrt(usual[word] * (1 - usual[word])) for word in known]
        a = [(float(likely[word][i]) - usual[word]) / s for word, s in zip(known, spread, strict=True)]
        b = [((word in words) - usual[word]) / s for word, s in zip(known, spread, strict=True)]
        measures[2].append(float(np.dot(a, b) / np.linalg.norm(a) / np.linalg.norm(b)))
    return [sum(three) / 3 for three in zip(*map(places, measures), strict=True)]


def test_it_is_the_plain_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    images, captions = pairs(exchanged=10)
    captions[7] = "nothing that another caption says"
    captions[8] = "???"
    rows = torch.arange(P)
    fold = subject._folds(rows, rows).numpy()
    assert sorted(set(fold)) == list(range(subject.FOLDS))
    monkeypatch.setattr(subject, "_PAIRS", 16)
    own, alike = [torch.arange(P)], np.ones(P)
    found = subject._measured(images, captions, rows, own, torch.ones(P, dtype=torch.float64), None).squeeze(0)
    assert ranks(found).mean(dim=0).tolist() == pytest.approx(plain(images, captions, fold, alike), abs=1e-4)
    right = subject._counts(images, captions, rows, None)
    assert float(right.min()) < 0.5 < float(right.max())
    again = word_evidence(images, captions, rows)
    assert again.tolist() == pytest.approx(plain(images, captions, fold, right.numpy()), abs=1e-4)
    assert not torch.allclose(again, ranks(found).mean(dim=0), atol=1e-3)


def test_exchanged_captions_are_told_from_their_own() -> None:
    images, captions = pairs(exchanged=40)
    right = pairs()[1]
    found = word_evidence(images, captions, torch.arange(P))
    wrong = torch.tensor([a.split(" thing")[0] != b.split(" thing")[0] for a, b in zip(captions, right, strict=True)])
    assert 20 < int(wrong.sum()) < 40
    assert float(found[wrong].max()) < float(found[~wrong].median())


def many(wrong: int, seed: int = 0) -> tuple[Tensor, list[str], Tensor]:
    """900 pictures, the captions of ``wrong`` of them dealt out anew; and which these are."""
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


@pytest.mark.parametrize("wrong", [90, 270, 400])
def test_the_chance_of_being_right_says_how_many_are_wrong(wrong: int) -> None:
    images, captions, is_wrong = many(wrong)
    found = chance_right(images, captions, torch.arange(900))
    told, count = float((1 - found).sum()), int(is_wrong.sum())
    assert 0.4 * count < told < 1.2 * count, "of few pairs rather too low"
    assert float(found[is_wrong].mean()) < 0.75 < 0.9 < float(found[~is_wrong].mean())
    fit = word_evidence(images, captions, torch.arange(900))
    assert float(torch.corrcoef(torch.stack([fit.argsort().argsort(), found.argsort().argsort()]).double())[0, 1]) > 0.8


def test_where_all_captions_are_right_all_count() -> None:
    images, captions, _ = many(0)
    found = chance_right(images, captions, torch.arange(900))
    assert float(found.mean()) > 0.97
    assert ((found >= 0) & (found <= 1)).all()


def test_where_looks_tell_too_little_nothing_is_doubted() -> None:
    """As little as of pictures with nothing to see; that most captions are wrong looks alike."""
    images, captions, _ = many(900)
    nothing = torch.nn.functional.normalize(
        torch.randn(images.shape, generator=torch.Generator().manual_seed(0)), dim=1
    )
    for seen, said in ((images, captions), (nothing, many(0)[1]), (images, [f"unique{i}" for i in range(900)])):
        assert (chance_right(seen, said, torch.arange(900)) == 1).all()


def test_captions_of_one_picture_are_judged_together() -> None:
    """A regression that saw the picture with its other caption would only repeat it."""
    rows = torch.arange(P) // 3
    for sample in (torch.arange(P), torch.arange(0, P, 4)):  # of all pairs, and of some captions of most pictures
        fold = subject._folds(rows, sample)
        assert all(len(set(fold[rows == row].tolist())) == 1 for row in rows.unique())
        assert (fold[sample] >= 0).all()


def test_of_very_many_pairs_a_sample_teaches_and_all_are_judged(monkeypatch: pytest.MonkeyPatch) -> None:
    images, captions = pairs(exchanged=40)
    whole = word_evidence(images, captions, torch.arange(P))
    monkeypatch.setattr(subject, "FITTED", 120)
    monkeypatch.setattr(subject, "_BLOCK", 7)
    told: list[tuple[int, int]] = []
    some = word_evidence(images, captions, torch.arange(P), lambda doing, done, total: told.append((done, total)))
    assert (120, 120) in told, "the sample first"
    assert told[-1] == (P, P)
    assert int((subject._folds(torch.arange(P), torch.arange(0, P, 2)) == -1).sum()) == P - 120
    assert float(torch.corrcoef(torch.stack([whole, some]))[0, 1]) > 0.8
    assert ((some > 0.0) & (some < 1.0)).all()


@pytest.mark.parametrize("caption", ["", "???", "unique{}"])
def test_captions_without_common_words_say_nothing(caption: str) -> None:
    captions = [caption.format(i) for i in range(P)]
    assert word_evidence(pairs()[0], captions, torch.arange(P)).tolist() == [0.5] * P


def test_a_word_counts_from_the_least_number_of_captions_on() -> None:
    captions = ["red"] * LEAST + ["blue"] * (LEAST - 1)
    pair, word, usual = _occurrences(captions, torch.arange(len(captions)))
    assert (pair.tolist(), word.tolist()) == (list(range(LEAST)), [0] * LEAST)
    assert usual.tolist() == [LEAST / (2 * LEAST - 1)]


def test_the_order_changes_within_groups_and_the_values_stay() -> None:
    belief = torch.tensor([0.1, 0.2, 0.3, 0.6, 0.7, 0.8])
    low = torch.tensor([True, True, True, False, False, False])
    against = torch.tensor([0.0, 3.0, -3.0, 1.0, 2.0, -9.0])
    found = reordered(belief, against, low)
    assert found.tolist() == pytest.approx([0.2, 0.3, 0.1, 0.7, 0.8, 0.6])
    assert 0.0 < WEIGHT < 1.0
    assert reordered(belief, torch.zeros(6), low).tolist() == belief.tolist()
    equal = torch.full((6,), 0.5)
    assert reordered(equal, against, low).tolist() == equal.tolist()
    three = torch.tensor([0, 1, 0, 1, 2, 2])
    close = belief / 100 + 0.5
    found = reordered(close, -torch.arange(6.0), three)
    assert [found[three == group].sort().values.tolist() for group in range(3)] == [
        close[three == group].tolist() for group in range(3)
    ]
