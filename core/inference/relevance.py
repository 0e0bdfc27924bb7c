"""Computes how much the patches of an image and the words of a text contribute to their similarity.

Flow: an image and words -> both towers -> cosine -> ``core.model.attention_maps`` -> **relevance** -> Search's
*Why this match?*.

Equations 5 and 6 of Chefer, Gur and Wolf 2021, "Generic attention-model explainability for interpreting bi-modal and
encoder-decoder transformers", for a model with two streams: within a tower, R = I, and block by block R <- R + U R,
with U the mean over heads of (dcosine/dA * A)^+. Only the row of the pooled token is used, propagated from the last
block to the first.

A CoCa's attention pool is treated as a decoder with cross-attention only. Equations 8 to 10 then reduce to U_pool R,
where each row of R - I is normalised to sum to 1. Without this normalisation, a token would count much more than the
tokens that it attended to, and a few heavily attended tokens would mask the patches that contribute through them.

Legend: L tokens, S side of the images, D embed, Q queries.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from core.data.dataset import longest
from core.model.attention_maps import AttentionMap, record_attention
from core.model.errors import ModelError
from core.model.eval_mode import evaluating
from core.model.network import Network
from core.model.towers.block_states import blocks_of
from core.model.towers.towers import Towers


@dataclass(frozen=True)
class Word:
    """A word of the text, and its share of the total relevance of all words."""

    text: str
    relevance: float


@dataclass(frozen=True)
class Relevance:
    """Contributions to a similarity: non-negative shares that sum to 1, or are all 0 if nothing contributes."""

    cosine: float
    patches: Tensor  # (rows, columns) float32 on the CPU, each patch's share
    words: tuple[Word, ...]


def relevance(network: Network, pixels: Tensor, text: str) -> Relevance:
    """The contributions of ``pixels`` (3, S, S) uint8 and ``text`` to their cosine similarity.

    The network and its gradients do not change. Raises ModelError unless both towers are open_clip's own transformers.
    """
    towers = network.towers
    visual = towers.clip.visual
    if not towers.is_open_clip_vit:
        raise ModelError("explanations need one of open_clip's own ViTs; choose such a model.")
    device = towers.pixel_mean.device
    tokens = towers.tokenize([text])
    tokens = tokens[:, : longest(tokens, towers.pad_id)].long().to(device)
    pool = _pool(visual)
    with (
        evaluating(network),
        record_attention(blocks_of(visual), pool) as image_record,
        record_attention(towers.text_blocks) as text_record,
    ):
        image = towers.encode_image(towers.normalise(pixels[None].to(device))).pooled  # (1, D)
        features = towers.encode_text(tokens)
        cosine = F.cosine_similarity(image.float(), features.pooled.float())[0]
        maps = image_record.maps(cosine)
        patches = _propagate(maps, 0 if visual.pool_type == "tok" else None) if pool is None else _propagate_pool(maps)
        words = _propagate(text_record.maps(cosine), int(features.pooled_position[0]))
    share = _shares(patches[1:])
    rows = towers.patches_across
    return Relevance(
        float(cosine.detach()), share.view(rows, -1).cpu(), _words(towers, tokens[0].tolist(), words.tolist())
    )


def _pool(visual: Any) -> nn.MultiheadAttention | None:
    """The attention pool that produces the image embedding (CoCa); None if the model pools a token or the mean."""
    if visual.attn_pool is None:
        return None
    if visual.attn_pool_contrastive is not None and visual.attn_pool_type != "parallel":
        raise ModelError("explanations do not support a cascade of attention pools; choose another model.")
    pool = visual.attn_pool_contrastive or visual.attn_pool
    attention: nn.MultiheadAttention = pool.attn
    return attention


def _propagate(maps: Sequence[AttentionMap], start: int | None) -> Tensor:
    """Row ``start`` of R over the first block's tokens, (L,); if ``start`` is None, the average of all patch rows."""
    row: Tensor | None = None
    for attention_map in reversed(maps):
        update = _update(attention_map)  # (Q, L)
        queries, length = update.shape
        if row is None and start is None:
            row = F.pad(update.new_full((length - 1,), 1 / (length - 1)), (1, 0))
        elif row is None:
            row = F.one_hot(torch.tensor(start, device=update.device), length).to(update.dtype)
        row = row + (row[start] * update[0] if queries == 1 else row @ update)
    assert row is not None
    return row


def _propagate_pool(maps: Sequence[AttentionMap]) -> Tensor:
    """The relevance (L,) of the first block's tokens through an attention pool.

    The last of ``maps`` is the pool's map. Queries that do not affect the score have no gradient.
    """
    *blocks, pool = maps
    pooled = _update(pool).sum(dim=0)  # (L,)
    identity = torch.eye(len(pooled), dtype=pooled.dtype, device=pooled.device)
    total = identity  # R
    for attention_map in blocks:
        total = total + _update(attention_map) @ total
    mixed = total - identity
    return pooled @ (mixed / mixed.sum(dim=1, keepdim=True).clamp(min=torch.finfo(mixed.dtype).tiny) + identity)


def _update(attention_map: AttentionMap) -> Tensor:
    """The mean over heads of the positive contributions to the score, (Q, L)."""
    return (attention_map.gradient * attention_map.weights).clamp(min=0).mean(dim=1)[0]


def _shares(values: Tensor) -> Tensor:
    total = float(values.sum())
    return (values / total if total > 0 else torch.zeros_like(values)).float()


def _words(towers: Towers, ids: Sequence[int], relevances: Sequence[float]) -> tuple[Word, ...]:
    """Words with the summed relevance of their tokens, without start, end and padding."""
    special = set(towers.special_ids)
    groups: list[tuple[list[int], float]] = []
    word_ended = True
    for token, value in zip(ids, relevances, strict=False):
        if token in special:
            continue
        if word_ended or not towers.normalises_blanks:
            groups.append(([], 0.0))
        tokens, sum_ = groups[-1]
        groups[-1] = ([*tokens, token], sum_ + value)
        word_ended = towers.detokenize([token]).endswith(" ")  # CLIP's tokens mark the end of a word
    shares = _shares(torch.tensor([value for _, value in groups], dtype=torch.float64)).tolist() if groups else []
    return tuple(
        Word(towers.detokenize(tokens).strip(), share) for (tokens, _), share in zip(groups, shares, strict=True)
    )
