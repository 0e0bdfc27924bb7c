"""Builds the fusion of a config."""

from __future__ import annotations

from core.model.fusion.base import Fusion
from core.model.fusion.cross import CrossAttentionFusion
from core.model.fusion.merged import MergedFusion
from core.model.fusion.queries import QueryFusion
from core.model.fusion.skip import SkipFusion
from core.spec.config import FusionConfig


def build_fusion(config: FusionConfig, text_width: int, image_width: int) -> Fusion | None:
    """The fusion of ``config`` for towers of these widths, with random weights; None if the kind is none."""
    sizes = (text_width, image_width, config.width, config.heads, config.layers)
    if config.kind == "none":
        return None
    if config.kind == "cross-attention":
        return SkipFusion(*sizes, every=0) if config.text_attention else CrossAttentionFusion(*sizes)
    if config.kind == "merged":
        return MergedFusion(*sizes, config.feed_forward == "per-modality", config.joint_layers)
    if config.kind == "skip":
        return SkipFusion(*sizes, config.merge_every)
    return QueryFusion(*sizes, config.queries)
