"""The fifth axis: what the student is trained on. Each objective has a weight, a ramp and its own settings."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from core.config.base import Section, Share, shown


class ObjectiveConfig(Section):
    """What every objective has: a weight that may rise over the first part of training."""

    weight: float = Field(
        0.0, ge=0.0, le=1000.0, title="Weight", description="Factor of this loss; 0 leaves it out.",
        json_schema_extra=shown(""),
    )  # fmt: skip
    ramp: Share = Field(
        0.0,
        title="Ramp",
        description="The weight rises linearly from 0 over this share of training.",
        json_schema_extra=shown("share of steps"),
    )


class ContrastiveConfig(ObjectiveConfig):
    """Symmetric InfoNCE over the batch (Radford et al. 2021)."""

    weight: float = Field(
        1.0, ge=0.0, le=1000.0, title="Weight", description="Factor of this loss; 0 leaves it out.",
        json_schema_extra=shown(""),
    )  # fmt: skip
    label_smoothing: float = Field(
        0.0,
        ge=0.0,
        lt=1.0,
        title="Label smoothing",
        description="Share of the target spread over the other pairs of the batch (ALIGN: 0.1).",
        json_schema_extra=shown("share", advanced=True),
    )


class DistillSimilarityConfig(ObjectiveConfig):
    """Match the teacher's image-to-text and text-to-image softmax over the batch (ALBEF, Li et al. 2021)."""


class DistillPrototypesConfig(ObjectiveConfig):
    """Match the teacher's softmax over learnt prototypes (DINO, Caron et al. 2021)."""

    on: Literal["fused", "image", "text"] = Field(
        "fused",
        title="On",
        description="Which representation is distilled; fused needs a fusion.",
        json_schema_extra=shown(""),
    )
    prototypes: int = Field(
        1024,
        ge=2,
        le=262144,
        title="Prototypes",
        description="About 1024 up to 20,000 pictures, 4096 at 100,000, 65536 for web data.",
        json_schema_extra=shown(""),
    )
    student_temperature: float = Field(
        0.1, gt=0.0, le=10.0, title="Student temperature", description="Divides the student's logits.",
        json_schema_extra=shown("", advanced=True),
    )  # fmt: skip
    teacher_temperature: float = Field(
        0.04,
        gt=0.0,
        le=10.0,
        title="Teacher temperature",
        description="Divides the teacher's logits; sharper than the student's, against collapse to uniform.",
        json_schema_extra=shown("", advanced=True),
    )
    center_momentum: float = Field(
        0.9,
        ge=0.0,
        lt=1.0,
        title="Centre momentum",
        description="Moving average of the teacher's logits that is subtracted, against collapse to one prototype.",
        json_schema_extra=shown("per step", advanced=True),
    )


class CaptioningConfig(ObjectiveConfig):
    """Predict each next word of the caption from the picture and the words before (CoCa, Yu et al. 2022)."""


class DistillFeaturesConfig(ObjectiveConfig):
    """Contrast the student's features with the teacher's across the batch (COSMOS, Kim et al. 2025)."""

    on: Literal["image", "text", "fused"] = Field(
        "image",
        title="On",
        description="Which representation is distilled; fused needs a fusion.",
        json_schema_extra=shown(""),
    )
    temperature: float = Field(
        0.07, gt=0.0, le=10.0, title="Temperature", description="Divides the similarities; it is learnt from there.",
        json_schema_extra=shown("", advanced=True),
    )  # fmt: skip


class DistillLogitsConfig(ObjectiveConfig):
    """Match the teacher's softened logits, times temperature squared (Hinton et al. 2015)."""

    on: Literal["similarities", "classes"] = Field(
        "similarities",
        title="On",
        description="The logits over the batch's pairs, or over the classes of labelled rows.",
        json_schema_extra=shown(""),
    )
    temperature: float = Field(
        4.0, ge=1.0, le=100.0, title="Temperature", description="Divides both networks' logits (Hinton: 2 to 20).",
        json_schema_extra=shown(""),
    )  # fmt: skip


class MatchingConfig(ObjectiveConfig):
    """Tell matching pairs from hard negatives by the fused representation (ALBEF, Li et al. 2021)."""


class MaskedWordsConfig(ObjectiveConfig):
    """Restore masked words from the picture and the other words (BERT, Devlin et al. 2019; UNITER, ALBEF)."""

    rate: float = Field(
        0.15, gt=0.0, lt=1.0, title="Masked share", description="Probability that a word is masked.",
        json_schema_extra=shown("probability"),
    )  # fmt: skip


