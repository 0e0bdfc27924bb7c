"""RunConfig: the complete config of an experiment. Every field has a title, a description, a unit and a range.

Derived values (total steps, image size of an architecture) are never stored.
"""

from __future__ import annotations

import hashlib
import json
from typing import Literal

from pydantic import Field

from core.spec.config.axes import FusionConfig, NoiseConfig, TeacherConfig, TowersConfig
from core.spec.config.base import Section, Text, form_metadata
from core.spec.config.objectives import ObjectivesConfig
from core.spec.config.training import CheckpointConfig, DataConfig, OptimConfig, RuntimeConfig, ValidationConfig
from core.spec.config.views import ViewsConfig

CONFIG_VERSION: Literal[1] = 1


class RunConfig(Section):
    """The complete config of an experiment."""

    version: Literal[1] = Field(CONFIG_VERSION, title="Version", json_schema_extra=form_metadata("", advanced=True))
    name: Text = Field(
        "untitled", min_length=1, max_length=120, title="Name", description="The experiment's name.",
        json_schema_extra=form_metadata(""),
    )  # fmt: skip
    preset: Text = Field(
        "", title="Preset", description="The preset it is based on.", json_schema_extra=form_metadata("")
    )
    seed: int = Field(
        0,
        ge=0,
        lt=2**31,
        title="Seed",
        description="For weights, order and augmentation.",
        json_schema_extra=form_metadata(""),
    )
    data: DataConfig = Field(default_factory=DataConfig, title="Data")
    views: ViewsConfig = Field(default_factory=ViewsConfig, title="Views")
    towers: TowersConfig = Field(default_factory=TowersConfig, title="Towers")
    fusion: FusionConfig = Field(default_factory=FusionConfig, title="Fusion")
    teacher: TeacherConfig = Field(default_factory=TeacherConfig, title="Teacher")
    objectives: ObjectivesConfig = Field(default_factory=ObjectivesConfig, title="Objectives")
    noise: NoiseConfig = Field(default_factory=NoiseConfig, title="Noise")
    optim: OptimConfig = Field(default_factory=OptimConfig, title="Optimiser")
    validation: ValidationConfig = Field(default_factory=ValidationConfig, title="Validation")
    checkpoint: CheckpointConfig = Field(default_factory=CheckpointConfig, title="Checkpoints")
    runtime: RuntimeConfig = Field(default_factory=RuntimeConfig, title="Runtime")

    def to_json(self) -> str:
        """The config as readable JSON, the same bytes for the same config."""
        return json.dumps(self.model_dump(mode="json"), indent=2, ensure_ascii=False) + "\n"

    def digest(self) -> str:
        """First 12 hex digits of the SHA-256 over the canonical JSON; names a config."""
        canonical = json.dumps(self.model_dump(mode="json"), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(canonical.encode()).hexdigest()[:12]
