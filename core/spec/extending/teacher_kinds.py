"""The kinds of teacher and their traits: a table for config, trainer and window.

``core.teacher.build`` builds a teacher of each kind. ``teacher.kind`` may also be a reference to a custom update rule.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated

from pydantic import AfterValidator
from pydantic_core import PydanticCustomError

from core.spec.extending.references import REFERENCE_FORM, parse_reference


@dataclass(frozen=True)
class TeacherKind:
    """Traits of a kind of teacher."""

    exists: bool = True
    follows: bool = False  # the weights follow the student's
    averages: bool = False  # the weights are a moving average of the student's
    averages_buffers: bool = False  # so are the batch norm statistics
    trained: bool = False  # the teacher consists of the trained models in ``teacher.checkpoint``
    constant: bool = False  # the outputs never change and can be stored


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


def _check_kind(name: str) -> str:
    if name not in TEACHER_KINDS and parse_reference(name) is None:
        kinds = ", ".join(TEACHER_KINDS)
        message = "Must be one of {kinds}, or an update rule as {form}"
        raise PydanticCustomError("kind", message, {"kinds": kinds, "form": REFERENCE_FORM})
    return name


TeacherKindName = Annotated[str, AfterValidator(_check_kind)]
