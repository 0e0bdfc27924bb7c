"""References to code: ``FILE.py:NAME``, ``MODULE:NAME``, and ``python:NAME`` for an object passed to ``core.train``.

Flow: a config contains references as text (``ReferenceText``) -> ``core.spec.run.code`` copies the files into the run
folder -> ``core.custom.loading`` runs the copies.
"""

from __future__ import annotations

import keyword
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator
from pydantic_core import PydanticCustomError

from core.spec.paths import expand_user, is_file

REFERENCE_FORM = "FILE.py:NAME or MODULE:NAME"
PASSED_OBJECT = "python"  # the location of an object that was passed to ``core.train``


@dataclass(frozen=True)
class Reference:
    """A name in a file or an installed module."""

    location: str  # a path that ends with .py, the dotted name of a module, or PASSED_OBJECT
    name: str

    def __str__(self) -> str:
        return f"{self.location}:{self.name}"

    @property
    def is_file(self) -> bool:
        """Whether the code is in a file, not in an installed module."""
        return self.location.endswith(".py")

    @property
    def is_python_object(self) -> bool:
        """Whether the reference is to an object passed to ``core.train``, which exists only in that program."""
        return self.location == PASSED_OBJECT

    @property
    def path(self) -> Path:
        """The path of the file; a relative path is relative to the working folder."""
        return expand_user(self.location)

    def with_absolute_path(self) -> Reference:
        """The reference with an absolute path; unchanged if the file does not exist."""
        return Reference(str(self.path.absolute()), self.name) if self.is_file and is_file(self.path) else self


def parse_reference(text: str) -> Reference | None:
    """The reference in ``text``; None if ``text`` does not have the form of one."""
    location, colon, name = text.rpartition(":")
    if not colon or not _is_name(name) or not (location.endswith(".py") or all(map(_is_name, location.split(".")))):
        return None
    return Reference(location, name)


def _is_name(text: str) -> bool:
    return text.isidentifier() and not keyword.iskeyword(text)


def _reference_text(text: str) -> str:
    if text and parse_reference(text) is None:
        raise PydanticCustomError("reference", "Must be a reference to code, as {form}", {"form": REFERENCE_FORM})
    return text


ReferenceText = Annotated[str, AfterValidator(_reference_text)]
"""A field of a config that contains a reference to code, or is empty."""
