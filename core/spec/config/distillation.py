"""Settings of the objectives that use a teacher or additional views."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from core.spec.config.base import Share, setting
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
    RampShare,
    Temperature,
    WeightRamp,
)

TEACHER_TEMPERATURE = 0.04  # of prototypes, where it starts (DINO)


def fused_needs(on: str) -> list[Need]:
    """What the choice ``on`` of a representation needs."""
    remedy = "fused needs a fusion: set fusion.kind, or distil image or text."
    return [Need("on", remedy)] if on.startswith("fused") else []


class DistillationConfig(ObjectiveConfig):
    """Match the teacher's outputs, with a weight that may rise at the start, when the teacher is still poor."""

    learns_from_teacher: ClassVar[bool] = True

    ramp: RampShare = 0.0

    def weight_ramp(self) -> WeightRamp:
        return WeightRamp(self.ramp)


class DistillSimilarityConfig(DistillationConfig):
    """Match the teacher's image-to-text and text-to-image softmax over the batch (ALBEF, Li et al. 2021)."""

    alpha: Share = setting(
        1.0,
        "Alpha",
        "Share of the teacher's softmax in the target; the rest is the true pair (ALBEF: 0.4). 1 leaves "
        "the true pair to the contrastive loss.",
        unit="share",
    )
    alpha_ramp: AlphaRamp = 0.0
    temperature: Temperature = Field(
        1.0,
        description="Divides the teacher's logits, not the student's. Above 1 the targets are softer, like label "
        "smoothing weighted by similarity.",
    )
    queue: Queue = Field(
        0,
        description="Number of the teacher's features of previous batches used as further negatives (ALBEF: 65536). "
        "0 for none.",
    )

    def takes_stored(self) -> bool:
        return self.queue == 0

    def trains_retrieval(self) -> bool:
        return True

    def alpha_over_training(self) -> Ramp:
        return Ramp(self.alpha, self.alpha_ramp)


class DistillPrototypesConfig(DistillationConfig):
    """Match the teacher's softmax over learnt prototypes, kept from collapsing (DINO, Caron et al. 2021)."""

    on: Literal["fused", "image", "text", "fused+image"] = setting(
        "fused",
        "On",
        "The representation to distil; fused needs a fusion. fused+image: both, each with its own prototypes.",
    )
    prototypes: Prototypes = Field(
        1024,
        description="About 1024 for up to 20,000 images, 4096 for 100,000, 65536 for web data.",
    )
    centering: Literal["center", "sinkhorn"] = setting(
        "center",
        "Collapse prevention",
        "center: subtracts a moving mean from the teacher's logits (DINO); sinkhorn: spreads each batch "
        "evenly over the prototypes (SwAV, DINOv2).",
        advanced=True,
    )
    student_temperature: float = setting(
        0.1, "Student temperature", "Divides the student's logits.", gt=0.0, le=10.0, advanced=True
    )
    teacher_temperature: float = setting(
        TEACHER_TEMPERATURE,
        "Teacher temperature",
        "Divides the teacher's logits; lower than the student's, against collapse to a uniform output.",
        gt=0.0,
        le=10.0,
        advanced=True,
    )
    teacher_temperature_ramp: Share = setting(
        0.0,
        "Teacher temperature warm-up",
        "The teacher's temperature changes linearly from 0.04 over this share of training (DINO: to 0.07 "
        "in 30 of 100 epochs); 0: constant.",
        unit="share of steps",
        advanced=True,
    )
    freeze_last: Share = setting(
        0.0,
        "Freeze prototypes",
        "The prototypes are not trained for this share of training (DINO: the first epoch).",
        unit="share of steps",
        advanced=True,
    )

    def temperature_over_training(self) -> Ramp:
        return Ramp(self.teacher_temperature, self.teacher_temperature_ramp, TEACHER_TEMPERATURE)

    def frozen_share(self) -> float:
        return self.freeze_last

    def needs_fusion(self) -> list[Need]:
        return fused_needs(self.on)

    def uses_captions(self) -> bool:
        return self.on != "image"

    def prototype_count(self) -> int:
        return self.prototypes


