"""One residual block of open_clip, run on cached keys and values with its weights read in place.

open_clip has two kinds of pre-norm block (``ResidualAttentionBlock`` and ``CustomResidualAttentionBlock``) whose
parameters carry the same names; what only the second has (norms of queries and keys, of the attention's output, of the
hidden layer, scales of heads) is applied where it is there.

Legend: R rows, L new tokens a row, D width, H heads, E width of a head, T cached positions, B pictures,
S picture tokens.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from core.inference.generation.cache import RowLayout
from core.inference.generation.linear import linear
from core.spec.generation import GenerationError

Pair = tuple[Tensor, Tensor]  # keys and values


@dataclass(frozen=True)
class Span:
    """Where the new tokens of a pass stand among the cached ones."""

    rows: int
    length: int  # new tokens a row
    end: int  # positions to look at, the new ones included
    places: Tensor | None = None  # (R,) each row's own position, where they differ; length is 1 then
    mask: Tensor | None = None  # (R, 1, L, end) True where a query may look; None for all
    causal: bool = False


class Norm:
    """A layer norm, computed in the precision of its weights as open_clip's are."""

    def __init__(self, module: nn.Module) -> None:
        if not isinstance(module, nn.LayerNorm):
            raise GenerationError(f"captions need layer norms in the text towers, not {type(module).__name__}.")
        self.shape, self.weight, self.bias, self.eps = module.normalized_shape, module.weight, module.bias, module.eps

    def __call__(self, x: Tensor) -> Tensor:
        if x.dtype == self.weight.dtype:
            return F.layer_norm(x, self.shape, self.weight, self.bias, self.eps)
        return F.layer_norm(x.to(self.weight.dtype), self.shape, self.weight, self.bias, self.eps).to(x.dtype)


def _optional_norm(module: nn.Module, name: str) -> Norm | None:
    part = getattr(module, name, None)
    return None if part is None or isinstance(part, nn.Identity) else Norm(part)


def _scale(module: nn.Module) -> Tensor | None:
    return None if isinstance(module, nn.Identity) else module.get_parameter("gamma").detach()


def cast(tensor: Tensor | None, dtype: torch.dtype | None) -> Tensor | None:
    """``tensor`` without its graph, in ``dtype`` (None: as it is, without a copy)."""
    return None if tensor is None else tensor.detach().to(dtype or tensor.dtype)


class Dense:
    """A linear layer's weights, (N, K) and (N,)."""

    def __init__(self, weight: Tensor, bias: Tensor | None, dtype: torch.dtype | None) -> None:
        self.weight = weight.detach().to(dtype or weight.dtype)
        self.bias = cast(bias, dtype)

    def __call__(self, x: Tensor) -> Tensor:
        return linear(x, self.weight, self.bias)


