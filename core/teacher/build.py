"""The teacher that a definition asks for."""

from __future__ import annotations

from collections.abc import Sequence

from core.model.network import Network
from core.spec.config import RunConfig
from core.teacher.ema import EmaTeacher
from core.teacher.frozen import FrozenTeacher
from core.teacher.teacher import Teacher


def build_teacher(config: RunConfig, student: Network, trained: Sequence[Network] = ()) -> Teacher | None:
    """The teacher of an experiment: equal to ``student``, or the ``trained`` networks; None without one.

    Raises ModelError when the trained ones cannot be compared with the student.
    """
    if config.teacher.kind == "none":
        return None
    if config.teacher.kind in ("ema", "ema-state"):
        return EmaTeacher(config.teacher, student)
    return FrozenTeacher(config, student, trained)
