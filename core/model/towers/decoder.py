"""CoCa's multimodal decoder: from image tokens and word states to next-word logits, with an optional cache.

Flow: in training, ``core.model.towers.towers.Towers.decode`` runs the decoder on whole captions, calling each block as
a module; ``core.inference.generation.coca`` runs it on one token per row, with a cache of keys and values;
``core.inference.fusing`` uses its states as joint representations for probes.

CoCa (Yu et al. 2022, arXiv 2205.01917): alternating causal self-attention over the words and cross-attention to the
image, then a projection onto the vocabulary.

Legend: B batch, P image tokens, T words, W width of the decoder, V vocabulary, R rows, L new words per row.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from open_clip.transformer import ResidualAttentionBlock
from torch import Tensor, nn

from core.model.errors import ModelError
from core.model.towers.block import Block, Norm, cast
from core.model.towers.cache import CachePosition, KeysValues, KeyValueCache, RowLayout
from core.model.towers.transformer import AttentionMask

CAUSAL_MASK = AttentionMask(causal=True)


def decoder_of(clip: nn.Module) -> Any:
    """The multimodal decoder of an open_clip module. Raises ModelError if it has none."""
    decoder = getattr(clip, "text_decoder", None)
    if decoder is None:
        raise ModelError(
            "this architecture has no caption decoder; choose a CoCa such as coca_ViT-B-32, sd-coca-demo or "
            "sd-coca-tiny, or set objectives.captioning.weight to 0."
        )
    return decoder


class DecoderBlock(ResidualAttentionBlock):  # type: ignore[misc]  # open_clip has no types
    """A decoder block as a module: self-attention over words or cross-attention to an image, and feed-forward."""

    def forward(
        self,
        q_x: Tensor,
        k_x: Tensor | None = None,
        v_x: Tensor | None = None,
        attn_mask: Tensor | None = None,
        *,
        mask: AttentionMask | None = None,
        image: Tensor | None = None,
    ) -> Tensor:
        """Words (B, T, W) after attending to each other under ``mask``, or to the ``image`` (B, P, W).

        Without ``mask`` and ``image``, runs open_clip's own pass.
        """
        if image is not None:
            block = Block(self)
            return block.attend_image(q_x, block.keys_values_of_image(image))
        if mask is not None:
            return Block(self).attend_words(q_x, mask)
        out: Tensor = super().forward(q_x, k_x, v_x, attn_mask)
        return out


def adopt_decoder(clip: nn.Module) -> None:
    """Convert the blocks of an open_clip module's caption decoder, if any, to DecoderBlocks."""
    for block in decoder_blocks(clip):
        block.__class__ = DecoderBlock


def decoder_blocks(clip: nn.Module) -> list[nn.Module]:
    """The blocks of an open_clip module's caption decoder; empty if it has none."""
    decoder: Any = getattr(clip, "text_decoder", None)
    return [] if decoder is None else [*decoder.resblocks, *decoder.cross_attn]


class MultimodalDecoder:
    """open_clip's ``MultimodalTransformer`` with the module's own weights, or a copy of them in ``dtype``."""

    def __init__(self, module: Any, dtype: torch.dtype | None = None) -> None:
        self.blocks = [Block(block, dtype) for block in module.resblocks]
        self.cross = [Block(block, dtype) for block in module.cross_attn]
        self.norm = Norm(module.ln_final)
        self.projection = cast(module.text_projection, dtype)  # (W, V)

    def keys_values_of_layers(self, image: Tensor) -> Iterable[KeysValues]:
        """The keys and values of image tokens (B, P, W) for each layer, computed lazily."""
        return (block.keys_values_of_image(image) for block in self.cross)

    def states(
        self,
        words: Tensor,
        images: Iterable[KeysValues],
        mask: AttentionMask = CAUSAL_MASK,
        cache: KeyValueCache | None = None,
        position: CachePosition | None = None,
        layout: RowLayout | None = None,
    ) -> Tensor:
        """States (R, L, W) of ``words`` (R, L, W), which attend to ``images`` and to each other under ``mask``.

        With a ``cache``, ``words`` continue the cached words, and their keys and values are written at ``position``.
        ``layout`` maps rows to images; without a layout, row i belongs to image i.
        """
        x = words
        layers = [None] * len(self.blocks) if cache is None else cache.layers
        for block, cross, image, layer in zip(self.blocks, self.cross, images, layers, strict=True):
            x = block.attend_words(x, mask, layer, position)
            x = cross.attend_image(x, image, layout)
        return x

    def logits(self, states: Tensor) -> Tensor:
        """Next-word logits (..., V) from ``states`` (..., W)."""
        return self.norm(states) @ self.projection


def decode(clip: nn.Module, image: Tensor, words: Tensor) -> Tensor:
    """Decoder states (B, T, W) of the text tower's ``words`` (B, T, W).

    Each word attends to the image tokens ``image`` (B, P, W) and to the words up to itself.
    """
    decoder = decoder_of(clip)
    states = words
    for block, cross in zip(decoder.resblocks, decoder.cross_attn, strict=True):
        states = cross(block(states, mask=CAUSAL_MASK), image=image)
    return states


def word_logits(clip: nn.Module, states: Tensor) -> Tensor:
    """Next-word logits (..., V) from the decoder's ``states`` (..., W)."""
    decoder = decoder_of(clip)
    logits: Tensor = torch.matmul(Norm(decoder.ln_final)(states), decoder.text_projection)
    return logits


@torch.no_grad()
def decoder_patches(clip: Any, images: Tensor) -> Tensor:
    """The image tokens (B, P, width) that CoCa's decoder attends to, from normalised ``images`` (B, 3, S, S)."""
    patches: Tensor = clip._encode_image(images)[1]
    return patches


@torch.no_grad()
def decoder_state(clip: Any, patches: Tensor, tokens: Tensor, pad_id: int) -> Tensor:
    """The state (B, width) of the last token in CoCa's multimodal decoder (Yu et al. 2022, arXiv 2205.01917).

    The decoder attends from ``tokens`` (B, T) to the images' ``patches`` (B, P, width).
    """
    words = clip._encode_text(tokens)[1]  # (B, T, width of the text tower)
    decoder = MultimodalDecoder(decoder_of(clip))
    states = decoder.norm(decoder.states(words, decoder.keys_values_of_layers(patches)))  # (B, T, width)
    positions = torch.arange(states.shape[1], device=states.device)
    last = ((tokens[:, : len(positions)] != pad_id) * positions).amax(dim=1)  # (B,)
    return states[torch.arange(len(states), device=states.device), last]
