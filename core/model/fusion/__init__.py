"""Fusion of image and text into a joint representation: several kinds with one interface.

Flow: ``core.model.network`` passes an image's patches and a caption's words to a fusion, which returns a representation
of the pair and, if requested, of each word, for the objectives.
"""

from __future__ import annotations

from core.model.fusion.base import Fused, Fusion
from core.model.fusion.cross import CrossAttentionFusion
from core.model.fusion.merged import MergedFusion
from core.model.fusion.queries import QueryFusion
from core.model.fusion.skip import SkipFusion
from core.spec.config import FusionConfig

__all__ = ["CrossAttentionFusion", "Fused", "Fusion", "MergedFusion", "QueryFusion", "SkipFusion", "build_fusion"]


def build_fusion(config: FusionConfig, text_width: int, image_width: int) -> Fusion | None:
    """The fusion of ``config`` for towers of these widths, with random weights; None if the kind is none."""
    sizes = (text_width, image_width, config.width, config.heads, config.layers)
    if config.kind == "none":
        return None
    if config.kind == "cross-attention":
        return SkipFusion(*sizes, merge_every=0) if config.text_attention else CrossAttentionFusion(*sizes)
    if config.kind == "merged":
        return MergedFusion(*sizes, config.feed_forward == "per-modality", config.joint_layers)
    if config.kind == "skip":
        return SkipFusion(*sizes, config.merge_every)
    return QueryFusion(*sizes, config.queries)