class Block:
    """Self-attention (or cross-attention to a picture) and the feed-forward after it, on tokens (R * L, D)."""

    def __init__(self, block: nn.Module, dtype: torch.dtype | None = None) -> None:
        attention = block.get_submodule("attn")
        if getattr(attention, "logit_scale", None) is not None:
            raise GenerationError("scaled cosine attention in a text tower is not supported; train without it.")
        heads = attention.num_heads
        assert isinstance(heads, int)
        self.heads = heads
        self.width = attention.get_parameter("in_proj_weight").shape[1]
        self.head_width = self.width // self.heads
        self._read_attention(block, attention, dtype)
        self._read_feed_forward(block, dtype)

    def _read_attention(self, block: nn.Module, attention: nn.Module, dtype: torch.dtype | None) -> None:
        self.norm = Norm(block.get_submodule("ln_1"))
        self.picture_norm = _optional_norm(block, "ln_1_kv")
        weight = attention.get_parameter("in_proj_weight")
        bias = getattr(attention, "in_proj_bias", None)
        first = self.width if self.picture_norm is not None else 3 * self.width  # queries alone, or all three
        self.project_in = Dense(weight[:first], None if bias is None else bias[:first], dtype)
        if self.picture_norm is not None:
            self.project_picture = Dense(weight[first:], None if bias is None else bias[first:], dtype)
        out = attention.get_submodule("out_proj")
        self.project_out = Dense(out.get_parameter("weight"), getattr(out, "bias", None), dtype)
        self.query_norm = _optional_norm(attention, "ln_q")
        self.key_norm = _optional_norm(attention, "ln_k")
        self.head_scale = cast(getattr(attention, "head_scale", None), dtype)
        self.inner_norm = _optional_norm(attention, "ln_inner")
        self.after_norm = _optional_norm(block, "ln_attn")
        self.attention_scale = _scale(block.get_submodule("ls_1"))

    def _read_feed_forward(self, block: nn.Module, dtype: torch.dtype | None) -> None:
        self.hidden_norm = Norm(block.get_submodule("ln_2"))
        layers = block.get_submodule("mlp")
        widen, narrow = layers.get_submodule("c_fc"), layers.get_submodule("c_proj")
        self.widen = Dense(widen.get_parameter("weight"), getattr(widen, "bias", None), dtype)
        self.narrow = Dense(narrow.get_parameter("weight"), getattr(narrow, "bias", None), dtype)
        activation = layers.get_submodule("gelu")
        plain = isinstance(activation, nn.GELU) and activation.approximate == "none"
        self.activation: Callable[[Tensor], Tensor] = F.gelu if plain else activation
        self.middle_norm = _optional_norm(layers, "ln")
        self.hidden_scale = _scale(block.get_submodule("ls_2"))

    def forward(self, x: Tensor, span: Span, kept: Pair) -> Tensor:
        """Self-attention over ``kept`` (R, H, T, E), into which the new keys and values are written. (R * L, D)"""
        packed = self.project_in(self.norm(x)).view(span.rows, span.length, 3, self.heads, self.head_width)
        query, key, value = packed.permute(2, 0, 3, 1, 4).unbind(0)  # (R, H, L, E)
        if self.query_norm is not None:
            query = self.query_norm(query)
        if self.key_norm is not None:
            key = self.key_norm(key)
        keys, values = _write(kept, key, value, span)  # (R, H, end, E)
        mixed = F.scaled_dot_product_attention(query, keys, values, span.mask, is_causal=span.causal)
        if self.head_scale is not None:
            mixed = mixed * self.head_scale
        x = self._add_attention(x, mixed.transpose(1, 2).reshape(-1, self.width))
        return self._feed_forward(x)

    def forward_picture(self, x: Tensor, layout: RowLayout, length: int, kept: Pair) -> Tensor:
        """Cross-attention to the pictures' keys and values ``kept`` (B, H, S, E). (R * L, D)"""
        query = self.project_in(self.norm(x)).view(-1, length, self.width)
        query = layout.spread(query).unflatten(-1, (self.heads, self.head_width)).transpose(1, 2)  # (B, H, n L, E)
        mixed = F.scaled_dot_product_attention(query, *kept).transpose(1, 2).flatten(2)  # (B, n L, D)
        x = self._add_attention(x, layout.gather(mixed, length).reshape(-1, self.width))
        return self._feed_forward(x)

    def write_picture(self, tokens: Tensor, kept: Pair) -> None:
        """Put the keys and values of picture tokens (B, S, D) into ``kept`` (B, H, S, E)."""
        assert self.picture_norm is not None
        pictures, length, _ = tokens.shape
        packed = self.project_picture(self.picture_norm(tokens).flatten(0, 1))  # (B * S, 2 D)
        packed = packed.view(pictures, length, 2, self.heads, self.head_width).permute(2, 0, 3, 1, 4)
        for store, part in zip(kept, packed, strict=True):
            store.copy_(part)

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


def _write(kept: Pair, key: Tensor, value: Tensor, span: Span) -> Pair:
    """Store the new keys and values; returns all that may be looked at."""
    keys, values = kept
    if span.places is None:
        keys[:, :, span.end - span.length : span.end] = key
        values[:, :, span.end - span.length : span.end] = value
    else:
        rows = torch.arange(span.rows, device=key.device)
        keys[rows, :, span.places] = key[:, :, 0]
        values[rows, :, span.places] = value[:, :, 0]
    return keys[:, :, : span.end], values[:, :, : span.end]