class DistillCaptionsConfig(DistillationConfig):
    """Match the teacher's distribution over each next word (word-level distillation, Kim and Rush 2016)."""

    temperature: float = setting(
        1.0, "Temperature", "Divides both networks' logits; above 1 is softer.", gt=0.0, le=100.0, advanced=True
    )

    def needs_decoder(self) -> bool:
        return True


class DistillFeaturesConfig(DistillationConfig):
    """Match the teacher's feature of the same pair (COSMOS, Kim et al. 2025; LDIFS, Mukhoti et al. 2024)."""

    distance: Literal["contrast", "squared"] = setting(
        "contrast",
        "Distance",
        "contrast: InfoNCE over the batch's features (COSMOS). squared: squared distance (LDIFS).",
    )
    on: Literal["image", "text", "both", "fused"] = setting(
        "image", "On", "The student's representation; both: image and text separately; fused needs a fusion."
    )
    cross: bool = setting(
        False,
        "Cross-modal",
        "Compare with the teacher's feature of the other modality; fused: with its image and its text.",
    )
    temperature: Temperature = Field(
        0.07,
        description="For contrast: divides the similarities; the initial value of a learnt scale.",
    )

    def needs_fusion(self) -> list[Need]:
        return fused_needs(self.on)

    def takes_stored(self) -> bool:
        return self.on != "fused" or self.cross

    def uses_captions(self) -> bool:
        return self.on != "image" or self.cross

    def trains_retrieval(self) -> bool:
        return self.cross and self.on != "fused"


class DistillLogitsConfig(DistillationConfig):
    """Match the teacher's softened logits, times temperature squared (Hinton et al. 2015)."""

    on: Literal["similarities", "classes"] = setting(
        "similarities", "On", "Logits over the batch's pairs, or over the classes of the classification objective."
    )
    temperature: float = setting(
        4.0, "Temperature", "Divides both networks' logits (Hinton: 2 to 20).", gt=0.0, le=100.0
    )

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


class MaskedPatchesConfig(DistillationConfig):
    """Match the teacher's prototypes of masked patches (iBOT, Zhou et al. 2022), with a head of their own (DINOv2).

    ``views.student`` sets which patches are masked: mask, mask_share and mask_kind.
    """

    prototypes: Prototypes = Field(
        1024,
        description="Prototypes of patches; about as many as for whole images.",
    )

    def uses_captions(self) -> bool:
        return False

    def prototype_count(self) -> int:
        return self.prototypes

    def temperature_over_training(self) -> Ramp:
        return Ramp(TEACHER_TEMPERATURE)

    def problems(self, context: Context) -> Problems:
        views = context.views
        if not views.shared:
            yield "views.shared", "Masked patches are compared with the same view without a mask: switch this on."
        if views.student.mask == 0:
            yield "views.student.mask", "No patch is masked: set a probability above 0."
        if views.student.mix != "none":
            yield "views.student.mix", "Masked patches are compared in views that are not interpolated: set none."


class ImageContrastiveConfig(ObjectiveConfig):
    """Pull two views of an image together, other images apart (SimCLR in SLIP, Mu et al. 2022)."""

    temperature: Temperature = Field(0.1, description="Divides the similarities.")
    width: int = setting(
        256, "Width", "Output width of the projection head (SLIP: 256).", unit="channels", ge=2, le=65536, advanced=True
    )
    hidden: int = setting(
        4096,
        "Hidden width",
        "Width of the projection head's two hidden layers (SLIP: 4096).",
        unit="channels",
        ge=2,
        le=65536,
        advanced=True,
    )

    def reads_views(self) -> bool:
        return True

    def uses_captions(self) -> bool:
        return False

    def problems(self, context: Context) -> Problems:
        if context.views.student.count < 2:
            yield "views.student.count", "Image contrast compares two additional views: set 2, or its weight to 0."
        if context.views.student.mix != "none":
            yield "views.student.mix", "Image contrast compares whole images: set none, or its weight to 0."
