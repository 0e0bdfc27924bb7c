"""Features of images at each level of open_clip's image towers.

Flow: ``core.model.towers.towers.Towers.encode_image`` calls this with open_clip's ``visual`` module.

Legend: B batch, D embed, H W image height and width, P patches, k kept ones, p patch size, Wi width.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from open_clip.timm_model import TimmModel
from open_clip.transformer import VisionTransformer
from torch import Tensor
from torch.nn import functional as F

from core.model.errors import ModelError
from core.model.towers.transformer import AttentionMask, ResidualBlock, run_blocks


@dataclass(frozen=True)
class ImageFeatures:
    """Images through the image tower.

    ``tokens`` are the patches that the pooled token's last attention reads: of a ViT with a class token, the input of
    the last block after its first norm. CLIP's loss trains patches no further than that, in pretrained weights too,
    so what the last block would make of them is left out. Of other towers they are the patches after the final norm.
    """

    pooled: Tensor  # (B, D) projected, not normalised
    before_projection: Tensor  # (B, Wi), what a linear probe takes; of a ResNet the same as pooled
    tokens: Tensor | None  # (B, P, width of tokens), for the fusion; None where the tower keeps none (ResNet)
    patches: Tensor | None = None  # (B, P, Wi) after the last block and norm, where they are asked for
    attention: Tensor | None = None  # (B, P) of the pooled token to each patch in the last block, where it is asked for

    def chunk(self, count: int) -> list[ImageFeatures]:
        """The features of ``count`` equal parts of the batch."""
        tokens = [None] * count if self.tokens is None else self.tokens.chunk(count)
        patches = [None] * count if self.patches is None else self.patches.chunk(count)
        attention = [None] * count if self.attention is None else self.attention.chunk(count)
        whole = self.pooled.chunk(count), self.before_projection.chunk(count)
        parts = zip(*whole, tokens, patches, attention, strict=True)
        return [ImageFeatures(*part) for part in parts]

    def rows(self, index: Tensor) -> ImageFeatures:
        """The features of the images at ``index`` (N,)."""
        return ImageFeatures(
            self.pooled[index],
            self.before_projection[index],
            None if self.tokens is None else self.tokens[index],
            None if self.patches is None else self.patches[index],
            None if self.attention is None else self.attention[index],
        )


@torch.no_grad()
def image_widths(visual: Any, image_size: int) -> tuple[int, int | None]:
    """Widths of ``before_projection`` and of ``tokens``, None where there are none."""
    if isinstance(visual, VisionTransformer):
        width = int(visual.transformer.width if visual.attn_pool is None else visual.output_dim)
        return width, width
    if not isinstance(visual, TimmModel):
        return int(visual.output_dim), None
    training = visual.training  # timm's trunks have no common attribute for it
    features = image_features(visual.eval(), torch.zeros(1, 3, image_size, image_size))
    visual.train(training)
    tokens = features.tokens
    return features.before_projection.shape[-1], None if tokens is None else tokens.shape[-1]


def patch_side(visual: Any) -> int:
    """Pixels along a patch: what the sides of views are multiples of. Where a tower has none, a 16th of its input."""
    if isinstance(visual, VisionTransformer):
        return math.lcm(*visual.patch_size)
    embed = getattr(getattr(visual, "trunk", None), "patch_embed", None)
    size = getattr(embed, "patch_size", None)
    if size is not None:
        return math.lcm(*size) if isinstance(size, (tuple, list)) else int(size)
    side = visual.image_size if isinstance(visual.image_size, int) else visual.image_size[0]
    return max(1, int(side) // 16)


def takes_any_size(visual: Any) -> bool:
    """Whether images may be smaller than the tower's input: positions are interpolated."""
    return isinstance(visual, VisionTransformer)


def gives_attention(visual: Any) -> bool:
    """Whether the last block of ``visual`` is attention of one class token alone, whose weights can be asked for."""
    return isinstance(visual, VisionTransformer) and not visual.output_tokens and _by_class_token(visual)


def image_features(
    visual: Any,
    images: Tensor,
    mask: Tensor | None = None,
    token: Tensor | None = None,
    patches: bool = False,
    kept: Tensor | None = None,
    attention: bool = False,
) -> ImageFeatures:
    """Features of normalised ``images`` (B, 3, H, W).

    ``mask`` (B, P) bool: patches that are hidden, behind the learnt ``token`` (Wi,) in open_clip's ViTs, and behind the
    mean colour in other towers. ``kept`` (B, k): the patches that are read, each at its own position; the others are
    left out. ``patches``: keep every patch's state after the last block. ``attention``: keep what the class token
    attends to there. Raises ModelError where the tower has none of these.
    """
    if isinstance(visual, VisionTransformer):
        return _vit(visual, _embed_patches(visual, images, mask, token, kept), patches, attention)
    if patches:
        raise ModelError("masked patches need the states of patches, which only open_clip's own ViTs give here.")
    if kept is not None or attention:
        raise ModelError("only open_clip's own ViTs leave out patches (views.*.keep); set it to 1.")
    images = images if mask is None else _blank(images, mask)
    if isinstance(visual, TimmModel):
        return _timm(visual, images)
    pooled = visual(images)
    return ImageFeatures(pooled, pooled, None)


