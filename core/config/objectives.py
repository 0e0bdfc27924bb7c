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
        description="The weight rises from 0 over this share of training.",
        json_schema_extra=shown("share of steps"),
    )
    ramp_shape: Literal["linear", "sigmoid"] = Field(
        "linear",
        title="Ramp shape",
        description="linear, or sigmoid: exp(-5 (1 - t)^2), slow at first (Mean Teacher).",
        json_schema_extra=shown("", advanced=True),
    )


class ContrastiveConfig(ObjectiveConfig):
    """Pull matching pairs together, others apart: InfoNCE over the batch (CLIP), or a sigmoid a pair (SigLIP)."""

    weight: float = Field(
        1.0, ge=0.0, le=1000.0, title="Weight", description="Factor of this loss; 0 leaves it out.",
        json_schema_extra=shown(""),
    )  # fmt: skip
    kind: Literal["softmax", "sigmoid"] = Field(
        "softmax",
        title="Kind",
        description="softmax: which of the batch is the partner (CLIP); sigmoid: is this a pair, yes or no, with a "
        "learnt bias (SigLIP, Zhai et al. 2023).",
        json_schema_extra=shown(""),
    )
    label_smoothing: float = Field(
        0.0,
        ge=0.0,
        lt=1.0,
        title="Label smoothing",
        description="Share of the target spread evenly over all pairs of the batch, the true one too (ALIGN: 0.1).",
        json_schema_extra=shown("share", advanced=True),
    )
    queue: int = Field(
        0,
        ge=0,
        le=1048576,
        title="Queue",
        description="So many of the teacher's features of former batches are contrasted with too (MoCo; ALBEF: 65536). "
        "0 for none. Needs a teacher.",
        json_schema_extra=shown("pairs", advanced=True),
    )


