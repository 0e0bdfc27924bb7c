"""Studies: config, folder, status of the runs, and results. No torch."""

from core.spec.study.config import (
    DEMO,
    MAX_ITEMS,
    OPENCLIPART,
    RENDERED_FILES,
    STUDY_VERSION,
    VALID_NAME,
    Arm,
    Measure,
    NoiseSpec,
    RunState,
    Seed,
    Study,
    Task,
    absolute,
    budget_name,
    read_study,
)
from core.spec.study.folder import StudyDir, StudyRun, StudyStatus

__all__ = [
    "DEMO",
    "MAX_ITEMS",
    "OPENCLIPART",
    "RENDERED_FILES",
    "STUDY_VERSION",
    "VALID_NAME",
    "Arm",
    "Measure",
    "NoiseSpec",
    "RunState",
    "Seed",
    "Study",
    "StudyDir",
    "StudyRun",
    "StudyStatus",
    "Task",
    "absolute",
    "budget_name",
    "read_study",
]
