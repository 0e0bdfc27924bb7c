"""Image and text joined into one representation: kinds of fusion with one interface.

Flow: ``core.model.network`` hands over an image's patches and a caption's words, asks for the pair, for each word, or
both; objectives read what comes out.
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
