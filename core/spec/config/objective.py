"""What every objective's settings have: a weight and a ramp."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from core.spec.config.base import Section, Share, shown


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
