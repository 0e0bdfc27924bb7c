"""The fifth axis: the student's training objectives. Each has a weight, a ramp and its own settings."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

from pydantic import ConfigDict, Field, JsonValue, field_validator

from core.spec.config.base import Section, Text, section, setting
from core.spec.config.distillation import (
    DistillCaptionsConfig,
    DistillFeaturesConfig,
    DistillLogitsConfig,
    DistillPrototypesConfig,
    DistillSimilarityConfig,
    ImageAnchorsConfig,
    ImageContrastiveConfig,
    MaskedPatchesConfig,
    TextAnchorsConfig,
)
from core.spec.config.labelled import ClassificationConfig, ConsistencyConfig
from core.spec.config.objective import ObjectiveConfig, RampShare, Weight, WeightRamp
from core.spec.config.pairs import CaptioningConfig, ContrastiveConfig, MaskedWordsConfig, MatchingConfig
from core.spec.extending.references import REFERENCE_FORM, parse_reference
from core.spec.reading import excerpt


class CustomObjectiveConfig(ObjectiveConfig):
    """Settings of a custom loss: its weight, and the arguments of its constructor."""

    model_config = ConfigDict(extra="allow")
    weight: Weight = 1.0
    ramp: RampShare = 0.0
    __pydantic_extra__: dict[str, JsonValue] = Field(init=False)  # pydantic reads its type off this field

    def weight_ramp(self) -> WeightRamp:
        return WeightRamp(self.ramp)

    @property
    def arguments(self) -> dict[str, JsonValue]:
        """The arguments of the loss's constructor."""
        return dict(self.__pydantic_extra__ or {})


class ObjectivesConfig(Section):
    """The student's objectives; the loss is their weighted sum."""

    contrastive: ContrastiveConfig = section(
        ContrastiveConfig,
        "Contrastive",
        "Make the features of matching images and captions similar, and all others dissimilar.",
    )
    captioning: CaptioningConfig = section(
        CaptioningConfig, "Captioning", "Predict the caption word by word. Needs a CoCa architecture."
    )
    matching: MatchingConfig = section(
        MatchingConfig, "Matching", "Classify pairs as matching or not, with hard negatives. Needs a fusion."
    )
    masked_words: MaskedWordsConfig = section(
        MaskedWordsConfig, "Masked words", "Predict masked words. Needs a fusion."
    )
    distill_similarity: DistillSimilarityConfig = section(
        DistillSimilarityConfig,
        "Distil similarities",
        "Match the teacher's similarities between the batch's images and texts. Needs a teacher.",
    )
    distill_prototypes: DistillPrototypesConfig = section(
        DistillPrototypesConfig,
        "Distil prototypes",
        "Match the teacher's softmax over learnt prototypes. Needs a teacher.",
    )
    masked_patches: MaskedPatchesConfig = section(
        MaskedPatchesConfig, "Masked patches", "Match the teacher's prototypes of masked patches. Needs a teacher."
    )
    distill_captions: DistillCaptionsConfig = section(
        DistillCaptionsConfig,
        "Distil captions",
        "Match the teacher's distribution over each next word. Needs a teacher and a CoCa architecture.",
    )
    distill_features: DistillFeaturesConfig = section(
        DistillFeaturesConfig, "Distil features", "Match the teacher's feature of the same pair. Needs a teacher."
    )
    text_anchors: TextAnchorsConfig = section(
        TextAnchorsConfig,
        "Text anchors",
        "Keep the text features of given texts near the initial model's. Needs pretrained weights, but no images.",
    )
    image_anchors: ImageAnchorsConfig = section(
        ImageAnchorsConfig,
        "Image anchors",
        "Keep the image features of given images near the initial model's. Needs pretrained weights, but no captions.",
    )
    distill_logits: DistillLogitsConfig = section(
        DistillLogitsConfig, "Distil logits", "Match the teacher's softened logits. Needs a teacher."
    )
    image_contrastive: ImageContrastiveConfig = section(
        ImageContrastiveConfig,
        "Image contrast",
        "Make the features of two views of an image similar, and of other images dissimilar. Needs two additional "
        "student views.",
    )
    classification: ClassificationConfig = section(
        ClassificationConfig, "Classification", "Classify labelled rows. Needs data.label."
    )
    consistency: ConsistencyConfig = section(
        ConsistencyConfig,
        "Consistency",
        "Predict the same class for every view of an unlabelled row. Needs data.label.",
    )
    custom: dict[Text, CustomObjectiveConfig] = setting(
        {}, "Custom objectives", 'Custom losses: {"FILE.py:NAME": {"weight": 1, "another argument": 2}}.'
    )

    @field_validator("custom")
    @classmethod
    def _check_names(cls, custom: dict[str, CustomObjectiveConfig]) -> dict[str, CustomObjectiveConfig]:
        taken_names = set(cls.model_fields)
        for key in custom:
            reference = parse_reference(key)
            if reference is None:
                raise ValueError(f"{excerpt(repr(key))} is not a reference to code; write {REFERENCE_FORM}")
            if reference.name in taken_names:
                raise ValueError(f"another objective is already called {reference.name}; rename the custom one")
            taken_names.add(reference.name)
        return custom

    def __iter__(self) -> Generator[tuple[str, Any], None, None]:
        """Every objective and its settings; a custom one under the name after the colon."""
        yield from ((name, settings) for name, settings in super().__iter__() if name != "custom")
        yield from ((key.rpartition(":")[2], settings) for key, settings in self.custom.items())
