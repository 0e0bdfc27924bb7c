"""Fixes of a data source by the user, and the record beside a fixed copy.

Flow: panels of the window -> basket -> worker ``fixes_save`` -> `core.data.derived.fixed` writes the copy, which
training reads like any table, and this record beside it -> the before-and-after page.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from core.spec.errors import UserError
from core.spec.reading import MEGABYTE, read_json, validate

Kind = Literal["wrong", "excluded", "recaptioned", "relabelled", "added"]
KINDS: tuple[Kind, ...] = ("wrong", "excluded", "recaptioned", "relabelled", "added")
VERSION: Literal[1] = 1
ENDING = ".fixes.json"  # in place of the copy's own
_LARGEST = 256 * MEGABYTE


class FixesError(UserError):
    """A record of fixes that cannot be used."""


class Fix(BaseModel):
    """One change. ``wrong`` and ``excluded`` leave out the pair, or without a caption the image.

    ``recaptioned``: ``value`` replaces ``caption``, or without one all captions of the image; an image that is not in
    the source is added. ``relabelled``: ``value`` becomes the image's ``label``. ``added``: adds the image with the
    caption ``value``.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: Kind
    path: str  # of the image, absolute
    caption: str = ""
    value: str = ""
    label: str = ""  # the name of the label
    panel: str = ""  # where it was found
    run: str = ""  # the run, or model, that it was found with
    found: float = 0.0  # when, in seconds since the epoch


class FixesRecord(BaseModel):
    """The source and fixes of a fixed copy. Paths of images are as in the source."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    version: Literal[1] = VERSION
    source: str  # the data before
    fixed: str  # the name of the fixed copy, in the same folder
    made: float  # seconds since the epoch
    images: int  # in the copy
    captions: int
    fixes: tuple[Fix, ...] = Field(default=())


def record_path(fixed: Path) -> Path:
    """The path of the record of the copy ``fixed``."""
    return fixed.with_suffix(ENDING)


def read_record(fixed: Path) -> FixesRecord | None:
    """The record of the data ``fixed``, or None. Raises FixesError for an invalid record."""
    path = record_path(fixed)
    if not path.is_file():
        return None
    try:
        raw = read_json(path, _LARGEST, error=FixesError)
    except OSError as error:
        raise FixesError(f"{path} cannot be read: {error.strerror}.") from error
    return validate(FixesRecord, raw, f"{path} is not a record of fixes", error=FixesError)
