"""The output of a single block of an image tower, for probes of features below the last layer.

Flow: ``core.inference.encoder`` asks for a block by its number, counted from 1; the pass ends at that block.

Legend: B batch, H W image height and width, L tokens, Wi width.
"""

from __future__ import annotations

from typing import Any

from open_clip.timm_model import TimmModel
from open_clip.transformer import VisionTransformer
from torch import Tensor, nn

from core.model.errors import ModelError


class _Reached(Exception):
    """The block was reached: nothing after it needs to run."""


def blocks_of(visual: Any) -> list[nn.Module]:
    """The transformer blocks of an image tower in order; empty where it has none (ResNet, ConvNeXt)."""
    if isinstance(visual, VisionTransformer):
        return list(visual.transformer.resblocks)
    blocks = getattr(visual.trunk, "blocks", None) if isinstance(visual, TimmModel) else None
    if not isinstance(blocks, (nn.Sequential, nn.ModuleList)):
        return []
    return list(blocks)


def block_state(visual: Any, images: Tensor, number: int) -> Tensor:
    """State after block ``number`` (from 1) of normalised ``images`` (B, 3, H, W): (B, Wi).

    The class token's where the tower has one, else the mean over the patches. ModelError for a block that is not there.
    """
    blocks = blocks_of(visual)
    if not blocks:
        raise ModelError("this image tower has no transformer blocks; choose the layer before the projection.")
    if not 1 <= number <= len(blocks):
        raise ModelError(f"the image tower has blocks 1 to {len(blocks)}, no block {number}; choose one of these.")
    held: list[Tensor] = []

    def hold(module: nn.Module, given: Any, made: Tensor) -> None:
        held.append(made)
        raise _Reached

    hook = blocks[number - 1].register_forward_hook(hold)
    try:
        visual(images)
    except _Reached:
        pass
    finally:
        hook.remove()
    states = held[0]  # (B, L, Wi)
    if isinstance(visual, VisionTransformer) and not visual.transformer.batch_first:
        states = states.transpose(0, 1)
    if states.ndim != 3 or len(states) != len(images):
        raise ModelError("this image tower's blocks hold no token sequence; choose the layer before the projection.")
    return states[:, 0] if _has_class_token(visual) else states.mean(dim=1)


def _has_class_token(visual: Any) -> bool:
    if isinstance(visual, VisionTransformer):
        return visual.class_embedding is not None
    return bool(getattr(visual.trunk, "has_class_token", getattr(visual.trunk, "cls_token", None) is not None))
