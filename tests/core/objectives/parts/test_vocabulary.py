"""Losses over a vocabulary in blocks of rows: values and gradients as torch's own on the whole, and of plain loops."""

from __future__ import annotations

import math

import pytest
import torch
from torch.nn import functional as F

from core.objectives.parts import vocabulary
from core.objectives.parts.vocabulary import word_cross_entropy, word_kl

SIZES = [(1, 2), (9, 7)]


@pytest.fixture(autouse=True, params=[1, 20, 2**20])
def _blocks(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks of single rows, of some, and one of all."""
    monkeypatch.setitem(vocabulary._BLOCK_NUMEL, "cpu", request.param)


def drawn(words: int, count: int, seed: int = 0) -> torch.Tensor:
    return 3 * torch.randn(words, count, generator=torch.Generator().manual_seed(seed), dtype=torch.float32)


@pytest.mark.parametrize(("words", "count"), SIZES)
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_hard_targets_match_torch(words: int, count: int, smoothing: float) -> None:
    labels = torch.randint(0, count, (words,), generator=torch.Generator().manual_seed(1))
    weights = torch.rand(words, generator=torch.Generator().manual_seed(2))
    ours, plain = (drawn(words, count).requires_grad_() for _ in range(2))
    losses, right = word_cross_entropy(ours, labels, smoothing)
    wanted = F.cross_entropy(plain, labels, label_smoothing=smoothing, reduction="none")
    torch.testing.assert_close(losses, wanted)
    assert right.tolist() == (plain.argmax(dim=1) == labels).tolist()
    (losses * weights).sum().backward()
    (wanted * weights).sum().backward()
    torch.testing.assert_close(ours.grad, plain.grad)


@pytest.mark.parametrize(("words", "count"), SIZES)
@pytest.mark.parametrize("temperature", [1.0, 2.5])
def test_soft_targets_match_plain_sums(words: int, count: int, temperature: float) -> None:
    taught = drawn(words, count, 3)
    ours, plain = (drawn(words, count, 4).requires_grad_() for _ in range(2))
    kl, entropy = word_kl(ours, taught, temperature)
    said = kl.detach()
    for n in range(words):
        q, p = ([math.exp(float(x) / temperature) for x in row[n]] for row in (taught, ours.detach()))
        q, p = [x / sum(q) for x in q], [x / sum(p) for x in p]
        assert float(said[n]) == pytest.approx(sum(a * math.log(a / b) for a, b in zip(q, p, strict=True)), abs=1e-5)
        assert float(entropy[n]) == pytest.approx(-sum(a * math.log(a) for a in q), abs=1e-5)
    whole = F.kl_div((plain / temperature).log_softmax(1), (taught / temperature).softmax(1), reduction="batchmean")
    whole.backward()
    kl.mean().backward()
    torch.testing.assert_close(ours.grad, plain.grad)


def test_gradients_have_the_precision_of_the_logits() -> None:
    logits = drawn(6, 40).bfloat16().requires_grad_()
    labels = torch.arange(6)
    losses, _ = word_cross_entropy(logits, labels)
    kl, _ = word_kl(logits, drawn(6, 40, 1).bfloat16())
    assert losses.dtype is kl.dtype is torch.float32
    (losses.mean() + kl.mean()).backward()
    assert logits.grad is not None
    assert logits.grad.dtype is torch.bfloat16
    torch.testing.assert_close(logits.grad.float().sum(dim=1), torch.zeros(6), atol=2e-3, rtol=0)


def test_an_empty_target_gives_no_loss() -> None:
    losses, right = word_cross_entropy(torch.zeros(0, 5, requires_grad=True), torch.zeros(0, dtype=torch.int64))
    assert losses.shape == right.shape == (0,)
    losses.sum().backward()
