"""The user's fixes of a data source, and the record of fixes next to a fixed copy.

Flow: panels of the window collect fixes -> worker ``fixes_save`` -> `core.data.derived.fixed` writes the copy, which
training reads like any table, and this record next to it -> the before-and-after page.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from core.spec.errors import UserError
from core.spec.reading import MEGABYTE, read_json, validate

Kind = Literal["wrong", "excluded", "recaptioned", "relabelled", "added"]
FIX_KINDS: tuple[Kind, ...] = ("wrong", "excluded", "recaptioned", "relabelled", "added")
RECORD_VERSION: Literal[1] = 1
RECORD_SUFFIX = ".fixes.json"  # replaces the suffix of the copy
_MAX_RECORD_BYTES = 256 * MEGABYTE


class FixesError(UserError):
    """A record of fixes that cannot be used."""


class Fix(BaseModel):
    """One change. ``wrong`` and ``excluded`` remove the pair, or the image if ``caption`` is empty.

    ``recaptioned`` replaces ``caption`` (all captions of the image if empty) by ``value``; an image that is not in the
    source is added. ``relabelled`` sets the image's ``label`` to ``value``. ``added`` adds the image with the caption
    ``value``.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: Kind
    path: str  # absolute path of the image
    caption: str = ""
    value: str = ""
    label: str = ""  # the name of the label
    panel: str = ""  # the panel in which the user found it
    run: str = ""  # the run or model that was open in the panel
    found: float = 0.0  # when the user found it, in seconds since the epoch


class FixesRecord(BaseModel):
    """The source and fixes of a fixed copy. Image paths are the same as in the source."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    version: Literal[1] = RECORD_VERSION
    source: str  # the original data
    fixed: str  # the name of the fixed copy, in the same folder
    made: float  # when the copy was written, in seconds since the epoch
    images: int  # number in the copy
    captions: int
    fixes: tuple[Fix, ...] = Field(default=())


def record_path(fixed: Path) -> Path:
    """The path of the record for the copy ``fixed``."""
    return fixed.with_suffix(RECORD_SUFFIX)


def read_record(fixed: Path) -> FixesRecord | None:
    """The record for the data ``fixed``, or None. Raises FixesError for an invalid record."""
    path = record_path(fixed)
    if not path.is_file():
        return None
    try:
        raw = read_json(path, _MAX_RECORD_BYTES, error=FixesError)
    except OSError as error:
        raise FixesError(f"{path} cannot be read: {error.strerror}.") from error
    return validate(FixesRecord, raw, f"{path} is not a record of fixes", error=FixesError)
