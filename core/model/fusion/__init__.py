"""Fusion of image and text into a joint representation: several kinds with one interface.

Flow: ``core.model.network`` passes an image's patches and a caption's words to a fusion, which returns a representation
of the pair and, if requested, of each word, for the objectives.
"""

from core.model.fusion.base import Fused, Fusion
from core.model.fusion.build import build_fusion
from core.model.fusion.cross import CrossAttentionFusion
from core.model.fusion.merged import MergedFusion
from core.model.fusion.queries import QueryFusion
from core.model.fusion.skip import SkipFusion

__all__ = [
    "CrossAttentionFusion",
    "Fused",
    "Fusion",
    "MergedFusion",
    "QueryFusion",
    "SkipFusion",
    "build_fusion",
]
