"""CoCa's multimodal decoder: from image tokens and word states to logits of each next word, with an optional cache.

Flow: in training ``core.model.towers.towers.Towers.decode`` runs it on all words at once, block by block as modules;
``core.inference.generation.coca`` runs it on one token per row, with a cache of keys and values.

CoCa (Yu et al. 2022, arXiv 2205.01917): alternating causal self-attention over the words and cross-attention to the
image, then a projection onto the vocabulary.

Legend: B batch, P image tokens, T words, W width of the decoder, V vocabulary, N kept words, R rows, L new words per
row.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from open_clip.transformer import ResidualAttentionBlock
from torch import Tensor, nn

from core.model.errors import ModelError
from core.model.towers.block import PLAIN, Block, Kernels, Norm, cast
from core.model.towers.cache import CachePosition, KeyValueCache, Pair, RowLayout
from core.model.towers.transformer import AttentionMask

CAUSAL = AttentionMask(causal=True)


def decoder_of(clip: nn.Module) -> Any:
    """The multimodal decoder of an open_clip module. Raises ModelError when it has none."""
    decoder = getattr(clip, "text_decoder", None)
    if decoder is None:
        raise ModelError(
            "this architecture has no caption decoder; choose a CoCa such as coca_ViT-B-32, sd-coca-demo or "
            "sd-coca-tiny, or set objectives.captioning.weight to 0."
        )
    return decoder


class DecoderBlock(ResidualAttentionBlock):  # type: ignore[misc]  # open_clip has no types
    """A decoder's block as a module: self-attention over words, or cross-attention to an image; and feed-forward."""

    def forward(
        self,
        q_x: Tensor,
        k_x: Tensor | None = None,
        v_x: Tensor | None = None,
        attn_mask: Tensor | None = None,
        *,
        reach: AttentionMask | None = None,
        image: Tensor | None = None,
    ) -> Tensor:
        """Words (B, T, W) that see each other as ``reach`` says, or the ``image`` (B, P, W); open_clip's pass without
        either. (B, T, W)
        """
        if image is not None:
            block = Block(self)
            return block.attend_image(q_x, block.image_pair(image))
        if reach is not None:
            return Block(self).attend_words(q_x, reach)
        out: Tensor = super().forward(q_x, k_x, v_x, attn_mask)
        return out


def adopt_decoder(clip: nn.Module) -> None:
    """Make the blocks of an open_clip module's caption decoder, where it has one, DecoderBlocks."""
    for block in decoder_blocks(clip):
        block.__class__ = DecoderBlock


def decoder_blocks(clip: nn.Module) -> list[nn.Module]:
    """The blocks of an open_clip module's caption decoder; none where it has no decoder."""
    decoder: Any = getattr(clip, "text_decoder", None)
    return [] if decoder is None else [*decoder.resblocks, *decoder.cross_attn]


class MultimodalDecoder:
    """open_clip's ``MultimodalTransformer`` by its weights: the module's own, unless ``dtype`` asks for a copy."""

    def __init__(self, module: Any, dtype: torch.dtype | None = None, kernels: Kernels = PLAIN) -> None:
        self.blocks = [Block(block, dtype, kernels) for block in module.resblocks]
        self.cross = [Block(block, dtype, kernels) for block in module.cross_attn]
        self.norm = Norm(module.ln_final)
        self.projection = cast(module.text_projection, dtype)  # (W, V)
        self._project = kernels.project

    def image_pairs(self, image: Tensor) -> Iterable[Pair]:
        """Keys and values of image tokens (B, P, W) for each layer, computed as the layers ask for them."""
        return (block.image_pair(image) for block in self.cross)

    def states(
        self,
        words: Tensor,
        images: Iterable[Pair],
        mask: AttentionMask = CAUSAL,
        cache: KeyValueCache | None = None,
        at: CachePosition | None = None,
        layout: RowLayout | None = None,
    ) -> Tensor:
        """States (R, L, W) of ``words`` (R, L, W), which see ``images`` and what ``mask`` allows.

        With a ``cache`` the words follow those in it: their keys and values are written ``at`` their positions.
        ``layout`` says which image each row belongs to; without it row i belongs to image i.
        """
        x = words
        layers = [None] * len(self.blocks) if cache is None else cache.layers
        for block, cross, image, layer in zip(self.blocks, self.cross, images, layers, strict=True):
            x = block.attend_words(x, mask, layer, at)
            x = cross.attend_image(x, image, layout)
        return x

    def logits(self, states: Tensor) -> Tensor:
        """(..., W) to (..., V)."""
        return self._project(self.norm(states), self.projection)


def decode(clip: nn.Module, image: Tensor, words: Tensor) -> Tensor:
    """States (B, T, W) of ``words`` (B, T, W), which are the text tower's.

    Each sees the tokens ``image`` (B, P, W) and the words up to itself.
    """
    decoder = decoder_of(clip)
    states = words
    for block, cross in zip(decoder.resblocks, decoder.cross_attn, strict=True):
        states = cross(block(states, reach=CAUSAL), image=image)
    return states


def word_logits(clip: nn.Module, states: Tensor) -> Tensor:
    """Logits (..., V) of the word that follows, from the decoder's ``states`` (..., W)."""
    decoder = decoder_of(clip)
    logits: Tensor = torch.matmul(Norm(decoder.ln_final)(states), decoder.text_projection)
    return logits
