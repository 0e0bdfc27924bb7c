"""CoCa's own joining of image and text, for probes of a model that has no fusion besides.

Flow: ``core.inference.fusing`` takes it for CoCa architectures; the multimodal decoder's cross-attention does the
joining.

Legend: B batch, H W image height and width, P patches, T tokens.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from core.model.towers.decoder import MultimodalDecoder, decoder_of


@torch.no_grad()
def decoder_patches(clip: Any, images: Tensor) -> Tensor:
    """What CoCa's decoder reads of normalised ``images`` (B, 3, H, W): (B, P, width)."""
    patches: Tensor = clip._encode_image(images)[1]
    return patches


@torch.no_grad()
def decoder_state(clip: Any, patches: Tensor, tokens: Tensor, pad_id: int) -> Tensor:
    """Images' ``patches`` (B, P, width) joined with ``tokens`` (B, T) by CoCa's multimodal decoder: (B, width).

    Its cross-attention is CoCa's own joining of image and text; the state is that of the text's last token, which
    has seen all before it (Yu et al. 2022, arXiv 2205.01917).
    """
    words = clip._encode_text(tokens)[1]  # (B, T, width of the text tower)
    decoder = MultimodalDecoder(decoder_of(clip))
    states = decoder.norm(decoder.states(words, decoder.image_pairs(patches)))  # (B, T, width)
    positions = torch.arange(states.shape[1], device=states.device)
    last = ((tokens[:, : len(positions)] != pad_id) * positions).amax(dim=1)  # (B,)
    return states[torch.arange(len(states), device=states.device), last]
