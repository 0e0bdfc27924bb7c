"""The kinds of teacher and their traits, a table for config, trainer and window.

``core.teacher.build`` builds the teacher of a kind. ``teacher.kind`` may also be a reference to a custom rule by
which the teacher follows the student.
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
    """Traits of a kind of teacher."""

    exists: bool = True
    follows: bool = False  # its weights follow the student's
    averages: bool = False  # its weights are a moving average of the student's
    averages_buffers: bool = False  # so are its batch norm statistics
    trained: bool = False  # consists of the trained models of ``teacher.checkpoint``
    constant: bool = False  # its outputs never change and can be stored


TEACHER_KINDS: Mapping[str, TeacherKind] = {
    "none": TeacherKind(exists=False),
    "ema": TeacherKind(follows=True, averages=True),
    "ema-state": TeacherKind(follows=True, averages=True, averages_buffers=True),
    "initial": TeacherKind(constant=True),
    "frozen": TeacherKind(trained=True, constant=True),
}
_CUSTOM = TeacherKind(follows=True)


def teacher_kind(name: str) -> TeacherKind:
    """The traits of the kind ``name``."""
    return TEACHER_KINDS.get(name, _CUSTOM)


def _known(name: str) -> str:
    if name not in TEACHER_KINDS and not is_reference(name):
        kinds = ", ".join(TEACHER_KINDS)
        raise PydanticCustomError("kind", "Must be one of {kinds}, or a rule as {form}", {"kinds": kinds, "form": FORM})
    return name


TeacherKindName = Annotated[str, AfterValidator(_known)]
