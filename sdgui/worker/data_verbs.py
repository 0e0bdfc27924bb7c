"""Worker requests about data, with the types of their answers: rows, checks, views, derived sources."""

from __future__ import annotations

from typing_extensions import TypedDict

from sdgui.worker.verbs import SavedSource, Verb


class RowsPart(TypedDict):
    """A batch of rows of a source. ``labels``: the value of each row, by label name."""

    paths: list[str]
    captions: list[list[str]]
    labels: dict[str, list[str]]


class Counted(TypedDict):
    """The number of images with a value."""

    value: str
    images: int


class BadRow(TypedDict):
    """A row that cannot be used, with the reason."""

    where: str
    why: str


class BrokenFile(TypedDict):
    """A row whose image cannot be decoded, with the reason."""

    row: int
    why: str


class RowsOpened(TypedDict):
    """Statistics of the rows that were sent in batches.

    ``images``: all images, of which ``listed`` were sent; ``pairs``: captions; ``distinct``: different captions;
    ``words``: captions by number of words; ``captions``: [number of captions, images]; ``labels``: the
    values of each label, most frequent first; ``values``: number of values per label; ``split``: the label with the
    splits; ``reasons``: the first bad rows.
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


class FoundLeak(TypedDict):
    """An image that is in two splits, ``split`` and ``other_split``."""

    row: int
    file: str
    split: str
    other_split: str
    path: str
    kind: str


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
    unreadable: dict[str, str]


class Overlap(TypedDict):
    """The number of images of one source that are also in the other."""

    shared: dict[str, int]


class HeldOut(TypedDict):
    """Two manifests that were written: ``train`` for training, and ``held_out`` for validation."""

    train: SavedSource
    held_out: SavedSource


class MixedWith(TypedDict):
    """How an image is interpolated. ``share``: share of the image itself; ``box`` (cutmix): (top, left, bottom, right)
    of the copied square."""

    path: str
    caption: str
    share: float
    box: list[int]


class ViewCell(TypedDict):
    """One view of one image. ``offset``: position of its pixels in the file.

    ``mask``: a character per patch, 1 if it is hidden, 2 if it is left out.
    """

    offset: int
    mask: str
    mixed: MixedWith | None


class ShownView(TypedDict):
    """One view of every image. ``who``: student, teacher or both; ``side`` and ``patch`` in pixels."""

    title: str
    who: str
    side: int
    patch: int
    cells: list[ViewCell]


class ViewedImage(TypedDict):
    """An image, its caption in this epoch, and the step of its batch."""

    row: int
    path: str
    caption: str
    batch: int


class DrawnViews(TypedDict):
    """The views of student and teacher. ``batch``: the batch size; ``by_choice``: any rows can be requested,
    not only those of one batch; ``skipped``: rows that are in no batch of this epoch."""

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
