"""Which patches of an image and which words of a text carry their similarity.

Flow: an image and words -> both towers -> cosine -> ``core.model.attention_maps`` -> **relevance** -> Search's
*Why this match?*.

Equations 5 and 6 of Chefer, Gur and Wolf 2021, "Generic attention-model explainability for interpreting bi-modal
and encoder-decoder transformers", for a model of two streams: within a tower, R = I, and block by block
R <- R + U R, with U the mean over heads of (dcosine/dA * A)^+. What is read is the row of the pooled token alone,
carried from the last block to the first. An attention pool (CoCa) is the cross-attention of a decoder that attends to
nothing else, for which equations 8 to 10 say: its U, read through what the blocks mixed, each row of R - I made to sum
to 1. Without that a token counts for much more than what it read of others, and the pool's few favourites hide the
patches that speak through them.

Legend: P patches, L tokens, S side of the images, D embed, H heads, Q queries.
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
    """A word of the text, and its share of all words' relevance."""

    text: str
    relevance: float


@dataclass(frozen=True)
class Relevance:
    """What carries a similarity. Shares are 0 or more and sum to 1; all are 0 where nothing carries it."""

    cosine: float
    patches: Tensor  # (rows, columns) float32 on the CPU, each patch's share
    words: tuple[Word, ...]


def relevance(network: Network, pixels: Tensor, text: str) -> Relevance:
    """Relevance of ``image`` (3, S, S) uint8 and ``text`` for their cosine similarity.

    The network and its gradients stay as they are. Raises ModelError where a tower is no transformer of open_clip's.
    """
    towers = network.towers
    visual = towers.clip.visual
    if not towers.any_size:
        raise ModelError("only models with a ViT of open_clip's show why an image matches; choose such a model.")
    device = towers.pixel_mean.device
    tokens = towers.tokenize([text])
    tokens = tokens[:, : longest(tokens, towers.pad_id)].long().to(device)
    pool = _pool(visual)
    with (
        evaluating(network),
        record_attention(blocks_of(visual), pool) as seen,
        record_attention(towers.text_blocks) as read,
    ):
        image = towers.encode_image(towers.normalise(pixels[None].to(device))).pooled  # (1, D)
        features = towers.encode_text(tokens)
        cosine = F.cosine_similarity(image.float(), features.pooled.float())[0]
        maps = seen.maps(cosine)
        patches = _carried(maps, 0 if visual.pool_type == "tok" else None) if pool is None else _through_pool(maps)
        words = _carried(read.maps(cosine), int(features.last[0]))
    share = _shares(patches[1:])
    rows = towers.patches_across
    return Relevance(
        float(cosine.detach()), share.view(rows, -1).cpu(), _words(towers, tokens[0].tolist(), words.tolist())
    )


def _pool(visual: Any) -> nn.MultiheadAttention | None:
    """The attention that pools a CoCa's patches for the comparison with a text; None where a token or the mean does."""
    if visual.attn_pool is None:
        return None
    if visual.attn_pool_contrastive is not None and visual.attn_pool_type != "parallel":
        raise ModelError("an image tower with a cascade of attention pools does not show why an image matches.")
    chosen = visual.attn_pool_contrastive or visual.attn_pool
    attention: nn.MultiheadAttention = chosen.attn
    return attention


def _carried(maps: Sequence[AttentionMap], start: int | None) -> Tensor:
    """The pooled row of R over the tokens that the first block reads, (L,).

    From the token ``start``; where it is None evenly from all patches, whose mean is pooled.
    """
    row: Tensor | None = None
    for found in reversed(maps):
        update = _update(found)  # (Q, L)
        queries, length = update.shape
        if row is None and start is None:
            row = F.pad(update.new_full((length - 1,), 1 / (length - 1)), (1, 0))
        elif row is None:
            row = F.one_hot(torch.tensor(start, device=update.device), length).to(update.dtype)
        row = row + (row[start] * update[0] if queries == 1 else row @ update)
    assert row is not None
    return row


def _through_pool(maps: Sequence[AttentionMap]) -> Tensor:
    """What an attention pool over the last block reads of the tokens that the first block reads, (L,).

    The last of ``maps`` is the pool's. Queries that the score does not read have no gradient.
    """
    *blocks, pool = maps
    asked = _update(pool).sum(dim=0)  # (L,)
    own = torch.eye(len(asked), dtype=asked.dtype, device=asked.device)
    whole = own
    for found in blocks:
        whole = whole + _update(found) @ whole
    mixed = whole - own
    return asked @ (mixed / mixed.sum(dim=1, keepdim=True).clamp(min=torch.finfo(mixed.dtype).tiny) + own)


def _update(found: AttentionMap) -> Tensor:
    """The mean over heads of what raises the score, (Q, L)."""
    return (found.gradient * found.weights).clamp(min=0).mean(dim=1)[0]


def _shares(values: Tensor) -> Tensor:
    total = float(values.sum())
    return (values / total if total > 0 else torch.zeros_like(values)).float()


def _words(towers: Towers, ids: Sequence[int], carried: Sequence[float]) -> tuple[Word, ...]:
    """Tokens joined to words, whose relevance is their tokens' sum; start, end and padding are left out."""
    special = set(towers.special_ids)
    groups: list[tuple[list[int], float]] = []
    whole = True  # has the last word ended?
    for token, value in zip(ids, carried, strict=False):
        if token in special:
            continue
        if whole or not towers.normalises_blanks:
            groups.append(([], 0.0))
        tokens, sum_ = groups[-1]
        groups[-1] = ([*tokens, token], sum_ + value)
        whole = towers.detokenize([token]).endswith(" ")  # CLIP's tokens say where a word ends
    shares = _shares(torch.tensor([value for _, value in groups], dtype=torch.float64)).tolist() if groups else []
    return tuple(
        Word(towers.detokenize(tokens).strip(), share) for (tokens, _), share in zip(groups, shares, strict=True)
    )
