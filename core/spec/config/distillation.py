"""Settings of the objectives that use a teacher or additional views."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from core.spec.config.base import Share, Text, setting
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

TEACHER_TEMPERATURE = 0.04  # initial temperature of the teacher's prototypes (DINO)


def fused_needs(on: str) -> list[Need]:
    """The needs of an objective that distils the representation ``on``."""
    remedy = "The fused representation needs a fusion: set fusion.kind, or distil image or text."
    return [Need("on", remedy)] if on.startswith("fused") else []


class DistillationConfig(ObjectiveConfig):
    """Match the teacher's outputs, with a weight that may rise at the start, while the teacher is still poor."""

    learns_from_teacher: ClassVar[bool] = True

    ramp: RampShare = 0.0

    def weight_ramp(self) -> WeightRamp:
        return WeightRamp(self.ramp)


class DistillSimilarityConfig(DistillationConfig):
    """Match the teacher's image-to-text and text-to-image softmax over the batch (ALBEF, Li et al. 2021)."""

    alpha: Share = setting(
        1.0,
        "Alpha",
        "Share of the teacher's softmax in the target; the remainder is the true pair (ALBEF: 0.4). With 1, only the "
        "contrastive loss learns the true pair.",
        unit="share",
    )
    alpha_ramp: AlphaRamp = 0.0
    temperature: Temperature = Field(
        1.0,
        description="Divisor of the teacher's logits, not of the student's. Above 1, the targets are softer: label "
        "smoothing that favours similar pairs.",
    )
    queue: Queue = Field(
        0,
        description="Number of teacher features of previous batches to use as additional negatives (ALBEF: 65536). "
        "0 uses none.",
    )

    def accepts_stored_targets(self) -> bool:
        return self.queue == 0

    def trains_retrieval(self) -> bool:
        return True

    def alpha_over_training(self) -> Ramp:
        return Ramp(self.alpha, self.alpha_ramp)


class DistillPrototypesConfig(DistillationConfig):
    """Match the teacher's softmax over learnt prototypes, with a remedy against collapse (DINO, Caron et al. 2021)."""

    on: Literal["fused", "image", "text", "fused+image"] = setting(
        "fused",
        "Representation",
        "Representation to distil. A fused representation needs a fusion. With fused+image, both are distilled, each "
        "with its own prototypes.",
    )
    prototypes: Prototypes = Field(
        1024,
        description="Number of prototypes: about 1024 for up to 20,000 images, 4096 for 100,000, 65536 for web data.",
    )
    centering: Literal["center", "sinkhorn"] = setting(
        "center",
        "Collapse prevention",
        "center subtracts a moving mean from the teacher's logits (DINO). sinkhorn spreads each batch evenly over the "
        "prototypes (SwAV, DINOv2).",
        advanced=True,
    )
    student_temperature: float = setting(
        0.1, "Student temperature", "Divisor of the student's logits.", gt=0.0, le=10.0, advanced=True
    )
    teacher_temperature: float = setting(
        TEACHER_TEMPERATURE,
        "Teacher temperature",
        "Divisor of the teacher's logits. Set it below the student's, to prevent collapse to a uniform output.",
        gt=0.0,
        le=10.0,
        advanced=True,
    )
    teacher_temperature_ramp: Share = setting(
        0.0,
        "Teacher temperature warm-up",
        "Share of training over which the teacher's temperature moves linearly from 0.04 to the value set above. DINO "
        "uses 0.3, and moves it to 0.07. 0 keeps it constant.",
        unit="share of steps",
        advanced=True,
    )
    freeze_last: Share = setting(
        0.0,
        "Freeze prototypes",
        "Share of training, from the start, in which the prototypes are not trained (DINO: the first epoch).",
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
        1.0,
        "Temperature",
        "Divisor of both networks' logits. Values above 1 soften the distributions.",
        gt=0.0,
        le=100.0,
        advanced=True,
    )

    def needs_decoder(self) -> bool:
        return True


