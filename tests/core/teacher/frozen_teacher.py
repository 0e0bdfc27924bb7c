"""A frozen teacher as an experiment builds it: checked against the experiment's objectives."""

from __future__ import annotations

from collections.abc import Sequence

from core.model.network import Network
from core.objectives.build import build_objectives
from core.spec.config import RunConfig
from core.teacher.frozen import FrozenTeacher


def frozen_teacher(config: RunConfig, student: Network, networks: Sequence[Network]) -> FrozenTeacher:
    """The teacher of ``config`` over ``networks``. Raises ModelError when they cannot teach ``student``."""
    return FrozenTeacher(config.teacher, student, networks, build_objectives(config))
