"""The worker verbs of Classify and the schemas of their answers; only fields that the panel reads are declared.

Flow: ``ClassifySession`` -> ``CLASSIFY[name]`` -> ``WorkerCalls``.
"""

from __future__ import annotations

import base64
import binascii
from typing import Annotated, Any, NotRequired

from pydantic import AfterValidator
from typing_extensions import TypedDict

from sdgui.worker.verbs import Verb


def _packed(text: str) -> str:
    """Check base64 of int32 values; raises ValueError if invalid."""
    try:
        is_int32 = len(base64.b64decode(text, validate=True)) % 4 == 0
    except binascii.Error as problem:
        raise ValueError("not base64") from problem
    if not is_int32:
        raise ValueError("not int32 values")
    return text


Packed = Annotated[str, AfterValidator(_packed)] | list[int]


class Share(TypedDict):
    value: float
    low: float | None
    high: float | None


ClassRow = TypedDict("ClassRow", {"class": str, "index": int, "rows": int, "accuracy": float})
ComparedRow = TypedDict("ComparedRow", {"class": str, "index": int, "rows": int, "a": float, "b": float})
ClassCount = TypedDict("ClassCount", {"class": str, "images": int})
Guess = TypedDict("Guess", {"class": str, "probability": float})


class Skipped(TypedDict):
    """A row or file that cannot be used."""

    where: str
    reason: str


class Split(TypedDict):
    """The skipped rows of a split."""

    skipped: list[Skipped]
    skipped_count: int


class Layers(TypedDict):
    """The layers whose features can be classified."""

    layers: list[str]


class Opened(TypedDict):
    """Data encoded by a model. ``opened``: the key of the data, valid in any process."""

    opened: str
    model: Layers
    classes: list[str]
    data: Split
    train: Split | None
    val: Split | None
    notes: list[str]


class Mistake(TypedDict):
    """A misclassified image. ``tied``: ``predicted`` is the first of several classes with the highest score."""

    image: str
    true: str
    predicted: str
    probability: float
    tied: NotRequired[bool]


class Cells(TypedDict):
    """The non-empty cells of a confusion matrix."""

    true: Packed
    predicted: Packed
    count: Packed


class Result(TypedDict):
    """The result of an evaluation."""

    result: str
    title: str
    samples: int
    accuracy: Share
    metrics: dict[str, Share]
    classes: list[str]
    per_class: list[ClassRow]
    confusion: Cells
    C: float | None
    curve: list[list[float]]
    mistakes: list[Mistake]
    mistake_count: int
    can_save: bool
    notes: list[str]


class Loaded(TypedDict):
    """A saved probe, with ``result`` if the probe was evaluated too."""

    probe: str
    result: Result | None


class Shots(TypedDict):
    """One point of the few-shot curve."""

    shots: int
    accuracy: float
    low: float | None
    high: float | None


class FewShot(TypedDict):
    """A complete or partial few-shot curve."""

    curve: list[Shots]


class ScoredImage(TypedDict):
    """An image and the probability of its class. ``tied``: see ``Mistake``."""

    image: str
    probability: float
    tied: NotRequired[bool]


class Cell(TypedDict):
    """The images of one cell of the confusion matrix."""

    true: str
    predicted: str
    total: int
    images: list[ScoredImage]


class Mistakes(TypedDict):
    """The next mistakes."""

    images: list[Mistake]


class Difference(TypedDict):
    """The difference of two results in one metric."""

    value: float
    interval: dict[str, float]
    significant: bool


class OnlyOne(TypedDict):
    """An image that only one of two results classifies correctly."""

    image: str
    true: str
    a: str
    b: str


class Compared(TypedDict):
    """Two results on the same images."""

    differences: dict[str, Difference]
    per_class: list[ComparedRow]
    only_a: list[OnlyOne]
    only_b: list[OnlyOne]
    both_right: int
    both_wrong: int


class Tried(TypedDict):
    """Predictions for one image, by a probe and zero-shot."""

    image: str
    probe: list[Guess] | None
    zero_shot: list[Guess] | None
    error: str


class TriedAll(TypedDict):
    """Predictions for several images."""

    images: list[Tried]


class SavedProbe(TypedDict):
    """The paths of the two written files."""

    path: str
    json: str


class Applied(TypedDict):
    """The counts of images whose predictions were written to a table."""

    path: str
    images: int
    classes: list[ClassCount]
    unreadable: list[Skipped]
    unreadable_count: int


_ANSWERS: dict[str, type[Any]] = {
    "classify_open": Opened,
    "classify_zero_shot": Result,
    "classify_probe": Result,
    "classify_knn": Result,
    "classify_load_probe": Loaded,
    "classify_few_shot": FewShot,
    "classify_cell": Cell,
    "classify_mistakes": Mistakes,
    "classify_compare": Compared,
    "classify_try": TriedAll,
    "classify_save_probe": SavedProbe,
    "classify_apply": Applied,
}
CLASSIFY: dict[str, Verb[dict[str, Any]]] = {name: Verb(name, answer, answer) for name, answer in _ANSWERS.items()}
