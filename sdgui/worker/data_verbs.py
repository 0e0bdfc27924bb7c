"""The worker's verbs about data, with the types of the answers: rows, checks, views, derived sources."""

from __future__ import annotations

from pydantic import ConfigDict, with_config
from typing_extensions import TypedDict

from sdgui.worker.verbs import Verb

_STRICT = with_config(ConfigDict(strict=True))


@_STRICT
class RowsPart(TypedDict):
    """Some rows of a source. ``labels``: name -> the value of each row."""

    paths: list[str]
    captions: list[list[str]]
    labels: dict[str, list[str]]


@_STRICT
class Counted(TypedDict):
    """How many images have a value."""

    value: str
    images: int


@_STRICT
class BadRow(TypedDict):
    """A row that cannot be used, and why."""

    where: str
    why: str


@_STRICT
class BrokenFile(TypedDict):
    """A row whose image cannot be decoded, and why."""

    row: int
    why: str


@_STRICT
class RowsOpened(TypedDict):
    """Figures of the rows that came in parts.

    ``words``: captions by number of words; ``captions``: [number of captions, images]; ``labels``: name -> its
    values, the most frequent first; ``values``: name -> how many there are; ``split``: the label that names splits;
    ``reasons``: the first bad rows.
    """

    source: str
    format: str
    images: int
    listed: int
    pairs: int
    distinct: int
    words: list[int]
    median_words: float
    captions: list[list[int]]
    labels: dict[str, list[Counted]]
    values: dict[str, int]
    split: str
    bad: int
    reasons: list[BadRow]


@_STRICT
class FoundLeak(TypedDict):
    """An image that another split has too. ``left``: its own split, ``other``: the other one."""

    row: int
    file: str
    left: str
    other: str
    path: str
    kind: str


@_STRICT
class Checked(TypedDict):
    """The result of reading every image: groups of duplicates, leaks, broken files."""

    source: str
    images: int
    broken: list[BrokenFile]
    exact: list[list[int]]
    near: list[list[int]]
    exact_groups: int
    near_groups: int
    leaks: list[FoundLeak]
    leak_count: int
    unread: dict[str, str]


@_STRICT
class Overlap(TypedDict):
    """Source -> how many images of another are in it too."""

    shared: dict[str, int]


@_STRICT
class SavedSource(TypedDict):
    """A manifest that was written."""

    path: str
    images: int
    captions: int


@_STRICT
class HeldOut(TypedDict):
    """Two manifests that were written: to train on, and to validate on."""

    train: SavedSource
    held: SavedSource


@_STRICT
class MixedWith(TypedDict):
    """How an image is interpolated: ``share`` is its own; of cutmix ``box`` (top, left, bottom, right) is not."""

    path: str
    caption: str
    share: float
    box: list[int]


@_STRICT
class ViewCell(TypedDict):
    """One view of one image. ``offset`` of its pixels in the file; ``mask``: a character for each patch, 1 where it
    is hidden, 2 where it is left out.
    """

    offset: int
    mask: str
    mixed: MixedWith | None


@_STRICT
class ShownView(TypedDict):
    """One view of every image. ``who`` sees it: student, teacher or both; ``side`` and ``patch`` in pixels."""

    title: str
    who: str
    local: bool
    side: int
    patch: int
    cells: list[ViewCell]


@_STRICT
class ViewedImage(TypedDict):
    """An image, the caption that it has in this epoch, and the step of its batch."""

    row: int
    path: str
    caption: str
    batch: int


@_STRICT
class DrawnViews(TypedDict):
    """What student and teacher see. ``skipped``: rows that are in no batch of this epoch."""

    epoch: int
    steps_per_epoch: int
    batch: int
    by_choice: bool
    images: list[ViewedImage]
    views: list[ShownView]
    skipped: list[int]


DATA_OPEN = Verb("data_open", RowsOpened, RowsPart)
DATA_CHECK = Verb("data_check", Checked)
DATA_OVERLAP = Verb("data_overlap", Overlap)
DATA_SAVE = Verb("data_save", SavedSource)
DATA_HOLD_OUT = Verb("data_hold_out", HeldOut)
DATA_VIEWS: Verb[DrawnViews] = Verb("data_views", DrawnViews)
