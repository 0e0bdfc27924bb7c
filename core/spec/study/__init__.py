"""Studies: config, folder, status of the runs, and results. No torch."""

from core.spec.study.config import (
    DEMO,
    MAX_ITEMS,
    OPENCLIPART,
    VALID_NAME,
    Arm,
    Measure,
    NoiseSpec,
    RunState,
    Study,
    absolute,
    budget_name,
    read_study,
)
from core.spec.study.folder import StudyDir, StudyRun, StudyStatus

__all__ = [
    "DEMO",
    "MAX_ITEMS",
    "OPENCLIPART",
    "VALID_NAME",
    "Arm",
    "Measure",
    "NoiseSpec",
    "RunState",
    "Study",
    "StudyDir",
    "StudyRun",
    "StudyStatus",
    "absolute",
    "budget_name",
    "read_study",
]