class MaskedPatchesConfig(ObjectiveConfig):
    """Match the teacher's prototypes of patches that the student does not see (iBOT, Zhou et al. 2022)."""

    rate: float = Field(
        0.4, gt=0.0, lt=1.0, title="Masked share", description="Share of the patches that is hidden from the student.",
        json_schema_extra=shown("share"),
    )  # fmt: skip
    prototypes: int = Field(
        1024,
        ge=2,
        le=262144,
        title="Prototypes",
        description="Of patches; about as many as for whole pictures.",
        json_schema_extra=shown(""),
    )


class ImageContrastiveConfig(ObjectiveConfig):
    """Pull two views of a picture together, other pictures apart (SimCLR in SLIP, Mu et al. 2022)."""

    temperature: float = Field(
        0.1, gt=0.0, le=10.0, title="Temperature", description="Divides the similarities.",
        json_schema_extra=shown("", advanced=True),
    )  # fmt: skip


class ClassificationConfig(ObjectiveConfig):
    """Classify labelled rows (data.label names the column); rows without a label are left out."""


class ConsistencyConfig(ObjectiveConfig):
    """Answer alike on unlabelled rows, whatever the view (Mean Teacher, MixMatch, FixMatch)."""

    kind: Literal["mean-teacher", "mixmatch", "fixmatch"] = Field(
        "fixmatch",
        title="Kind",
        description="mean-teacher: match the teacher; mixmatch: match sharpened guesses on interpolated pictures; "
        "fixmatch: match confident guesses on strong views.",
        json_schema_extra=shown(""),
    )
    threshold: float = Field(
        0.95, ge=0.0, le=1.0, title="Threshold", description="FixMatch leaves out guesses less confident than this.",
        json_schema_extra=shown("probability"),
    )  # fmt: skip
    sharpen: float = Field(
        0.5, gt=0.0, le=1.0, title="Sharpening", description="Temperature that sharpens guessed labels (MixMatch).",
        json_schema_extra=shown(""),
    )  # fmt: skip


class ObjectivesConfig(Section):
    """What the student is trained on; the loss is the weighted sum."""

    contrastive: ContrastiveConfig = Field(
        ContrastiveConfig(), title="Contrastive", description="Pull matching pairs together, others apart."
    )
    captioning: CaptioningConfig = Field(
        CaptioningConfig(), title="Captioning", description="Write the caption word by word. Needs a CoCa architecture."
    )
    matching: MatchingConfig = Field(
        MatchingConfig(), title="Matching", description="Tell true pairs from the hardest false ones. Needs a fusion."
    )
    masked_words: MaskedWordsConfig = Field(
        MaskedWordsConfig(), title="Masked words", description="Restore hidden words. Needs a fusion."
    )
    distill_similarity: DistillSimilarityConfig = Field(
        DistillSimilarityConfig(),
        title="Distil similarities",
        description="Match the teacher's similarities between the batch's images and texts. Needs a teacher.",
    )
    distill_prototypes: DistillPrototypesConfig = Field(
        DistillPrototypesConfig(),
        title="Distil prototypes",
        description="Match the teacher's softmax over prototypes of the joint representation. Needs a teacher.",
    )
    distill_features: DistillFeaturesConfig = Field(
        DistillFeaturesConfig(),
        title="Distil features",
        description="Find the teacher's feature of the same pair among the batch's. Needs a teacher.",
    )
    distill_logits: DistillLogitsConfig = Field(
        DistillLogitsConfig(),
        title="Distil logits",
        description="Match the teacher's softened logits. Needs a teacher.",
    )
    masked_patches: MaskedPatchesConfig = Field(
        MaskedPatchesConfig(),
        title="Masked patches",
        description="Match the teacher on patches that the student does not see. Needs a teacher.",
    )
    image_contrastive: ImageContrastiveConfig = Field(
        ImageContrastiveConfig(),
        title="Image contrast",
        description="Pull two views of a picture together. Needs two further views for the student.",
    )
    classification: ClassificationConfig = Field(
        ClassificationConfig(), title="Classification", description="Classify labelled rows. Needs data.label."
    )
    consistency: ConsistencyConfig = Field(
        ConsistencyConfig(), title="Consistency", description="Answer alike on unlabelled rows. Needs data.label."
    )
