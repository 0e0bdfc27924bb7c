"""RunConfig: the only description of an experiment. No torch, so that the window can build its form from it."""

from core.spec.config.axes import FusionConfig, TeacherConfig
from core.spec.config.base import ConfigError, Section, Text
from core.spec.config.contradictions import problems
from core.spec.config.distillation import (
    AnchorsConfig,
    DistillCaptionsConfig,
    DistillFeaturesConfig,
    DistillLogitsConfig,
    DistillPrototypesConfig,
    DistillSimilarityConfig,
    ImageAnchorsConfig,
    ImageContrastiveConfig,
    MaskedPatchesConfig,
    TextAnchorsConfig,
)
from core.spec.config.experiment import RunConfig
from core.spec.config.labelled import ClassificationConfig, ConsistencyConfig
from core.spec.config.objective import ObjectiveConfig
from core.spec.config.objectives import CustomObjectiveConfig, ObjectivesConfig
from core.spec.config.pairs import CaptioningConfig, ContrastiveConfig, MaskedWordsConfig, MatchingConfig
from core.spec.config.retained import retained_sets
from core.spec.config.run import (
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
    with_absolute_references,
    without_folders,
)
from core.spec.config.teacher_schedule import EVERY_STEP, TeacherSchedule, teacher_schedule
from core.spec.config.training import DataConfig, OptimConfig, RuntimeConfig, ValidationConfig
from core.spec.config.views import CleanViewConfig, LocalViewConfig, StudentViewConfig, TeacherViewConfig
from core.spec.paths import expand_user, split_run

__all__ = [
    "EVERY_STEP",
    "AnchorsConfig",
    "CaptioningConfig",
    "ClassificationConfig",
    "CleanViewConfig",
    "ConfigError",
    "ConsistencyConfig",
    "ContrastiveConfig",
    "CustomObjectiveConfig",
    "DataConfig",
    "DistillCaptionsConfig",
    "DistillFeaturesConfig",
    "DistillLogitsConfig",
    "DistillPrototypesConfig",
    "DistillSimilarityConfig",
    "FusionConfig",
    "ImageAnchorsConfig",
    "ImageContrastiveConfig",
    "LocalViewConfig",
    "MaskedPatchesConfig",
    "MaskedWordsConfig",
    "MatchingConfig",
    "ObjectiveConfig",
    "ObjectivesConfig",
    "OptimConfig",
    "RunConfig",
    "RuntimeConfig",
    "Section",
    "StudentViewConfig",
    "TeacherConfig",
    "TeacherSchedule",
    "TeacherViewConfig",
    "Text",
    "TextAnchorsConfig",
    "ValidationConfig",
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
    "retained_sets",
    "split_run",
    "teacher_schedule",
    "validate",
    "with_absolute_paths",
    "with_absolute_references",
    "without_folders",
]
