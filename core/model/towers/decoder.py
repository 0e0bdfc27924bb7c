"""CoCa's multimodal decoder in training: from picture tokens and word states to logits of each next word.

Flow: ``core.model.towers.towers.Towers.decode`` calls this for all words at once; ``core.inference.generation`` says
one word after another with the same weights.

Legend: B batch, P picture tokens, T words, W width of the decoder, V vocabulary, N kept words, H heads, d width of a
head.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from core.model.attention import attend
from core.model.errors import ModelError
from core.model.towers.transformer import AttentionMask, run_blocks


def decoder_of(clip: nn.Module) -> Any:
    """The multimodal decoder of an open_clip module. Raises ModelError when it has none."""
    decoder = getattr(clip, "text_decoder", None)
    if decoder is None:
        raise ModelError(
            "this architecture has no caption decoder; choose a CoCa such as coca_ViT-B-32, sd-coca-demo or "
            "sd-coca-tiny, or set objectives.captioning.weight to 0."
        )
    return decoder


def decode(clip: nn.Module, picture: Tensor, words: Tensor, keep: Tensor | None = None) -> Tensor:
    """Logits of the word that follows each of ``words``, which sees the picture and the words up to itself.

    ``picture`` (B, P, W) tokens, ``words`` (B, T, W) states of the text tower. With ``keep`` (B, T) bool only the kept
    words are projected onto the vocabulary: (N, V) in the order of the rows; else (B, T, V).
    """
    decoder = decoder_of(clip)
    x = words
    for block, cross in zip(decoder.resblocks, decoder.cross_attn, strict=True):
        x = run_blocks([block], x, AttentionMask(causal=True))
        x = x + cross.ls_1(_look_at_picture(cross, x, picture))
        x = x + cross.ls_2(cross.mlp(cross.ln_2(x)))
    x = x if keep is None else x[keep]
    logits: Tensor = decoder.ln_final(x) @ decoder.text_projection
    return logits


def _look_at_picture(block: Any, x: Tensor, picture: Tensor) -> Tensor:
    """Cross-attention of open_clip's block, batch first and without copies. (B, T, W)"""
    attention = block.attn
    width, heads = attention.embed_dim, attention.num_heads
    weight_q, weight_kv = torch.split(attention.in_proj_weight, [width, 2 * width])
    bias_q, bias_kv = torch.split(attention.in_proj_bias, [width, 2 * width])
    query = F.linear(block.ln_1(x), weight_q, bias_q).unflatten(-1, (heads, -1)).transpose(1, 2)  # (B, H, T, d)
    both = F.linear(block.ln_1_kv(picture), weight_kv, bias_kv).unflatten(-1, (2, heads, -1))  # (B, P, 2, H, d)
    key, value = both.permute(2, 0, 3, 1, 4)  # (B, H, P, d) each
    out: Tensor = attention.out_proj(attend(query, key, value).transpose(1, 2).flatten(2))
    return out
