"""The fifth axis: what the student is trained on. Each objective has a weight, a ramp and its own settings."""

from __future__ import annotations

from pydantic import Field

from core.spec.config.base import Section
from core.spec.config.distillation import (
    DistillCaptionsConfig,
    DistillFeaturesConfig,
    DistillLogitsConfig,
    DistillPrototypesConfig,
    DistillSimilarityConfig,
    ImageContrastiveConfig,
    MaskedPatchesConfig,
)
from core.spec.config.labelled import ClassificationConfig, ConsistencyConfig
from core.spec.config.pairs import CaptioningConfig, ContrastiveConfig, MaskedWordsConfig, MatchingConfig


class ObjectivesConfig(Section):
    """What the student is trained on; the loss is the weighted sum."""

    contrastive: ContrastiveConfig = Field(
        default_factory=ContrastiveConfig,
        title="Contrastive",
        description="Pull matching pairs together, others apart.",
    )
    captioning: CaptioningConfig = Field(
        default_factory=CaptioningConfig,
        title="Captioning",
        description="Predict the caption word by word. Needs a CoCa architecture.",
    )
    matching: MatchingConfig = Field(
        default_factory=MatchingConfig,
        title="Matching",
        description="Tell true pairs from the hardest false ones. Needs a fusion.",
    )
    masked_words: MaskedWordsConfig = Field(
        default_factory=MaskedWordsConfig,
        title="Masked words",
        description="Predict masked words. Needs a fusion.",
    )
    distill_similarity: DistillSimilarityConfig = Field(
        default_factory=DistillSimilarityConfig,
        title="Distil similarities",
        description="Match the teacher's similarities between the batch's images and texts. Needs a teacher.",
    )
    distill_prototypes: DistillPrototypesConfig = Field(
        default_factory=DistillPrototypesConfig,
        title="Distil prototypes",
        description="Match the teacher's softmax over prototypes of the joint representation. Needs a teacher.",
    )
    masked_patches: MaskedPatchesConfig = Field(
        default_factory=MaskedPatchesConfig,
        title="Masked patches",
        description="Match the teacher's prototypes of masked patches. Needs a teacher.",
    )
    distill_captions: DistillCaptionsConfig = Field(
        default_factory=DistillCaptionsConfig,
        title="Distil captions",
        description="Match the teacher's distribution over each next word. Needs a teacher and a CoCa architecture.",
    )
    distill_features: DistillFeaturesConfig = Field(
        default_factory=DistillFeaturesConfig,
        title="Distil features",
        description="Match the teacher's feature of the same pair. Needs a teacher.",
    )
    distill_logits: DistillLogitsConfig = Field(
        default_factory=DistillLogitsConfig,
        title="Distil logits",
        description="Match the teacher's softened logits. Needs a teacher.",
    )
    image_contrastive: ImageContrastiveConfig = Field(
        default_factory=ImageContrastiveConfig,
        title="Image contrast",
        description="Pull two further views of an image together. Needs two of them for the student.",
    )
    classification: ClassificationConfig = Field(
        default_factory=ClassificationConfig,
        title="Classification",
        description="Classify labelled rows. Needs data.label.",
    )
    consistency: ConsistencyConfig = Field(
        default_factory=ConsistencyConfig,
        title="Consistency",
        description="Predict the same class for every view of an unlabelled row. Needs data.label.",
    )
