"""Which parts of the towers keep their weights, and how deep each parameter lies.

Flow: ``Towers.freeze`` asks for the parts of an experiment; the loop asks for depths, for rates that fall layer by
layer.
"""

from __future__ import annotations

import re
from typing import Any

from open_clip.transformer import VisionTransformer
from torch import nn

from core.model.errors import ModelError
from core.model.towers.block_states import blocks_of

TEXT_PARTS = ("transformer", "token_embedding", "ln_final", "positional_embedding", "text_projection")
EMBEDDING = ("conv1", "class_embedding", "positional_embedding", "ln_pre", "patch_dropout")
_ABOVE = re.compile(r"^(visual\.(proj$|head\.)|(text\.)?(text_projection|proj)\b|logit_|text_decoder\.)")
_BLOCK = re.compile(r"\.(?:(?:resblocks|blocks|layer|layers|stages|h)\.|layer)(\d+)\.")
_STEM = re.compile(r"(conv1|class_embedding|positional_embedding|token_embedding|ln_pre|patch_embed|cls_token|cls_emb|"
                   r"pos_embed|embeddings|mask_token)")  # fmt: skip


def frozen_modules(clip: Any, which: str, image_blocks: int = 0) -> list[nn.Module | nn.Parameter]:
    """The parts of an open_clip model that ``which`` names, and its first blocks; trunks are all but projections."""
    parts: list[nn.Module | nn.Parameter] = []
    if which == "trunks":
        return [value for name, value in clip.named_parameters() if not _ABOVE.search(name)]
    if which in ("image", "both"):
        parts.append(clip.visual)
    if which in ("text", "both"):
        text = [clip.text] if hasattr(clip, "text") else [getattr(clip, name, None) for name in TEXT_PARTS]
        parts += [part for part in text if isinstance(part, (nn.Module, nn.Parameter))]
    if image_blocks > 0 and which not in ("image", "both"):
        parts += _first_blocks(clip.visual, image_blocks)
    return parts


def _first_blocks(visual: Any, count: int) -> list[nn.Module | nn.Parameter]:
    blocks = blocks_of(visual)
    if count > len(blocks):
        raise ModelError(
            f"the image tower has {len(blocks)} blocks, and {count} shall be frozen; set towers.freeze_image_blocks to "
            f"at most {len(blocks)}."
        )
    if isinstance(visual, VisionTransformer):
        stem = [getattr(visual, name, None) for name in EMBEDDING]
    else:
        stem = [getattr(visual.trunk, name, None) for name in ("patch_embed", "cls_token", "pos_embed", "norm_pre")]
    return [*blocks[:count], *(part for part in stem if isinstance(part, (nn.Module, nn.Parameter)))]


def depths(network: nn.Module) -> dict[str, tuple[int, int]]:
    """Parameter name -> (its depth, the depth of what follows its tower).

    0 is an embedding, i the i-th block counted from 1; what follows the blocks, and what belongs to no tower, lies at
    the greatest depth.
    """
    found: dict[str, tuple[str, int]] = {}
    for name, _ in network.named_parameters():
        if not name.startswith("towers.") or "text_decoder" in name or "logit_" in name:
            continue
        side = "image" if ".visual." in name or name.endswith("mask_token") else "text"
        block = _BLOCK.search(name)
        if block:
            found[name] = (side, int(block.group(1)) + 1)
        elif _STEM.search(name):
            found[name] = (side, 0)
    tops = {
        side: 1 + max((depth for one, depth in found.values() if one == side), default=0) for side in ("image", "text")
    }
    every = {
        name: tops["text" if name in found and found[name][0] == "text" else "image"]
        for name, _ in network.named_parameters()
    }
    return {name: (found[name][1], top) if name in found else (top, top) for name, top in every.items()}
