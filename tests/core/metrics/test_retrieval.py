"""Retrieval against plain loops: many captions, ties, distractors, block sizes, and what bad input gets."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from core.metrics.inputs import EvaluationError
from core.metrics.retrieval import Ranks, ranks, retrieval_metrics


def plain_ranks(images: np.ndarray, texts: np.ndarray, owner: list[int]) -> tuple[dict[int, int], list[int]]:
    """Rank of each captioned image's best caption and of each caption's image, by full sorts; no ties."""
    images = images / np.linalg.norm(images, axis=1, keepdims=True)
    texts = texts / np.linalg.norm(texts, axis=1, keepdims=True)
    of_images: dict[int, int] = {}
    for i in range(len(images)):
        own = {j for j, image in enumerate(owner) if image == i}
        if own:
            order = sorted(range(len(texts)), key=lambda j: -float(images[i] @ texts[j]))
            of_images[i] = 1 + min(order.index(j) for j in own)
    of_texts = []
    for j, image in enumerate(owner):
        order = sorted(range(len(images)), key=lambda i: -float(images[i] @ texts[j]))
        of_texts.append(1 + order.index(image))
    return of_images, of_texts


def example(image_count: int, captions: int, width: int = 6, seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    owner = torch.randint(image_count, (captions,), generator=generator)
    images = torch.randn(image_count, width, generator=generator)
    texts = images[owner] + 1.5 * torch.randn(captions, width, generator=generator)
    return images, texts, owner


@pytest.mark.parametrize(
    ("image_count", "captions", "block"), [(1, 1, None), (7, 7, 1), (23, 60, 8), (40, 11, 1000), (90, 400, None)]
)
def test_matches_a_plain_loop(image_count: int, captions: int, block: int | None) -> None:
    images, texts, owner = example(image_count, captions)
    of_images, of_texts = plain_ranks(images.double().numpy(), texts.double().numpy(), owner.tolist())

    image_to_text, text_to_image = ranks(images, texts, owner, block)

    assert dict(zip(image_to_text.queries.tolist(), image_to_text.expected_ranks().tolist(), strict=True)) == of_images
    assert text_to_image.expected_ranks().tolist() == of_texts
    values = retrieval_metrics(images, texts, owner, block)
    recalls = []
    for name, plain in (("image_to_text", list(of_images.values())), ("text_to_image", of_texts)):
        for k in (1, 5, 10):
            recalls.append(sum(rank <= k for rank in plain) / len(plain))
            assert values[f"{name}_R@{k}"] == pytest.approx(recalls[-1], abs=1e-9)
        assert values[f"{name}_mean_rank"] == pytest.approx(np.mean(plain), abs=1e-9)
        assert values[f"{name}_median_rank"] == np.floor(np.median(plain))
        assert values[f"{name}_MRR"] == pytest.approx(np.mean([1 / rank for rank in plain]), abs=1e-9)
    assert values["mean_recall"] == pytest.approx(np.mean(recalls), abs=1e-9)


def test_any_caption_counts_for_an_image_and_each_for_itself() -> None:
    images = torch.eye(3)
    texts = torch.tensor([[1.0, 0, 0], [0, 1, 0.1], [0, 0.1, 1], [0, 0, 1]])  # the second caption of 0 describes 1
    values = retrieval_metrics(images, texts, torch.tensor([0, 0, 2, 2]))
    assert values["image_to_text_R@1"] == 1.0  # images 0 and 2; image 1 has no caption and asks nothing
    assert values["text_to_image_R@1"] == 0.75


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_a_collapsed_model_scores_chance(value: float) -> None:
    count = 50
    values = retrieval_metrics(
        torch.full((count, 33), value), torch.full((count, 33), value), torch.arange(count), block=7
    )
    for direction in ("image_to_text", "text_to_image"):
        for k in (1, 5, 10):
            assert values[f"{direction}_R@{k}"] == pytest.approx(k / count)
        assert values[f"{direction}_mean_rank"] == pytest.approx((count + 1) / 2)
        assert values[f"{direction}_MRR"] == pytest.approx(np.mean([1 / rank for rank in range(1, count + 1)]))


def test_ties_count_like_a_random_order() -> None:
    cases = [(0, 0, 1), (2, 3, 1), (0, 4, 2), (3, 6, 5), (4, 1, 3), (0, 95, 5), (12, 3, 2)]  # better, tied, own
    found = Ranks(torch.arange(len(cases)), *torch.tensor(cases).T)
    random = np.random.default_rng(0)
    for i, (better, tied, own) in enumerate(cases):
        places = random.permuted(np.tile(np.arange(tied + own), (20000, 1)), axis=1)[:, :own].min(axis=1)
        drawn = better + places + 1
        assert found.expected_ranks()[i] == pytest.approx(drawn.mean(), abs=0.04 * drawn.std() + 1e-9)
        assert found.reciprocal()[i] == pytest.approx((1 / drawn).mean(), abs=0.04 * (1 / drawn).std() + 1e-9)
        for k in (1, 5, 10, 1000):
            assert found.hits(k)[i] == pytest.approx((drawn <= k).mean(), abs=0.015)


@pytest.mark.parametrize("noise", [0.0, 1e-7])
def test_a_collapsed_model_scores_chance_with_several_captions_too(noise: float) -> None:
    owner = torch.arange(20).repeat_interleave(5)
    texts = 1 + noise * torch.randn(100, 8, generator=torch.Generator().manual_seed(0))
    values = retrieval_metrics(torch.ones(2000, 8), texts, owner)  # so many are near that all of them tie
    assert values["image_to_text_R@1"] == pytest.approx(0.05)


def test_equal_images_share_their_ranks_in_any_order() -> None:
    images, texts, owner = example(30, 60)
    images[11] = images[4] * 3  # the same direction
    values = retrieval_metrics(images, texts, owner)
    order = torch.randperm(60, generator=torch.Generator().manual_seed(1))
    assert retrieval_metrics(images, texts[order], owner[order]) == pytest.approx(values)
    _, text_to_image = ranks(images, texts, owner)
    assert all(text_to_image.tied[(owner == 4) | (owner == 11)] == 1)


@pytest.mark.parametrize(("nearer", "rank"), [(4e-7, 2.0), (-4e-7, 1.0), (0.0, 1.5)])
def test_scores_closer_than_float32_resolves_are_compared_exactly(nearer: float, rank: float) -> None:
    generator = torch.Generator().manual_seed(0)
    basis = torch.linalg.qr(torch.randn(64, 64, generator=generator, dtype=torch.float64))[0]

    def at(cosine: float, side: int) -> Tensor:
        return cosine * basis[0] + (1 - cosine**2) ** 0.5 * basis[side]

    images = torch.stack([at(0.6, 1), at(0.6 + nearer, 2), *basis[3:40]]).float()
    text = basis[:1].float()
    _, of_text = ranks(images, text, torch.tensor([0]))
    assert of_text.expected_ranks().tolist() == [rank]
    of_image, _ = ranks(text, images, torch.zeros(len(images), dtype=torch.int64))
    assert of_image.expected_ranks().tolist() == [1.0]  # all captions are its own
    several = torch.stack([basis[3], basis[0]]).float()
    assert ranks(images, several, torch.tensor([2, 0]), block=1)[1].expected_ranks().tolist() == [1.0, rank]
    captions = torch.stack([at(0.6, 1), basis[3], at(0.6 + nearer, 2)]).float()
    of_image, _ = ranks(basis[[0, 9]].float(), captions, torch.tensor([0, 1, 1]), block=1)
    assert of_image.expected_ranks().tolist()[0] == rank, "also where the rival is of a later block"


def test_scores_are_exact_under_autocast_and_low_precision() -> None:
    images, texts, owner = example(64, 200, width=64)
    expected = retrieval_metrics(images, texts, owner)
    torch.set_float32_matmul_precision("medium")
    try:
        with torch.autocast("cpu", torch.bfloat16):
            assert retrieval_metrics(images, texts, owner) == expected
        assert torch.get_float32_matmul_precision() == "medium"
    finally:
        torch.set_float32_matmul_precision("highest")


def test_progress_is_reported_and_may_cancel() -> None:
    images, texts, owner = example(9, 30)
    seen: list[float] = []
    ranks(images, texts, owner, block=10, progress=lambda share, doing: seen.append(share))
    assert seen == pytest.approx([0, 1 / 3, 2 / 3, 1])

    def cancel(share: float, doing: str) -> None:
        if share > 0:
            raise InterruptedError

    with pytest.raises(InterruptedError):
        ranks(images, texts, owner, block=10, progress=cancel)


Change = Callable[[Tensor, Tensor, Tensor], tuple[Tensor, Tensor, Tensor]]


def with_nan(features: Tensor) -> Tensor:
    features = features.clone()
    features[3, 1] = float("nan")
    return features


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda i, t, o: (with_nan(i), t, o), r"1 of 9 image features contain NaN .*rows 3"),
        (lambda i, t, o: (i, with_nan(t), o), r"text features contain NaN"),
        (lambda i, t, o: (i[:, :4], t, o), r"4 dimensions, but text features have 6"),
        (lambda i, t, o: (i, t, o[:-1]), r"one row number for each of the 12 captions"),
        (lambda i, t, o: (i, t, o.float()), r"not torch.float32"),
        (lambda i, t, o: (i, t, o + 5), r"belongs to image \d+, but the images are 0 to 8"),
        (lambda i, t, o: (i[:0], t, o), r"no image features"),
        (lambda i, t, o: (i, t[:0], o[:0]), r"no text features"),
        (lambda i, t, o: (i[0], t, o), r"must be a matrix"),
    ],
)
def test_bad_input_raises_a_user_error(change: Change, says: str) -> None:
    with pytest.raises(EvaluationError, match=says):
        ranks(*change(*example(9, 12)))
