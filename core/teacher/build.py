"""Builds the teacher of a config."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Sequence

from core.model.network import Network
from core.spec.config import TeacherConfig
from core.teacher.ema import EmaTeacher
from core.teacher.frozen import FrozenTeacher
from core.teacher.teacher import ComparesWithTeacher, Teacher


def build_teacher(
    config: TeacherConfig,
    student: Network,
    trained: Sequence[Network] = (),
    objectives: Iterable[ComparesWithTeacher] = (),
) -> Teacher | None:
    """The teacher of an experiment, from ``student`` or the ``trained`` networks; None if the config has no teacher.

    Raises ModelError when trained networks lack outputs that ``objectives`` compare.
    """
    if config.kind == "none":
        return None
    if config.kind in ("ema", "ema-state"):
        return EmaTeacher(config, student)
    if config.kind == "initial":
        trained = [copy.deepcopy(student)]
    return FrozenTeacher(config, student, trained, objectives)
