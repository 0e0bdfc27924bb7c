"""Attention against a plain loop over heads and queries; the prototype head."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from core.model.attention import attend
from core.model.heads import PrototypeHead
from core.model.towers.transformer import AttentionMask


def plain_attention(query: Tensor, key: Tensor, value: Tensor, allowed: Tensor) -> Tensor:
    """One query of one head at a time. ``allowed`` (B, H, Q, L)."""
    out = torch.zeros_like(query)
    batch, heads, queries, width = query.shape
    for b in range(batch):
        for h in range(heads):
            for q in range(queries):
                keys = [k for k in range(key.shape[2]) if allowed[b, h, q, k]]
                scores = [math.exp(float(query[b, h, q] @ key[b, h, k]) / math.sqrt(width)) for k in keys]
                for score, k in zip(scores, keys, strict=True):
                    out[b, h, q] += score / sum(scores) * value[b, h, k]
    return out


@pytest.mark.parametrize("length", [1, 5, 140])  # the last one takes torch's fused attention
@pytest.mark.parametrize("kind", ["all", "causal", "some"])
def test_attention_matches_a_plain_loop(length: int, kind: str) -> None:
    torch.manual_seed(length)
    query, key, value = (torch.randn(2, 2, length, 4) for _ in range(3))
    allowed = torch.rand(2, 1, length, length) < 0.5
    allowed[..., 0] = True
    whole = torch.ones(2, 2, length, length, dtype=torch.bool)
    expected = {"all": whole, "causal": whole.tril(), "some": allowed.expand(-1, 2, -1, -1)}[kind]
    if length > 5:  # a few rows are enough for the loop
        rows = [0, 77, length - 1]
        plain = plain_attention(query[:, :, rows], key, value, expected[:, :, rows])
    else:
        rows, plain = list(range(length)), plain_attention(query, key, value, expected)
    got = attend(query, key, value, allowed if kind == "some" else None, causal=kind == "causal")
    torch.testing.assert_close(got[:, :, rows], plain, atol=1e-5, rtol=1e-4)


def test_masks_agree_in_every_form() -> None:
    allowed = torch.rand(3, 6, 6, generator=torch.Generator().manual_seed(0)) < 0.6
    index = torch.tensor([5, 0, 3])
    for reach, whole in (
        (AttentionMask(allowed=allowed), allowed),
        (AttentionMask(causal=True), torch.ones(3, 6, 6, dtype=torch.bool).tril()),
    ):
        row = reach.of_row(index, 6)
        assert row is not None
        assert torch.equal(row, torch.stack([whole[b, i] for b, i in enumerate(index)]))
        additive = reach.additive(torch.zeros(3, 6, 1), heads=2)
        assert additive is not None
        per_head = additive.expand(6, 6, 6) if additive.ndim == 2 else additive
        for b in range(3):
            for h in range(2):
                assert torch.equal(per_head[2 * b + h] == 0, whole[b])
                assert per_head[2 * b + h][~whole[b]].eq(float("-inf")).all()
    assert AttentionMask().of_row(index, 6) is None
    assert AttentionMask().additive(torch.zeros(3, 6, 1), 2) is None


def test_the_prototype_head_gives_cosines() -> None:
    torch.manual_seed(0)
    head = PrototypeHead(8, 5, hidden=6, bottleneck=4)
    x = torch.randn(3, 8)
    logits = head(x)
    hidden = head.mlp(x).detach()
    for b in range(3):
        for k in range(5):
            one, two = hidden[b], head.prototypes[k].detach()
            cosine = float(one @ two) / math.sqrt(float(one @ one)) / math.sqrt(float(two @ two))
            assert logits[b, k].item() == pytest.approx(cosine, abs=1e-5)
    with torch.no_grad():
        head.prototypes.mul_(7.0)  # length does not count
    torch.testing.assert_close(head(x), logits)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert head(x).dtype == torch.float32
