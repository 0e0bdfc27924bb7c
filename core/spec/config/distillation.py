"""Settings of the objectives that learn from a teacher or from further views."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from core.spec.config.base import Share, shown
from core.spec.config.labelled import ClassificationConfig
from core.spec.config.objective import (
    AlphaRamp,
    Context,
    Need,
    ObjectiveConfig,
    Problems,
    Prototypes,
    Queue,
    Ramp,
    Temperature,
    queue_needs,
)


def fused_needs(on: str) -> list[Need]:
    """What the choice ``on`` of a representation needs."""
    remedy = "fused needs a fusion: set fusion.kind, or distil image or text."
    return [Need("on", remedy)] if on.startswith("fused") else []


class DistillSimilarityConfig(ObjectiveConfig):
    """Match the teacher's image-to-text and text-to-image softmax over the batch (ALBEF, Li et al. 2021)."""

    learns_from_teacher: ClassVar[bool] = True

    alpha: Share = Field(
        1.0,
        title="Alpha",
        description="Share of the teacher's softmax in the target; the rest is the true pair (ALBEF: 0.4). 1 leaves "
        "the true pair to the contrastive loss.",
        json_schema_extra=shown("share"),
    )
    alpha_ramp: AlphaRamp = 0.0
    temperature: Temperature = Field(
        1.0,
        description="Divides the teacher's logits, not the student's: above 1 the target also tells which others are "
        "nearly alike, as label smoothing that knows them.",
    )
    queue: Queue = Field(
        0,
        description="How many of the teacher's features of previous batches are compared with too (ALBEF: 65536). "
        "0 for none.",
    )

    def needs_teacher(self) -> list[Need]:
        return super().needs_teacher() + queue_needs(self.queue)

    def takes_memory(self) -> bool:
        return self.queue == 0

    def trains_retrieval(self) -> bool:
        return True

    def alpha_over_training(self) -> Ramp:
        return Ramp(self.alpha, self.alpha_ramp)


class PrototypesConfig(ObjectiveConfig):
    """Match a teacher's softmax over learnt prototypes, kept from collapsing (DINO, Caron et al. 2021)."""

    learns_from_teacher: ClassVar[bool] = True

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

    def temperature_over_training(self) -> Ramp:
        return Ramp(self.teacher_temperature, self.teacher_temperature_ramp, self.teacher_temperature_first)

    def frozen_share(self) -> float:
        return self.freeze_last


class DistillPrototypesConfig(PrototypesConfig):
    """Match the teacher's softmax over learnt prototypes (DINO, Caron et al. 2021)."""

    on: Literal["fused", "image", "text", "fused+image"] = Field(
        "fused",
        title="On",
        description="Which representation is distilled; fused needs a fusion. fused+image: both, with prototypes of "
        "their own.",
        json_schema_extra=shown(""),
    )
    prototypes: Prototypes = Field(
        1024,
        description="About 1024 up to 20,000 images, 4096 at 100,000, 65536 for web data.",
    )
    koleo: float = Field(
        0.0,
        ge=0.0,
        le=10.0,
        title="KoLeo",
        description="Weight of a term that spreads the batch's representations evenly (DINOv2: 0.1).",
        json_schema_extra=shown("", advanced=True),
    )

    def needs_fusion(self) -> list[Need]:
        return fused_needs(self.on)

    def uses_captions(self) -> bool:
        return self.on != "image"

    def prototype_count(self) -> int:
        return self.prototypes


class DistillCaptionsConfig(ObjectiveConfig):
    """Match the teacher's distribution over each next word (word-level distillation, Kim and Rush 2016)."""

    learns_from_teacher: ClassVar[bool] = True

    temperature: float = Field(
        1.0, gt=0.0, le=100.0, title="Temperature", description="Divides both networks' logits; above 1 is softer.",
        json_schema_extra=shown("", advanced=True),
    )  # fmt: skip

    def needs_decoder(self) -> bool:
        return True


class DistillFeaturesConfig(ObjectiveConfig):
    """Match the teacher's feature of the same pair (COSMOS, Kim et al. 2025; LDIFS, Mukhoti et al. 2024)."""

    learns_from_teacher: ClassVar[bool] = True

    distance: Literal["contrast", "squared"] = Field(
        "contrast",
        title="Distance",
        description="contrast: find it among the batch's (InfoNCE, COSMOS). squared: squared distance to it (LDIFS).",
        json_schema_extra=shown(""),
    )
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
    temperature: Temperature = Field(
        0.07,
        description="Divides the similarities; the initial value of a learnt scale. Of contrast alone.",
    )

    def needs_fusion(self) -> list[Need]:
        return fused_needs(self.on)

    def takes_stored(self) -> bool:
        return self.on != "fused" or self.cross

    def uses_captions(self) -> bool:
        return self.on != "image" or self.cross

    def trains_retrieval(self) -> bool:
        return self.cross and self.on != "fused"


class DistillLogitsConfig(ObjectiveConfig):
    """Match the teacher's softened logits, times temperature squared (Hinton et al. 2015)."""

    learns_from_teacher: ClassVar[bool] = True

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

    def uses_captions(self) -> bool:
        return self.on == "similarities"

    def trains_retrieval(self) -> bool:
        return self.on == "similarities"

    def problems(self, context: Context) -> Problems:
        if self.on == "classes" and context.other(ClassificationConfig).weight == 0:
            yield (
                "objectives.distill_logits.on",
                "classes needs classification: give it a weight, or choose similarities.",
            )


class MaskedPatchesConfig(PrototypesConfig):
    """Match the teacher's prototypes of masked patches (iBOT, Zhou et al. 2022).

    ``views.student`` sets which patches are hidden: mask, mask_min, mask_max and mask_kind.
    """

    shared_head: bool = Field(
        False,
        title="Shared head",
        description="Patches and whole images have one head and its prototypes (iBOT); else patches have their own "
        "(DINOv2). Needs prototypes distilled on image.",
        json_schema_extra=shown("", advanced=True),
    )
    prototypes: Prototypes = Field(
        1024,
        description="Of patches, where they have their own head; about as many as for whole images.",
    )

    def uses_captions(self) -> bool:
        return False

    def prototype_count(self) -> int:
        return self.prototypes

    def problems(self, context: Context) -> Problems:
        views, images = context.views, context.other(DistillPrototypesConfig)
        if not views.shared:
            yield "views.shared", "Masked patches are compared with the same view seen whole: switch this on."
        if views.student.mask == 0:
            yield "views.student.mask", "No patch is hidden: set a probability above 0."
        if views.student.mix != "none" or views.local.mask > 0:
            where = "student.mix" if views.student.mix != "none" else "local.mask"
            yield f"views.{where}", "Masked patches are hidden in whole views that are not interpolated."
        if self.shared_head and (images.weight == 0 or images.on != "image"):
            yield "objectives.masked_patches.shared_head", "It needs prototypes distilled on image; switch it off."


class ImageContrastiveConfig(ObjectiveConfig):
    """Pull two views of an image together, other images apart (SimCLR in SLIP, Mu et al. 2022)."""

    temperature: Temperature = Field(0.1, description="Divides the similarities.")
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

    def reads_views(self) -> bool:
        return True

    def uses_captions(self) -> bool:
        return False

    def problems(self, context: Context) -> Problems:
        if context.views.student.count < 2:
            yield "views.student.count", "Image contrast compares two further views: set 2, or its weight to 0."
        if context.views.student.mix != "none":
            yield "views.student.mix", "Image contrast compares whole images: set none, or its weight to 0."
