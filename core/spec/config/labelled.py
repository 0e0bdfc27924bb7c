"""Settings of the objectives on labelled and unlabelled rows."""

from __future__ import annotations

from typing import ClassVar, Literal

from core.spec.config.base import setting
from core.spec.config.objective import Context, Need, ObjectiveConfig, Problems, RampShare, WeightRamp
from core.spec.config.views import ViewsConfig


class ClassificationConfig(ObjectiveConfig):
    """Classify labelled rows (data.label names the column); rows without a label are ignored."""

    learns_classes: ClassVar[bool] = True

    view: Literal["clean", "additional"] = setting(
        "clean",
        "View",
        "Images to classify: the clean view, or the student's additional views. Interpolated views have interpolated "
        "labels (mixup).",
    )

    def reads_additional_views(self) -> bool:
        return self.view == "additional"

    def uses_captions(self) -> bool:
        return False

    def problems(self, context: Context) -> Problems:
        # A config without data is not yet wrong: the column is chosen together with the data.
        if not context.data.label and context.data.train:
            yield "data.label", "Classification needs a label column: choose one, or set the weight to 0."
        if self.view == "additional" and context.views.student.count == 0:
            yield (
                "objectives.classification.view",
                "There is no additional view: set views.student.count, or choose clean.",
            )


class ConsistencyConfig(ObjectiveConfig):
    """Predict the same class for every view of rows without a label (Mean Teacher, MixMatch, FixMatch)."""

    learns_unlabelled: ClassVar[bool] = True

    ramp: RampShare = 0.0
    kind: Literal["mean-teacher", "mixmatch", "fixmatch"] = setting(
        "fixmatch",
        "Kind",
        "mean-teacher matches the teacher. mixmatch matches sharpened pseudo-labels of mixed images. fixmatch matches "
        "confident pseudo-labels on strongly augmented views.",
    )
    guess: Literal["student", "teacher"] = setting(
        "student",
        "Source of pseudo-labels",
        "Network that predicts FixMatch's pseudo-labels: the student, or the teacher (EMAN).",
    )
    threshold: float = setting(
        0.95, "Threshold", "FixMatch ignores pseudo-labels below this confidence.", unit="probability", ge=0.0, le=1.0
    )
    sharpen: float = setting(
        0.5, "Sharpening", "Temperature of MixMatch's pseudo-labels; smaller values are sharper.", gt=0.0, le=1.0
    )

    def weight_ramp(self) -> WeightRamp:
        return WeightRamp(self.ramp, sigmoid=self.kind == "mean-teacher")

    def needs_teacher(self) -> list[Need]:
        if self.kind == "mean-teacher":
            return [Need("kind", "mean-teacher needs a teacher: set teacher.kind, or choose another kind.")]
        if self.kind == "fixmatch" and self.guess == "teacher":
            return [Need("guess", "There is no teacher for the pseudo-labels: set teacher.kind, or choose student.")]
        return []

    def reads_additional_views(self) -> bool:
        return True

    def part_taught_in_every_step(self) -> str:
        return "consistency"

    def uses_captions(self) -> bool:
        return False

    def problems(self, context: Context) -> Problems:
        views, classification = context.views, context.settings_of(ClassificationConfig)
        if classification.weight == 0:
            yield (
                "objectives.consistency.weight",
                "Consistency needs the classification objective: set its weight above 0, or set this weight to 0.",
            )
        if self.kind == "mean-teacher":
            return
        if views.student.count == 0:
            yield "views.student.count", f"{self.kind} needs an additional view of the student: set at least 1."
        if views.student.count > 0 and views.student.mix != "none":
            yield "views.student.mix", f"{self.kind} needs views that are not interpolated: set none."
        if self.kind == "mixmatch":
            yield from _mixmatch_problems(views, classification)


def _mixmatch_problems(views: ViewsConfig, classification: ClassificationConfig) -> Problems:
    if views.local.count > 0:
        yield "views.local.count", "mixmatch needs views of equal size: set this to 0, and use views.student.count."
    if classification.view == "additional":
        yield "objectives.classification.view", "mixmatch interpolates the clean views of labelled rows: choose clean."
