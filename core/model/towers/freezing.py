"""Selects the parts of the towers to freeze, and computes the layer depth of each parameter.

Flow: ``Towers.freeze`` calls ``frozen_modules``; the loop calls ``layer_depths`` for layer-wise learning rate decay.
"""

from __future__ import annotations

import re
from typing import Any

from open_clip.transformer import VisionTransformer
from torch import nn

from core.model.errors import ModelError
from core.model.towers.block_states import blocks_of

_TEXT_TOWER = ("transformer", "token_embedding", "ln_final", "positional_embedding", "text_projection")
_PATCH_EMBEDDING = ("conv1", "class_embedding", "positional_embedding", "ln_pre", "patch_dropout")
_AFTER_BLOCKS = re.compile(r"^(visual\.(proj$|head\.)|(text\.)?(text_projection|proj)\b|logit_|text_decoder\.)")
_BLOCK = re.compile(r"\.(?:(?:resblocks|blocks|layer|layers|stages|h)\.|layer)(\d+)\.")
_STEM = re.compile(r"(conv1|class_embedding|positional_embedding|token_embedding|ln_pre|patch_embed|cls_token|cls_emb|"
                   r"pos_embed|embeddings|mask_token)")  # fmt: skip


def frozen_modules(clip: Any, towers: str, image_blocks: int = 0) -> list[nn.Module | nn.Parameter]:
    """The parts of an open_clip model that ``towers`` selects, and the image tower's first ``image_blocks`` blocks.

    See ``Towers.freeze`` for the values of ``towers``.
    """
    parts: list[nn.Module | nn.Parameter] = []
    if towers == "trunks":
        return [value for name, value in clip.named_parameters() if not _AFTER_BLOCKS.search(name)]
    if towers in ("image", "both"):
        parts.append(clip.visual)
    if towers in ("text", "both"):
        text = [clip.text] if hasattr(clip, "text") else [getattr(clip, name, None) for name in _TEXT_TOWER]
        parts += [part for part in text if isinstance(part, (nn.Module, nn.Parameter))]
    if image_blocks > 0 and towers not in ("image", "both"):
        parts += _first_blocks(clip.visual, image_blocks)
    return parts


def _first_blocks(visual: Any, count: int) -> list[nn.Module | nn.Parameter]:
    blocks = blocks_of(visual)
    if count > len(blocks):
        raise ModelError(
            f"cannot freeze {count} image blocks: the image tower has {len(blocks)}; set towers.freeze_image_blocks "
            f"to at most {len(blocks)}."
        )
    if isinstance(visual, VisionTransformer):
        stem = [getattr(visual, name, None) for name in _PATCH_EMBEDDING]
    else:
        stem = [getattr(visual.trunk, name, None) for name in ("patch_embed", "cls_token", "pos_embed", "norm_pre")]
    return [*blocks[:count], *(part for part in stem if isinstance(part, (nn.Module, nn.Parameter)))]


def layer_depths(network: nn.Module) -> dict[str, tuple[int, int]]:
    """Parameter name -> (depth of the parameter, greatest depth in its tower).

    Embeddings have depth 0, and the i-th block has depth i (from 1). Parameters after the blocks or outside the towers
    have the greatest depth.
    """
    tower_depths: dict[str, tuple[str, int]] = {}
    for name, _ in network.named_parameters():
        if not name.startswith("towers.") or "text_decoder" in name or "logit_" in name:
            continue
        side = "image" if ".visual." in name or name.endswith("mask_token") else "text"
        block = _BLOCK.search(name)
        if block:
            tower_depths[name] = (side, int(block.group(1)) + 1)
        elif _STEM.search(name):
            tower_depths[name] = (side, 0)
    tops = {
        side: 1 + max((depth for tower, depth in tower_depths.values() if tower == side), default=0)
        for side in ("image", "text")
    }
    greatest = {
        name: tops["text" if name in tower_depths and tower_depths[name][0] == "text" else "image"]
        for name, _ in network.named_parameters()
    }
    return {
        name: (tower_depths[name][1], top) if name in tower_depths else (top, top) for name, top in greatest.items()
    }
