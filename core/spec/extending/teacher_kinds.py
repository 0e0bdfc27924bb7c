"""The kinds of teacher, and what each is: the one table that config, trainer and window read.

``core.teacher.build`` makes the teacher of a kind. ``teacher.kind`` may also name a rule of the user's own, a
reference, by which the teacher follows the student.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated

from pydantic import AfterValidator
from pydantic_core import PydanticCustomError

from core.spec.extending.references import FORM, is_reference


@dataclass(frozen=True)
class TeacherKind:
    """What a kind of teacher is."""

    exists: bool = True
    follows: bool = False  # its weights follow the student's
    averages: bool = False  # they are a moving average of the student's
    averages_buffers: bool = False  # so are the statistics of batch norms
    trained: bool = False  # it is made of trained models, which ``teacher.checkpoint`` names
    constant: bool = False  # its answers never change, so that they can be stored


TEACHER_KINDS: Mapping[str, TeacherKind] = {
    "none": TeacherKind(exists=False),
    "ema": TeacherKind(follows=True, averages=True),
    "ema-state": TeacherKind(follows=True, averages=True, averages_buffers=True),
    "initial": TeacherKind(constant=True),
    "frozen": TeacherKind(trained=True, constant=True),
}
_CUSTOM = TeacherKind(follows=True)


def teacher_kind(name: str) -> TeacherKind:
    """What the kind ``name`` is."""
    return TEACHER_KINDS.get(name, _CUSTOM)


def _known(name: str) -> str:
    if name not in TEACHER_KINDS and not is_reference(name):
        kinds = ", ".join(TEACHER_KINDS)
        raise PydanticCustomError("kind", "Must be one of {kinds}, or a rule as {form}", {"kinds": kinds, "form": FORM})
    return name


TeacherKindName = Annotated[str, AfterValidator(_known)]
