"""Features of images at each level of open_clip's image towers.

Flow: ``core.model.towers.towers.Towers.encode_image`` calls ``image_features`` with open_clip's ``visual`` module.

Legend: B batch, D embed, H W image height and width, P patches, k kept patches, p patch size, Wi width.
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
    """The image tower's features of a batch of images.

    In a ViT with a class token, ``tokens`` are the patch states that enter the last block's attention (after its first
    norm). Later patch states do not influence the class token, so CLIP's loss does not train them, not even in
    pretrained weights, and they are only computed on request. In other towers, ``tokens`` are the patches after the
    final norm.
    """

    pooled: Tensor  # (B, D) projected, not normalised
    before_projection: Tensor  # (B, Wi), the input of a linear probe; equals pooled in a ResNet
    tokens: Tensor | None  # (B, P, width of tokens), for the fusion; None if there are no patches (ResNet)
    patches: Tensor | None = None  # (B, P, Wi) after the last block and norm, if requested

    def chunk(self, count: int) -> list[ImageFeatures]:
        """The features of ``count`` equal parts of the batch."""
        tokens = [None] * count if self.tokens is None else self.tokens.chunk(count)
        patches = [None] * count if self.patches is None else self.patches.chunk(count)
        pooled = self.pooled.chunk(count), self.before_projection.chunk(count)
        parts = zip(*pooled, tokens, patches, strict=True)
        return [ImageFeatures(*part) for part in parts]

    def rows(self, index: Tensor) -> ImageFeatures:
        """The features of the images at ``index`` (N,)."""
        return ImageFeatures(
            self.pooled[index],
            self.before_projection[index],
            None if self.tokens is None else self.tokens[index],
            None if self.patches is None else self.patches[index],
        )


@torch.no_grad()
def image_widths(visual: Any, image_size: int) -> tuple[int, int | None]:
    """Widths of ``before_projection`` and of ``tokens`` (None if there are none)."""
    if isinstance(visual, VisionTransformer):
        width = int(visual.transformer.width if visual.attn_pool is None else visual.output_dim)
        return width, width
    if not isinstance(visual, TimmModel):
        return int(visual.output_dim), None
    training = visual.training  # timm's trunks have no common attribute for widths, so a forward pass measures them
    features = image_features(visual.eval(), torch.zeros(1, 3, image_size, image_size))
    visual.train(training)
    tokens = features.tokens
    return features.before_projection.shape[-1], None if tokens is None else tokens.shape[-1]


def patch_side(visual: Any) -> int:
    """The side of a patch in pixels, which divides the sides of views; without patches, 1/16 of the input side."""
    if isinstance(visual, VisionTransformer):
        return math.lcm(*visual.patch_size)
    embed = getattr(getattr(visual, "trunk", None), "patch_embed", None)
    size = getattr(embed, "patch_size", None)
    if size is not None:
        return math.lcm(*size) if isinstance(size, (tuple, list)) else int(size)
    side = visual.image_size if isinstance(visual.image_size, int) else visual.image_size[0]
    return max(1, int(side) // 16)


def image_features(
    visual: Any,
    images: Tensor,
    mask: Tensor | None = None,
    mask_token: Tensor | None = None,
    keep_patches: bool = False,
    patch_index: Tensor | None = None,
) -> ImageFeatures:
    """Features of normalised ``images`` (B, 3, H, W).

    ``mask`` (B, P) bool: hidden patches, replaced by the ``mask_token`` (Wi,) in open_clip's ViTs and by the mean
    colour in other towers. ``patch_index`` (B, k): the visible patches, which keep their positions; other patches are
    dropped. ``keep_patches``: return patch states after the last block. Raises ModelError if the tower does not support
    one of these options.
    """
    if isinstance(visual, VisionTransformer):
        return _vit(visual, _embed_patches(visual, images, mask, mask_token, patch_index), keep_patches)
    if keep_patches:
        raise ModelError(
            "only open_clip's own ViTs provide patch states, which masked-patch objectives need; choose one of them."
        )
    if patch_index is not None:
        raise ModelError("only open_clip's own ViTs can drop patches; set views.clean.keep to 1.")
    images = images if mask is None else _blank_patches(images, mask)
    if isinstance(visual, TimmModel):
        return _timm(visual, images)
    pooled = visual(images)
    return ImageFeatures(pooled, pooled, None)


def patch_embeddings(visual: Any, images: Tensor) -> Tensor:
    """Embeddings (B, P, D) of the patches of normalised ``images`` (B, 3, H, W), comparable with those of texts.

    They have no unit length. The embedding of a patch is the image's embedding if the last attention of an open_clip
    ViT sees only this patch: that of the last block, or of the attention pool (Zhou et al. 2022, Extract free dense
    labels from CLIP). Raises ModelError for other towers.
    """
    if not isinstance(visual, VisionTransformer):
        raise ModelError("only open_clip's own ViTs provide embeddings of patches; choose one of them.")
    blocks = visual.transformer.resblocks
    last = len(blocks) - (visual.attn_pool is None)
    states = run_blocks(blocks[:last], _embed_patches(visual, images, None, None, None), AttentionMask())[:, 1:]
    batch, count, width = states.shape
    alone = states.reshape(-1, 1, width).expand(-1, 2, -1)  # a class token and a patch, both with the patch's state
    pooled = visual._pool(run_blocks(blocks[last:], alone, AttentionMask()))[0].flatten(1)
    embeddings: Tensor = pooled if visual.proj is None else pooled @ visual.proj
    return embeddings.view(batch, count, -1)


def _blank_patches(images: Tensor, mask: Tensor) -> Tensor:
    """Normalised ``images`` with hidden patches set to 0, the mean colour."""
    side = math.isqrt(mask.shape[1])
    grid = mask.view(-1, 1, side, side).float()
    return images.masked_fill(F.interpolate(grid, images.shape[-2:], mode="nearest").bool(), 0.0)


def _pools_class_token(visual: Any) -> bool:
    """Whether a ViT pools its class token after a block that can compute it alone."""
    last = visual.transformer.resblocks[-1]
    return visual.attn_pool is None and visual.pool_type == "tok" and isinstance(last, ResidualBlock)


def _vit(visual: Any, x: Tensor, keep_patches: bool) -> ImageFeatures:
    """Features of a ViT from its class token and embedded patches, (B, 1 + P, Wi)."""
    blocks = visual.transformer.resblocks
    all_patches = visual.output_tokens or keep_patches  # a caption decoder reads the patches after the last block
    patch_states: Tensor | None = None
    pools_class_token = _pools_class_token(visual)
    if pools_class_token and not all_patches:  # the last block computes only the class token
        x = run_blocks(blocks[:-1], x, AttentionMask())
        state, attended = blocks[-1](x, mask=AttentionMask(), position=0)
        pooled, tokens = visual.ln_post(state), attended[:, 1:]
    elif pools_class_token and not visual.output_tokens:  # the same tokens, and all states after the last block
        x = run_blocks(blocks[:-1], x, AttentionMask())
        x, attended = blocks[-1](x, mask=AttentionMask(), keep_normed=True)
        states, tokens = visual.ln_post(x), attended[:, 1:]
        pooled, patch_states = states[:, 0], states[:, 1:]
    else:  # open_clip's own pooling
        states = run_blocks(blocks, x, AttentionMask())
        pooled, tokens = visual._pool(states)
        pooled = pooled.flatten(1)
        if keep_patches:
            patch_states = (states if visual.attn_pool is not None else visual.ln_post(states))[:, 1:]
    projected = pooled if visual.proj is None else pooled @ visual.proj
    return ImageFeatures(projected, pooled, tokens, patch_states)


def _embed_patches(
    visual: Any, images: Tensor, mask: Tensor | None, mask_token: Tensor | None, patch_index: Tensor | None
) -> Tensor:
    """The class token and patch embeddings of images (B, 3, H, W), with positions: (B, 1 + P or k, Wi)."""
    weight = visual.conv1.weight  # (Wi, 3, p, p)
    patch_height, patch_width = visual.patch_size
    batch, colours, height, width = images.shape
    rows, columns = height // patch_height, width // patch_width
    patches = images.view(batch, colours, rows, patch_height, columns, patch_width)
    patches = patches.permute(0, 2, 4, 1, 3, 5).flatten(3).flatten(1, 2)  # (B, P, 3 p p)
    positions = _positions(visual, rows, columns)  # (1 + P, Wi)
    class_position, patch_positions = positions[:1], positions[1:]
    if patch_index is not None:
        patches = patches.take_along_dim(patch_index[..., None], dim=1)  # (B, k, 3 p p)
        patch_positions = patch_positions[patch_index]  # (B, k, Wi)
        mask = None if mask is None else mask.take_along_dim(patch_index, dim=1)
    x = F.linear(patches, weight.flatten(1))  # the convolution of stride p as a matrix product, which is faster
    if mask is not None:
        if mask_token is None:
            raise ModelError(
                "a view masks patches, but the network has no mask token; build the network with this view."
            )
        x = torch.where(mask[..., None], mask_token.to(x.dtype), x)
    class_token = (visual.class_embedding.to(x.dtype) + class_position.to(x.dtype)).expand(len(x), 1, -1)
    x = torch.cat([class_token, x + patch_positions.to(x.dtype)], dim=1)
    embedded: Tensor = visual.ln_pre(visual.patch_dropout(x))
    return embedded


def _positions(visual: Any, rows: int, columns: int) -> Tensor:
    """Position embeddings (1 + P, Wi) of the class token and of patches, interpolated to a grid."""
    positions: Tensor = visual.positional_embedding
    own_rows, own_columns = visual.grid_size
    if (rows, columns) == (own_rows, own_columns):
        return positions
    grid = positions[1:].T.reshape(1, -1, own_rows, own_columns)
    grid = F.interpolate(grid, (rows, columns), mode="bicubic", antialias=True, align_corners=False)
    return torch.cat([positions[:1], grid.flatten(2)[0].T])


def _timm(visual: Any, images: Tensor) -> ImageFeatures:
    trunk = visual.trunk
    features = trunk.forward_features(images)
    state = trunk.forward_head(features)
    pooled = visual.head(state)
    before_projection = state if state.ndim == 2 else pooled  # a head with an attention pool gets a feature map
    return ImageFeatures(pooled, before_projection, _timm_tokens(trunk, features))


def _timm_tokens(trunk: Any, features: Tensor) -> Tensor:
    """The patches (B, P, Wi), without class and register tokens."""
    if features.ndim == 3:
        return features[:, getattr(trunk, "num_prefix_tokens", 0) :]
    channels_last = features.shape[-1] == trunk.num_features and features.shape[1] != trunk.num_features
    return features.flatten(1, 2) if channels_last else features.flatten(2).transpose(1, 2)
