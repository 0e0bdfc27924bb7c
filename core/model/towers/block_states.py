"""The output of one block of an image tower, for probes of intermediate features.

Flow: ``core.inference.encoder`` requests a block by its number, counted from 1; the pass ends at that block.

Legend: B batch, H W image height and width, L tokens, Wi width.
"""

from __future__ import annotations

from typing import Any

from open_clip.timm_model import TimmModel
from open_clip.transformer import VisionTransformer
from torch import Tensor, nn

from core.model.errors import ModelError


class _Reached(Exception):
    """Ends the pass after the requested block."""


def blocks_of(visual: Any) -> list[nn.Module]:
    """The transformer blocks of an image tower in order; empty if it has none (ResNet, ConvNeXt)."""
    if isinstance(visual, VisionTransformer):
        return list(visual.transformer.resblocks)
    blocks = getattr(visual.trunk, "blocks", None) if isinstance(visual, TimmModel) else None
    if not isinstance(blocks, (nn.Sequential, nn.ModuleList)):
        return []
    return list(blocks)


def block_state(visual: Any, images: Tensor, number: int) -> Tensor:
    """The state (B, Wi) of normalised ``images`` (B, 3, H, W) after block ``number`` (from 1).

    The state of the class token if the tower has one, otherwise the mean over patches. Raises ModelError for an unknown
    block.
    """
    blocks = blocks_of(visual)
    if not blocks:
        raise ModelError("this image tower has no transformer blocks; choose the layer before the projection.")
    if not 1 <= number <= len(blocks):
        raise ModelError(f"the image tower has no block {number}; choose a block from 1 to {len(blocks)}.")
    outputs: list[Tensor] = []

    def stop_after_block(module: nn.Module, inputs: Any, output: Tensor) -> None:
        outputs.append(output)
        raise _Reached

    hook = blocks[number - 1].register_forward_hook(stop_after_block)
    try:
        visual(images)
    except _Reached:
        pass
    finally:
        hook.remove()
    states = outputs[0]  # (B, L, Wi)
    if isinstance(visual, VisionTransformer) and not visual.transformer.batch_first:
        states = states.transpose(0, 1)
    if states.ndim != 3 or len(states) != len(images):
        raise ModelError("this image tower's blocks have no token sequence; choose the layer before the projection.")
    return states[:, 0] if _has_class_token(visual) else states.mean(dim=1)


def _has_class_token(visual: Any) -> bool:
    if isinstance(visual, VisionTransformer):
        return visual.class_embedding is not None
    return bool(getattr(visual.trunk, "has_class_token", getattr(visual.trunk, "cls_token", None) is not None))