class DistillFeaturesConfig(DistillationConfig):
    """Match the teacher's feature of the same pair (COSMOS, Kim et al. 2025; LDIFS, Mukhoti et al. 2024)."""

    distance: Literal["contrast", "squared"] = setting(
        "contrast",
        "Distance",
        "contrast is InfoNCE over the features of the batch (COSMOS). squared is the squared distance (LDIFS).",
    )
    on: Literal["image", "text", "both", "fused"] = setting(
        "image",
        "Representation",
        "Representation to distil. With both, image and text are distilled separately. A fused representation needs a "
        "fusion.",
    )
    cross: bool = setting(
        False,
        "Cross-modal",
        "Compare with the teacher's feature of the other modality. The fused representation is compared with the "
        "teacher's image and text features.",
    )
    temperature: Temperature = Field(
        0.07,
        description="Divisor of the similarities; the initial value of a learnt scale. Used only if Distance is "
        '"contrast".',
    )

    def needs_fusion(self) -> list[Need]:
        return fused_needs(self.on)

    def accepts_stored_targets(self) -> bool:
        return self.on != "fused" or self.cross

    def uses_captions(self) -> bool:
        return self.on != "image" or self.cross

    def trains_retrieval(self) -> bool:
        return self.cross and self.on != "fused"


class AnchorsConfig(ObjectiveConfig):
    """Keep the features of given texts or images near the initial model's."""

    needs_initial_weights: ClassVar[bool] = True
    title: ClassVar[str]

    source: Text
    per_step: int

    def uses_captions(self) -> bool:
        return False

    def problems(self, context: Context) -> Problems:
        if not self.source and context.data.train:
            source = f"objectives.{self.title}_anchors.source"
            yield source, f"There are no {self.title}s: choose some, or set the weight to 0."


class TextAnchorsConfig(AnchorsConfig):
    """Keep the text features of given texts near the initial model's."""

    title = "text"

    source: Text = setting(
        "",
        "Texts",
        "Captions or class names of what the model should still recognise: a text file with one text per line, or a "
        "data set, whose captions are used without its images. The name general is an included list of everyday words.",
        widget="source",
    )
    per_step: int = setting(
        64, "Texts per step", "Number of texts that are drawn in each step.", unit="texts", ge=1, le=65536
    )


class ImageAnchorsConfig(AnchorsConfig):
    """Keep the image features of given images near the initial model's."""

    title = "image"

    source: Text = setting(
        "",
        "Images",
        "Images like those that the model should still recognise: a folder or data set. Captions are not used. The "
        "name general is an included set.",
        widget="source",
    )
    per_step: int = setting(
        32, "Images per step", "Number of images that are drawn in each step.", unit="images", ge=1, le=65536
    )


class DistillLogitsConfig(DistillationConfig):
    """Match the teacher's softened logits, times temperature squared (Hinton et al. 2015)."""

    on: Literal["similarities", "classes"] = setting(
        "similarities",
        "Logits",
        "Logits to distil: over the pairs of the batch, or over the classes of the classification objective.",
    )
    temperature: float = setting(
        4.0, "Temperature", "Divisor of both networks' logits (Hinton: 2 to 20).", gt=0.0, le=100.0
    )

    def uses_captions(self) -> bool:
        return self.on == "similarities"

    def trains_retrieval(self) -> bool:
        return self.on == "similarities"

    def problems(self, context: Context) -> Problems:
        if self.on == "classes" and context.settings_of(ClassificationConfig).weight == 0:
            yield (
                "objectives.distill_logits.on",
                "The classes come from the classification objective: set its weight above 0, or choose similarities.",
            )


class MaskedPatchesConfig(DistillationConfig):
    """Match the teacher's prototypes of masked patches (iBOT, Zhou et al. 2022), with a separate head (DINOv2).

    ``views.student`` sets which patches are masked: mask, mask_share and mask_kind.
    """

    prototypes: Prototypes = Field(
        1024,
        description="Number of patch prototypes, about as many as for whole images.",
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
            yield "views.shared", "Masked patches are compared with the same view without a mask: turn this on."
        if views.student.mask == 0:
            yield "views.student.mask", "No patches are masked: set a probability above 0."
        if views.student.mix != "none":
            yield "views.student.mix", "Masked patches need views that are not interpolated: set this to none."


class ImageContrastiveConfig(ObjectiveConfig):
    """Pull two views of an image together, and other images apart (SimCLR in SLIP, Mu et al. 2022)."""

    temperature: Temperature = Field(0.1, description="Divisor of the similarities.")
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

    def reads_additional_views(self) -> bool:
        return True

    def uses_captions(self) -> bool:
        return False

    def problems(self, context: Context) -> Problems:
        if context.views.student.count < 2:
            yield "views.student.count", "Image contrast compares two additional views: set 2, or set its weight to 0."
        if context.views.student.mix != "none":
            yield (
                "views.student.mix",
                "Image contrast cannot use interpolated images: set none, or set its weight to 0.",
            )
