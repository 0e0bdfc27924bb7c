"""Computes an open_clip residual block from its weights, for whole sequences or with cached keys and values.

Flow: ``core.model.towers.decoder`` computes CoCa's decoder with these blocks, in training and in generation;
``core.inference.generation.coca`` computes the text tower with them, one token per row.

open_clip has two pre-norm blocks (``ResidualAttentionBlock`` and ``CustomResidualAttentionBlock``) with the same
parameter names. The additional layers of the second (norms of queries, keys, attention output and hidden layer; head
scales) are applied if present.

Legend: R rows, L new tokens per row, D width, H heads, E width of a head, T cached positions, B images,
S image tokens.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from core.model.attention import attend
from core.model.towers.cache import CachePosition, KeysValues, RowLayout
from core.model.towers.transformer import AttentionMask
from core.spec.generation import GenerationError


class Norm:
    """A layer norm, computed in the precision of its weights, as in open_clip."""

    def __init__(self, module: nn.Module) -> None:
        if not isinstance(module, nn.LayerNorm):
            raise GenerationError(
                f"captioning needs LayerNorm in the text tower, not {type(module).__name__}; choose another model."
            )
        self.shape, self.weight, self.bias, self.eps = module.normalized_shape, module.weight, module.bias, module.eps

    def __call__(self, x: Tensor) -> Tensor:
        if x.dtype == self.weight.dtype:
            return F.layer_norm(x, self.shape, self.weight, self.bias, self.eps)
        return F.layer_norm(x.to(self.weight.dtype), self.shape, self.weight, self.bias, self.eps).to(x.dtype)


def _optional_norm(module: nn.Module, name: str) -> Norm | None:
    part = getattr(module, name, None)
    return None if part is None or isinstance(part, nn.Identity) else Norm(part)


def _layer_scale(module: Any, dtype: torch.dtype | None) -> Tensor | None:
    return None if isinstance(module, nn.Identity) else cast(module.gamma, dtype)


def cast(tensor: Tensor, dtype: torch.dtype | None) -> Tensor:
    """``tensor`` in ``dtype`` (None: unchanged, no copy)."""
    return tensor if dtype is None else tensor.to(dtype)


@dataclass(frozen=True)
class Dense:
    """A linear layer: weight (N, K), bias (N,)."""

    weight: Tensor
    bias: Tensor | None

    def __call__(self, x: Tensor) -> Tensor:
        return F.linear(x, self.weight, self.bias)


class Block:
    """Self-attention (or cross-attention to an image) followed by a feed-forward.

    Uses the module's own weights, with gradients, unless ``dtype`` requests a copy in another precision. Raises
    GenerationError for unsupported blocks.
    """

    def __init__(self, block: Any, dtype: torch.dtype | None = None) -> None:
        attention = block.attn
        if getattr(attention, "logit_scale", None) is not None:
            raise GenerationError(
                "scaled cosine attention in a text tower is not supported; choose another architecture."
            )
        self.heads: int = attention.num_heads
        self.width: int = attention.in_proj_weight.shape[1]
        self.head_width = self.width // self.heads
        self._dtype = dtype
        self._read_attention(block, attention)
        self._read_feed_forward(block, block.mlp)

    def _dense(self, weight: Tensor, bias: Tensor | None) -> Dense:
        return Dense(cast(weight, self._dtype), None if bias is None else cast(bias, self._dtype))

    def _dense_of(self, layer: Any) -> Dense:
        return self._dense(layer.weight, getattr(layer, "bias", None))

    def _read_attention(self, block: Any, attention: Any) -> None:
        self.norm = Norm(block.ln_1)
        self.image_norm = _optional_norm(block, "ln_1_kv")
        weight: Tensor = attention.in_proj_weight  # (3 D, D) queries, keys, values
        bias: Tensor | None = getattr(attention, "in_proj_bias", None)
        if self.image_norm is None:
            self.project_in = self._dense(weight, bias)
        else:
            sizes = [self.width, 2 * self.width]
            weights = weight.split(sizes)
            biases = (None, None) if bias is None else bias.split(sizes)
            self.project_in, self.project_image = map(self._dense, weights, biases)
        self.project_out = self._dense_of(attention.out_proj)
        self.query_norm = _optional_norm(attention, "ln_q")
        self.key_norm = _optional_norm(attention, "ln_k")
        head_scale = getattr(attention, "head_scale", None)
        self.head_scale = None if head_scale is None else cast(head_scale, self._dtype)
        self.inner_norm = _optional_norm(attention, "ln_inner")
        self.after_norm = _optional_norm(block, "ln_attn")
        self.attention_scale = _layer_scale(block.ls_1, self._dtype)

    def _read_feed_forward(self, block: Any, layers: Any) -> None:
        self.hidden_norm = Norm(block.ln_2)
        self.widen = self._dense_of(layers.c_fc)
        self.narrow = self._dense_of(layers.c_proj)
        activation: Callable[[Tensor], Tensor] = layers.gelu
        plain = isinstance(activation, nn.GELU) and activation.approximate == "none"
        self.activation = F.gelu if plain else activation
        self.middle_norm = _optional_norm(layers, "ln")
        self.hidden_scale = _layer_scale(block.ls_2, self._dtype)

    def attend_words(
        self, x: Tensor, mask: AttentionMask, cache: KeysValues | None = None, position: CachePosition | None = None
    ) -> Tensor:
        """``x`` (R, L, D) after self-attention and feed-forward; (R, L, D).

        With a ``cache`` (R, H, T, E), new keys and values are written at ``position``, and queries attend to all
        positions up to its end; ``mask`` covers these positions.
        """
        packed = self.project_in(self.norm(x)).unflatten(-1, (3, self.heads, self.head_width))
        query, key, value = packed.permute(2, 0, 3, 1, 4).unbind(0)  # (R, H, L, E)
        if self.query_norm is not None:
            query = self.query_norm(query)
        if self.key_norm is not None:
            key = self.key_norm(key)
        if cache is not None and position is not None:
            key, value = position.write(cache, key, value)  # (R, H, end, E)
        allowed = None if mask.allowed is None else mask.allowed[:, None]  # (R, 1, L, end)
        mixed = attend(query, key, value, allowed, allowed is None and mask.causal)
        if self.head_scale is not None:
            mixed = mixed * self.head_scale
        return self._feed_forward(self._add_attention(x, mixed.transpose(1, 2).flatten(2)))

    def attend_image(self, x: Tensor, image: KeysValues, layout: RowLayout | None = None) -> Tensor:
        """``x`` (R, L, D) after cross-attention to ``image`` (keys and values, (B, H, S, E)) and feed-forward.

        Row i belongs to image i unless there is a ``layout``.
        """
        query = self.project_in(self.norm(x))
        if layout is not None:
            query = layout.spread(query)  # (B, n L, D)
        query = query.unflatten(-1, (self.heads, self.head_width)).transpose(1, 2)  # (B, H, n L, E)
        mixed = attend(query, *image, None, False).transpose(1, 2).flatten(2)  # (B, n L, D)
        if layout is not None:
            mixed = layout.gather(mixed, x.shape[1])
        return self._feed_forward(self._add_attention(x, mixed))

    def keys_values_of_image(self, image: Tensor) -> KeysValues:
        """Keys and values (B, H, S, E) of image tokens (B, S, D), for ``attend_image``."""
        assert self.image_norm is not None
        packed = self.project_image(self.image_norm(image)).unflatten(-1, (2, self.heads, self.head_width))
        key, value = packed.permute(2, 0, 3, 1, 4)
        return key, value

    def _add_attention(self, x: Tensor, mixed: Tensor) -> Tensor:
        if self.inner_norm is not None:
            mixed = self.inner_norm(mixed)
        out = self.project_out(mixed)
        if self.after_norm is not None:
            out = self.after_norm(out)
        return x + (out if self.attention_scale is None else out * self.attention_scale)

    def _feed_forward(self, x: Tensor) -> Tensor:
        hidden = self.activation(self.widen(self.hidden_norm(x)))
        if self.middle_norm is not None:
            hidden = self.middle_norm(hidden)
        out = self.narrow(hidden)
        return x + (out if self.hidden_scale is None else out * self.hidden_scale)
