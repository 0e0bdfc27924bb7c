"""The config of an experiment, with which its runs are trained: `RunConfig`, with one section per subject.

Settings have a title and a description, and where it applies a unit and a range: the form and validation follow from
them. What follows from other settings or the data (total steps, an architecture's image size) is not in the config.
"""

from __future__ import annotations

import hashlib
import json
from typing import Literal

from pydantic import Field

from core.spec.config.axes import FusionConfig, NoiseConfig, TeacherConfig, TowersConfig
from core.spec.config.base import Section, Text, setting
from core.spec.config.objectives import ObjectivesConfig
from core.spec.config.training import CheckpointConfig, DataConfig, OptimConfig, RuntimeConfig, ValidationConfig
from core.spec.config.views import ViewsConfig

CONFIG_VERSION: Literal[1] = 1


class RunConfig(Section):
    """The complete config of an experiment, as validated plain data."""

    version: Literal[1] = setting(CONFIG_VERSION, "Version", "", advanced=True)
    name: Text = setting("untitled", "Name", "The experiment's name.", min_length=1, max_length=120)
    preset: Text = setting("", "Preset", "The preset that the config is based on.")
    seed: int = setting(0, "Seed", "Seed of the initial weights, data order and augmentation.", ge=0, lt=2**31)
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
        """The config as readable JSON; equal configs give equal bytes."""
        return json.dumps(self.model_dump(mode="json"), indent=2, ensure_ascii=False) + "\n"

    def digest(self) -> str:
        """First 12 hex digits of the SHA-256 over the canonical JSON; names a config."""
        canonical = json.dumps(self.model_dump(mode="json"), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(canonical.encode()).hexdigest()[:12]
