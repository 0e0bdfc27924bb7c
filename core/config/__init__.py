"""RunConfig: the only description of an experiment. No torch, so that the window can build its form from it."""

from core.config.axes import FusionConfig, TeacherConfig, TowersConfig, ViewConfig, ViewsConfig
from core.config.base import ConfigError, Section
from core.config.belief import BeliefConfig
from core.config.contradictions import problems
from core.config.distillation import (
    DistillCaptionsConfig,
    DistillFeaturesConfig,
    DistillLogitsConfig,
    DistillPrototypesConfig,
    DistillSimilarityConfig,
    ImageContrastiveConfig,
    MaskedPatchesConfig,
)
from core.config.experiment import CONFIG_VERSION, RunConfig
from core.config.labelled import ClassificationConfig, ConsistencyConfig
from core.config.model_name import expand_user, split_run
from core.config.objective import ObjectiveConfig
from core.config.objectives import ObjectivesConfig
from core.config.pairs import CaptioningConfig, ContrastiveConfig, MaskedWordsConfig, MatchingConfig
from core.config.run import (
    differences,
    field_errors,
    field_lines,
    field_names,
    get_field,
    override,
    parse_config,
    read_config,
    validate,
    with_absolute_paths,
)
from core.config.training import CheckpointConfig, DataConfig, OptimConfig, RuntimeConfig, ValidationConfig

__all__ = [
    "CONFIG_VERSION",
    "BeliefConfig",
    "CaptioningConfig",
    "CheckpointConfig",
    "ClassificationConfig",
    "ConfigError",
    "ConsistencyConfig",
    "ContrastiveConfig",
    "DataConfig",
    "DistillCaptionsConfig",
    "DistillFeaturesConfig",
    "DistillLogitsConfig",
    "DistillPrototypesConfig",
    "DistillSimilarityConfig",
    "FusionConfig",
    "ImageContrastiveConfig",
    "MaskedPatchesConfig",
    "MaskedWordsConfig",
    "MatchingConfig",
    "ObjectiveConfig",
    "ObjectivesConfig",
    "OptimConfig",
    "RunConfig",
    "RuntimeConfig",
    "Section",
    "TeacherConfig",
    "TowersConfig",
    "ValidationConfig",
    "ViewConfig",
    "ViewsConfig",
    "differences",
    "expand_user",
    "field_errors",
    "field_lines",
    "field_names",
    "get_field",
    "override",
    "parse_config",
    "problems",
    "read_config",
    "split_run",
    "validate",
    "with_absolute_paths",
]
