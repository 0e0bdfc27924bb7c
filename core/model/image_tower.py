"""Features of pictures at each level of open_clip's image towers.

Flow: ``core.model.towers.Towers.encode_image`` calls this with open_clip's ``visual`` module.

Legend: B batch, D embed, H W picture height and width, P patches, p patch size, Wi width.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from open_clip.timm_model import TimmModel
from open_clip.transformer import VisionTransformer
from torch import Tensor
from torch.nn import functional as F

from core.model.transformer import Reach, is_plain, run_blocks, run_last_block


@dataclass(frozen=True)
class ImageFeatures:
    """Pictures through the image tower.

    ``tokens`` are the patches that the pooled token's last attention reads: of a ViT with a class token, the input of
    the last block after its first norm. CLIP's loss trains patches no further than that, in pretrained weights too,
    so what the last block would make of them is left out. Of other towers they are the patches after the final norm.
    """

    pooled: Tensor  # (B, D) projected, not normalised
    before_projection: Tensor  # (B, Wi), what a linear probe takes; of a ResNet the same as pooled
    tokens: Tensor | None  # (B, P, width of tokens), for the fusion; None where the tower keeps none (ResNet)


@torch.no_grad()
def image_widths(visual: Any, image_size: int) -> tuple[int, int | None]:
    """Widths of ``before_projection`` and of ``tokens``, None where there are none."""
    if isinstance(visual, VisionTransformer):
        width = int(visual.transformer.width if visual.attn_pool is None else visual.output_dim)
        return width, width
    if not isinstance(visual, TimmModel):
        return int(visual.output_dim), None
    training = visual.training  # timm's many trunks do not say: look
    features = image_features(visual.eval(), torch.zeros(1, 3, image_size, image_size))
    visual.train(training)
    tokens = features.tokens
    return features.before_projection.shape[-1], None if tokens is None else tokens.shape[-1]


def image_features(visual: Any, images: Tensor) -> ImageFeatures:
    """Features of normalised ``images`` (B, 3, H, W)."""
    if isinstance(visual, VisionTransformer):
        return _vit(visual, images)
    if isinstance(visual, TimmModel):
        return _timm(visual, images)
    pooled = visual(images)
    return ImageFeatures(pooled, pooled, None)


def _vit(visual: Any, images: Tensor) -> ImageFeatures:
    x = _embed_patches(visual, images)
    blocks = visual.transformer.resblocks
    whole = visual.output_tokens  # a caption decoder reads the patches after the last block
    if visual.attn_pool is None and visual.pool_type == "tok" and is_plain(blocks[-1]) and not whole:
        x = run_blocks(blocks[:-1], x, Reach())
        state, tokens = run_last_block(blocks[-1], x, 0, Reach())
        pooled, tokens = visual.ln_post(state), tokens[:, 1:]
    else:
        pooled, tokens = visual._pool(run_blocks(blocks, x, Reach()))
        pooled = pooled.flatten(1)
    return ImageFeatures(pooled if visual.proj is None else pooled @ visual.proj, pooled, tokens)


def _embed_patches(visual: Any, images: Tensor) -> Tensor:
    """Patches as tokens behind the class token, with positions. (B, 3, H, W) to (B, 1 + P, Wi)."""
    weight = visual.conv1.weight  # (Wi, 3, p, p)
    high, wide = visual.patch_size
    batch, colours, height, width = images.shape
    patches = images.view(batch, colours, height // high, high, width // wide, wide)
    patches = patches.permute(0, 2, 4, 1, 3, 5).flatten(3).flatten(1, 2)  # (B, P, 3 p p)
    x = F.linear(patches, weight.flatten(1))  # a convolution of stride p is a product, and faster as one
    start = visual.class_embedding.to(x.dtype).expand(len(x), 1, -1)
    x = torch.cat([start, x], dim=1) + visual.positional_embedding.to(x.dtype)
    embedded: Tensor = visual.ln_pre(visual.patch_dropout(x))
    return embedded


def _timm(visual: Any, images: Tensor) -> ImageFeatures:
    trunk = visual.trunk
    features = trunk.forward_features(images)
    state = trunk.forward_head(features)
    pooled = visual.head(state)
    before = state if state.ndim == 2 else pooled  # an attention pool in the head leaves a map before it
    return ImageFeatures(pooled, before, _timm_tokens(trunk, features))


def _timm_tokens(trunk: Any, features: Tensor) -> Tensor:
    """Patches without class and register tokens. (B, P, Wi)."""
    if features.ndim == 3:
        return features[:, getattr(trunk, "num_prefix_tokens", 0) :]
    channels_last = features.shape[-1] == trunk.num_features and features.shape[1] != trunk.num_features
    return features.flatten(1, 2) if channels_last else features.flatten(2).transpose(1, 2)
