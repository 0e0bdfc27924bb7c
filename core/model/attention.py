"""Scaled dot-product attention, by whichever implementation is faster on the device.

Flow: ``core.model.towers.transformer`` and ``core.model.fusion`` call ``attend`` with the heads of a layer.

Legend: B batch, H heads, Q queries, L keys, d width of a head.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

# On a CPU, torch's fused attention is made for long sequences. Up to about this number of keys, two matrix products and
# a softmax take half (float32) to a quarter (bfloat16) of the time, mostly in the backward pass.
_MAX_UNFUSED_KEYS = {torch.float32: 128, torch.bfloat16: 256}


def attend(query: Tensor, key: Tensor, value: Tensor, allowed: Tensor | None = None, causal: bool = False) -> Tensor:
    """softmax(query @ key.T / sqrt(d)) @ value (Vaswani et al. 2017). Returns (B, H, Q, d).

    ``query`` (B, H, Q, d), ``key`` and ``value`` (B, H, L, d). ``allowed``, bool and broadcast to (B, H, Q, L), is True
    for keys that a query attends to. ``causal``: query i attends to keys up to i; cannot be combined with ``allowed``.
    """
    if query.device.type != "cpu" or key.shape[-2] > _MAX_UNFUSED_KEYS.get(query.dtype, 0):
        return F.scaled_dot_product_attention(query, key, value, allowed, is_causal=causal)
    scores = torch.matmul(query * query.shape[-1] ** -0.5, key.transpose(-2, -1))  # (B, H, Q, L)
    if causal:
        allowed = torch.ones(scores.shape[-2:], dtype=torch.bool).tril()
    if allowed is not None:
        scores = scores.masked_fill(~allowed, float("-inf"))
    return torch.matmul(scores.softmax(dim=-1), value)
