"""CoCa's joint representation of image and text, for probes of models without a fusion.

Flow: ``core.inference.fusing`` calls both functions for CoCa architectures.

Legend: B batch, H W image height and width, P patches, T tokens.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from core.model.towers.decoder import MultimodalDecoder, decoder_of


@torch.no_grad()
def decoder_patches(clip: Any, images: Tensor) -> Tensor:
    """The image tokens (B, P, width) that CoCa's decoder attends to, from normalised ``images`` (B, 3, H, W)."""
    patches: Tensor = clip._encode_image(images)[1]
    return patches


@torch.no_grad()
def decoder_state(clip: Any, patches: Tensor, tokens: Tensor, pad_id: int) -> Tensor:
    """The state (B, width) of the last token in CoCa's multimodal decoder (Yu et al. 2022, arXiv 2205.01917).

    The decoder attends from ``tokens`` (B, T) to the images' ``patches`` (B, P, width).
    """
    words = clip._encode_text(tokens)[1]  # (B, T, width of the text tower)
    decoder = MultimodalDecoder(decoder_of(clip))
    states = decoder.norm(decoder.states(words, decoder.image_pairs(patches)))  # (B, T, width)
    positions = torch.arange(states.shape[1], device=states.device)
    last = ((tokens[:, : len(positions)] != pad_id) * positions).amax(dim=1)  # (B,)
    return states[torch.arange(len(states), device=states.device), last]