def _blank(images: Tensor, mask: Tensor) -> Tensor:
    """Normalised ``images`` with hidden patches at 0, the mean colour."""
    side = math.isqrt(mask.shape[1])
    grid = mask.view(-1, 1, side, side).float()
    return images.masked_fill(F.interpolate(grid, images.shape[-2:], mode="nearest").bool(), 0.0)


def _by_class_token(visual: Any) -> bool:
    """Whether a ViT pools its class token, after a block that can compute it alone."""
    last = visual.transformer.resblocks[-1]
    return visual.attn_pool is None and visual.pool_type == "tok" and isinstance(last, ResidualBlock)


def _vit(visual: Any, x: Tensor, patches: bool, attention: bool) -> ImageFeatures:
    """Embedded patches behind the class token, (B, 1 + P, Wi), through a ViT."""
    blocks = visual.transformer.resblocks
    whole = visual.output_tokens or patches  # a caption decoder reads the patches after the last block
    last: Tensor | None = None
    attended: Tensor | None = None
    by_class_token = _by_class_token(visual)
    if attention and (whole or not by_class_token):
        raise ModelError("this image tower's attention cannot choose patches; set views.*.keep_by to random.")
    if by_class_token and not whole:
        x = run_blocks(blocks[:-1], x, AttentionMask())
        state, tokens, weights = blocks[-1](x, reach=AttentionMask(), at=0, keep_weights=attention)
        pooled, tokens = visual.ln_post(state), tokens[:, 1:]
        attended = weights[:, 1:] if attention else None
    elif by_class_token and not visual.output_tokens:
        x = run_blocks(blocks[:-1], x, AttentionMask())
        x, tokens = blocks[-1](x, reach=AttentionMask(), keep_read=True)
        x, tokens = visual.ln_post(x), tokens[:, 1:]  # what the fusion reads is the same with and without ``patches``
        pooled, last = x[:, 0], x[:, 1:]
    else:
        states = run_blocks(blocks, x, AttentionMask())
        pooled, tokens = visual._pool(states)
        pooled = pooled.flatten(1)
        if patches:
            last = (states if visual.attn_pool is not None else visual.ln_post(states))[:, 1:]
    projected = pooled if visual.proj is None else pooled @ visual.proj
    return ImageFeatures(projected, pooled, tokens, last, attended)


def _embed_patches(
    visual: Any, images: Tensor, mask: Tensor | None, token: Tensor | None, kept: Tensor | None
) -> Tensor:
    """Patches as tokens behind the class token, with positions. (B, 3, H, W) to (B, 1 + P, Wi), or (B, 1 + k, Wi)."""
    weight = visual.conv1.weight  # (Wi, 3, p, p)
    high, wide = visual.patch_size
    batch, colours, height, width = images.shape
    patches = images.view(batch, colours, height // high, high, width // wide, wide)
    patches = patches.permute(0, 2, 4, 1, 3, 5).flatten(3).flatten(1, 2)  # (B, P, 3 p p)
    positions = _positions(visual, height // high, width // wide)  # (1 + P, Wi)
    first, others = positions[:1], positions[1:]
    if kept is not None:
        patches = patches.take_along_dim(kept[..., None], dim=1)  # (B, k, 3 p p)
        others = others[kept]  # (B, k, Wi)
        mask = None if mask is None else mask.take_along_dim(kept, dim=1)
    x = F.linear(patches, weight.flatten(1))  # a convolution of stride p is a product, and faster as one
    if mask is not None:
        if token is None:
            raise ModelError("a view hides patches and the network has no token for them; build it with that view.")
        x = torch.where(mask[..., None], token.to(x.dtype), x)
    start = (visual.class_embedding.to(x.dtype) + first.to(x.dtype)).expand(len(x), 1, -1)
    x = torch.cat([start, x + others.to(x.dtype)], dim=1)
    embedded: Tensor = visual.ln_pre(visual.patch_dropout(x))
    return embedded


def _positions(visual: Any, rows: int, columns: int) -> Tensor:
    """Positions of the class token and of a grid of patches, interpolated where it is not the tower's. (1 + P, Wi)."""
    positions: Tensor = visual.positional_embedding
    high, wide = visual.grid_size
    if (rows, columns) == (high, wide):
        return positions
    grid = positions[1:].T.reshape(1, -1, high, wide)
    grid = F.interpolate(grid, (rows, columns), mode="bicubic", antialias=True, align_corners=False)
    return torch.cat([positions[:1], grid.flatten(2)[0].T])


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
