"""Fixes of a data source: what a person found wrong with its pairs, and the record that a fixed copy carries.

Flow: panels of the window -> basket -> worker ``fixes_save`` -> `core.data.derived.fixed` writes the copy, which
training reads as any table, and beside it this record -> the before-and-after page.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from core.spec.errors import UserError
from core.spec.reading import MEGABYTE, checked, read_json

Kind = Literal["wrong", "excluded", "recaptioned", "relabelled", "added"]
KINDS: tuple[Kind, ...] = ("wrong", "excluded", "recaptioned", "relabelled", "added")
VERSION: Literal[1] = 1
ENDING = ".fixes.json"  # in place of the copy's own
_LARGEST = 256 * MEGABYTE


class FixesError(UserError):
    """A record of fixes that cannot be used."""


class Fix(BaseModel):
    """One change. Of ``wrong`` and ``excluded`` the pair is left out, or without a caption the whole image.

    ``recaptioned``: ``value`` takes the place of ``caption``, or without one of all captions of the image; an image
    that the source has not is added with it. ``relabelled``: ``value`` becomes the image's ``label``. ``added``: the
    image is added with the caption ``value``.
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
    """What a fixed copy was made of, and how. Paths of images are as in the copy's own source."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    version: Literal[1] = VERSION
    source: str  # the data before
    fixed: str  # the name of the copy, which stands beside this file
    made: float  # seconds since the epoch
    images: int  # in the copy
    captions: int
    fixes: tuple[Fix, ...] = Field(default=())


def record_path(fixed: Path) -> Path:
    """Where the record of the copy ``fixed`` stands."""
    return fixed.with_suffix(ENDING)


def read_record(fixed: Path) -> FixesRecord | None:
    """The record of the data ``fixed``; None where it has none. Raises FixesError for one that cannot be understood."""
    path = record_path(fixed)
    if not path.is_file():
        return None
    try:
        raw = read_json(path, _LARGEST, error=FixesError)
    except OSError as error:
        raise FixesError(f"{path} cannot be read: {error.strerror}.") from error
    return checked(FixesRecord, raw, f"{path} is no record of fixes", error=FixesError)
