"""Settings of the objectives that learn from labelled and unlabelled rows."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from core.spec.config.base import shown
from core.spec.config.objective import ObjectiveConfig


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
