"""Builds the teacher of a config."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Sequence

from core.custom.loading import NO_CODE, CustomCode
from core.model.network import Network
from core.spec.config import TeacherConfig
from core.spec.extending.teacher_kinds import TEACHER_KINDS
from core.teacher.custom import CustomTeacher
from core.teacher.ema import EmaTeacher
from core.teacher.frozen import FrozenTeacher
from core.teacher.teacher import ComparesWithTeacher, Teacher


def build_teacher(
    config: TeacherConfig,
    student: Network,
    networks: Sequence[Network] = (),
    objectives: Iterable[ComparesWithTeacher] = (),
    code: CustomCode = NO_CODE,
) -> Teacher | None:
    """The teacher of a config, built from ``student`` or ``networks``; None if the config has no teacher.

    Raises ModelError if trained networks do not have outputs that ``objectives`` compare, CodeError if a custom rule
    cannot be used.
    """
    traits = config.traits
    if not traits.exists:
        return None
    if config.kind not in TEACHER_KINDS:  # the name of a custom rule
        return CustomTeacher(config, student, code)
    if traits.follows:
        return EmaTeacher(config, student)
    return FrozenTeacher(config, student, networks if traits.trained else [copy.deepcopy(student)], objectives)