class DistillSimilarityConfig(ObjectiveConfig):
    """Match the teacher's image-to-text and text-to-image softmax over the batch (ALBEF, Li et al. 2021)."""

    alpha: Share = Field(
        1.0,
        title="Alpha",
        description="Share of the teacher's softmax in the target; the rest is the true pair (ALBEF: 0.4). 1 leaves "
        "the true pair to the contrastive loss.",
        json_schema_extra=shown("share"),
    )
    alpha_ramp: Share = Field(
        0.0,
        title="Alpha ramp",
        description="Alpha rises linearly from 0 over this share of training (ALBEF: the first epoch).",
        json_schema_extra=shown("share of steps", advanced=True),
    )
    queue: int = Field(
        0,
        ge=0,
        le=1048576,
        title="Queue",
        description="So many of the teacher's features of former batches are compared with too (ALBEF: 65536). "
        "0 for none.",
        json_schema_extra=shown("pairs", advanced=True),
    )


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
    centering: Literal["center", "sinkhorn"] = Field(
        "center",
        title="Against collapse",
        description="center: a moving mean of the teacher's logits is subtracted (DINO); sinkhorn: each batch is "
        "spread evenly over the prototypes (SwAV, DINOv2).",
        json_schema_extra=shown("", advanced=True),
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
    teacher_temperature_first: float = Field(
        0.04,
        gt=0.0,
        le=10.0,
        title="First teacher temperature",
        description="Where the teacher's temperature begins.",
        json_schema_extra=shown("", advanced=True),
    )
    teacher_temperature_ramp: Share = Field(
        0.0,
        title="Teacher temperature warm-up",
        description="Over this share of training the teacher's temperature moves from the first one (DINO: 0.04 to "
        "0.07 in 30 of 100 epochs); 0: it is the same throughout.",
        json_schema_extra=shown("share of steps", advanced=True),
    )
    center_momentum: float = Field(
        0.9,
        ge=0.0,
        lt=1.0,
        title="Centre momentum",
        description="Moving average of the teacher's logits that is subtracted, against collapse to one prototype.",
        json_schema_extra=shown("per step", advanced=True),
    )
    freeze_last: Share = Field(
        0.0,
        title="Prototypes frozen",
        description="The prototypes themselves stay as they are for this share of training (DINO: the first epoch).",
        json_schema_extra=shown("share of steps", advanced=True),
    )
    koleo: float = Field(
        0.0,
        ge=0.0,
        le=10.0,
        title="KoLeo",
        description="Weight of a term that spreads the batch's representations evenly (DINOv2: 0.1).",
        json_schema_extra=shown("", advanced=True),
    )


class CaptioningConfig(ObjectiveConfig):
    """Predict each next word of the caption from the picture and the words before (CoCa, Yu et al. 2022)."""

    through: Literal["decoder", "fusion"] = Field(
        "decoder",
        title="Through",
        description="decoder: CoCa's, which can write captions afterwards. fusion: the fusion, each word seeing those "
        "before it (BLIP, mPLUG, BLIP-2); it trains the representation only.",
        json_schema_extra=shown(""),
    )

    label_smoothing: float = Field(
        0.0,
        ge=0.0,
        lt=1.0,
        title="Label smoothing",
        description="Share of the target spread over the other words (BLIP: 0.1).",
        json_schema_extra=shown("share", advanced=True),
    )


class DistillCaptionsConfig(ObjectiveConfig):
    """Match the teacher's distribution over each next word (word-level distillation, Kim and Rush 2016)."""

    temperature: float = Field(
        1.0, gt=0.0, le=100.0, title="Temperature", description="Divides both networks' logits; above 1 is softer.",
        json_schema_extra=shown("", advanced=True),
    )  # fmt: skip


class DistillFeaturesConfig(ObjectiveConfig):
    """Find the teacher's feature of the same pair among the batch's (InfoNCE; COSMOS, Kim et al. 2025)."""

    on: Literal["image", "text", "both", "fused"] = Field(
        "image",
        title="On",
        description="The student's representation; both takes image and text in turn, fused needs a fusion.",
        json_schema_extra=shown(""),
    )
    cross: bool = Field(
        False,
        title="Cross-modal",
        description="Compare with the teacher's feature of the other modality; fused with its image and its text.",
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
        description="The logits over the batch's pairs, or over the classes that classification learns.",
        json_schema_extra=shown(""),
    )
    temperature: float = Field(
        4.0, gt=0.0, le=100.0, title="Temperature", description="Divides both networks' logits (Hinton: 2 to 20).",
        json_schema_extra=shown(""),
    )  # fmt: skip


class MatchingConfig(ObjectiveConfig):
    """Tell matching pairs from hard negatives by the fused representation (ALBEF, Li et al. 2021)."""

    negatives: Literal["hard", "random"] = Field(
        "hard",
        title="Negatives",
        description="hard: drawn by the softmax of the similarities (ALBEF). random: drawn evenly (UNITER).",
        json_schema_extra=shown("", advanced=True),
    )


class MaskedWordsConfig(ObjectiveConfig):
    """Restore masked words from the picture and the other words (BERT, Devlin et al. 2019; UNITER, ALBEF)."""

    rate: float = Field(
        0.15, gt=0.0, lt=1.0, title="Masked share", description="Probability that a word is masked.",
        json_schema_extra=shown("probability"),
    )  # fmt: skip
    alpha: Share = Field(
        0.0,
        title="Alpha",
        description="Share of the teacher's softmax over words in the target (ALBEF: 0.4). Above 0 needs a teacher.",
        json_schema_extra=shown("share"),
    )
    alpha_ramp: Share = Field(
        0.0,
        title="Alpha ramp",
        description="Alpha rises linearly from 0 over this share of training (ALBEF: the first epoch).",
        json_schema_extra=shown("share of steps", advanced=True),
    )


class MaskedPatchesConfig(ObjectiveConfig):
    """Match the teacher's prototypes of patches that the student does not see (iBOT, Zhou et al. 2022).

    What is hidden is said by ``views.student``: mask, mask_min, mask_max and mask_kind.
    """

    shared_head: bool = Field(
        False,
        title="Shared head",
        description="Patches and whole pictures have one head and its prototypes (iBOT); else patches have their own "
        "(DINOv2). Needs prototypes distilled on image.",
        json_schema_extra=shown("", advanced=True),
    )
    prototypes: int = Field(
        1024,
        ge=2,
        le=262144,
        title="Prototypes",
        description="Of patches, where they have their own head; about as many as for whole pictures.",
        json_schema_extra=shown(""),
    )
    centering: Literal["center", "sinkhorn"] = Field(
        "center",
        title="Against collapse",
        description="center: a moving mean of the teacher's logits is subtracted (DINO); sinkhorn: each batch is "
        "spread evenly over the prototypes (SwAV, DINOv2).",
        json_schema_extra=shown("", advanced=True),
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
    teacher_temperature_first: float = Field(
        0.04,
        gt=0.0,
        le=10.0,
        title="First teacher temperature",
        description="Where the teacher's temperature begins.",
        json_schema_extra=shown("", advanced=True),
    )
    teacher_temperature_ramp: Share = Field(
        0.0,
        title="Teacher temperature warm-up",
        description="Over this share of training the teacher's temperature moves from the first one (DINO: 0.04 to "
        "0.07 in 30 of 100 epochs); 0: it is the same throughout.",
        json_schema_extra=shown("share of steps", advanced=True),
    )
    center_momentum: float = Field(
        0.9,
        ge=0.0,
        lt=1.0,
        title="Centre momentum",
        description="Moving average of the teacher's logits that is subtracted, against collapse to one prototype.",
        json_schema_extra=shown("per step", advanced=True),
    )
    freeze_last: Share = Field(
        0.0,
        title="Prototypes frozen",
        description="The prototypes themselves stay as they are for this share of training (DINO: the first epoch).",
        json_schema_extra=shown("share of steps", advanced=True),
    )


class ImageContrastiveConfig(ObjectiveConfig):
    """Pull two views of a picture together, other pictures apart (SimCLR in SLIP, Mu et al. 2022)."""

    temperature: float = Field(
        0.1, gt=0.0, le=10.0, title="Temperature", description="Divides the similarities.",
        json_schema_extra=shown("", advanced=True),
    )  # fmt: skip
    width: int = Field(
        256,
        ge=2,
        le=65536,
        title="Width",
        description="Of the projection in which views are compared (SLIP: 256).",
        json_schema_extra=shown("channels", advanced=True),
    )
    hidden: int = Field(
        4096,
        ge=2,
        le=65536,
        title="Hidden width",
        description="Of the projection's two hidden layers (SLIP: 4096).",
        json_schema_extra=shown("channels", advanced=True),
    )


class ClassificationConfig(ObjectiveConfig):
    """Classify labelled rows (data.label names the column); rows without a label are left out."""

    view: Literal["clean", "further"] = Field(
        "clean",
        title="View",
        description="clean: the clean view; further: the student's further views, where interpolated pictures are "
        "labelled by share (mixup).",
        json_schema_extra=shown(""),
    )


class ConsistencyConfig(ObjectiveConfig):
    """Answer alike on rows without a label, whatever the view (Mean Teacher, MixMatch, FixMatch)."""

    kind: Literal["mean-teacher", "mixmatch", "fixmatch"] = Field(
        "fixmatch",
        title="Kind",
        description="mean-teacher: match the teacher; mixmatch: match sharpened guesses on interpolated pictures; "
        "fixmatch: match confident guesses on strong views.",
        json_schema_extra=shown(""),
    )
    guess: Literal["student", "teacher"] = Field(
        "student",
        title="Guessed by",
        description="Who guesses fixmatch's labels: the student itself, or the teacher (EMAN).",
        json_schema_extra=shown(""),
    )
    distance: Literal["mse", "kl"] = Field(
        "mse",
        title="Distance",
        description="How mean-teacher compares: squared difference of probabilities, or KL divergence.",
        json_schema_extra=shown("", advanced=True),
    )
    threshold: float = Field(
        0.95, ge=0.0, le=1.0, title="Threshold", description="FixMatch leaves out guesses less confident than this.",
        json_schema_extra=shown("probability"),
    )  # fmt: skip
    sharpen: float = Field(
        0.5, gt=0.0, le=1.0, title="Sharpening", description="Temperature that sharpens guessed labels (MixMatch).",
        json_schema_extra=shown(""),
    )  # fmt: skip
    mix_alpha: float = Field(
        0.75,
        gt=0.0,
        le=10.0,
        title="Interpolation alpha",
        description="MixMatch's blend share is drawn from Beta(alpha, alpha) and folded to at least one half.",
        json_schema_extra=shown("", advanced=True),
    )


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
    distill_captions: DistillCaptionsConfig = Field(
        DistillCaptionsConfig(),
        title="Distil captions",
        description="Match the teacher's choice of each next word. Needs a teacher and a CoCa architecture.",
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
        description="Pull two further views of a picture together. Needs two of them for the student.",
    )
    classification: ClassificationConfig = Field(
        ClassificationConfig(), title="Classification", description="Classify labelled rows. Needs data.label."
    )
    consistency: ConsistencyConfig = Field(
        ConsistencyConfig(), title="Consistency", description="Answer alike on unlabelled rows. Needs data.label."
    )
