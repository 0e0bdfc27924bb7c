"""Worker requests and the types of their answers; the window accepts no answer of another type.

Flow: ``WorkerCalls.ask(purpose, VERB, ...)`` -> worker -> ``VERB.problem(answer)`` -> the panel, or a failure.
Only fields that the window reads are declared; an answer may contain more.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, Generic, NotRequired, TypeVar

from pydantic import TypeAdapter, ValidationError
from typing_extensions import TypedDict

from core.spec.reading import first_problem

Answer = TypeVar("Answer")


@dataclass(frozen=True)
class Verb(Generic[Answer]):
    """A kind of request. ``answer``: type of the answer; ``part``: type of each part of a long answer.

    Types are checked strictly: the text "3" is not a number.
    """

    name: str
    answer: type[Answer]
    part: type[Any] | None = None

    def problem(self, raw: Mapping[str, Any], partial: bool = False) -> str:
        """Why ``raw`` is not a valid answer (or part of one, if ``partial``); "" if it is."""
        try:
            shape: Any = (self.part or self.answer) if partial else self.answer
            _adapter(shape).validate_python(raw, strict=True)
        except ValidationError as problem:
            return f"{self.name}: {first_problem(problem)}"
        return ""


@cache
def _adapter(shape: type[Any]) -> TypeAdapter[Any]:
    return TypeAdapter(shape)


class SourceFacts(TypedDict):
    """Properties of a data source. ``labels``: number of classes by name; ``reasons``: problems of the first bad rows.

    ``captions``: number of images with 1, 2, ... captions; the last entry counts all larger numbers. ``samples``: paths
    of some images. ``labels_unknown``: only an index was read, without labels, as for shards.
    """

    source: str
    format: str
    pairs: int
    images: int
    labels: dict[str, int]
    bad: int
    reasons: list[str]
    captions: NotRequired[list[int]]
    samples: NotRequired[list[str]]
    labels_unknown: NotRequired[bool]


DESCRIBE_SOURCE = Verb("describe_source", SourceFacts)


# Search
class SearchOpened(TypedDict):
    """A collection that can be searched. ``key`` describes it, so that any process can open it again.

    ``dim``: size of the embeddings; ``search_method``: its name.
    """

    key: str
    title: str
    source: str
    model: str
    weights: str
    dim: int
    images: int
    captions: int
    search_method: str
    notes: list[str]
    remaining: NotRequired[int]  # images that are not included yet


class Facets(TypedDict):
    """Filters: the values of each label."""

    folders: list[str]
    labels: dict[str, list[str]]


class Duplicate(TypedDict):
    """A near duplicate of a result."""

    path: str
    rank: int
    cosine: float


class ResultRow(TypedDict):
    """A result: an image, or a caption with its image.

    ``size`` and ``time``: of the file, in bytes and in seconds since the epoch; ``exists``: whether the file exists.
    """

    row: int
    path: str
    caption: str
    cosine: float
    softmax: float
    rank: int
    above_cutoff: bool
    duplicates: list[Duplicate]
    size: NotRequired[int]
    time: NotRequired[float]
    labels: NotRequired[dict[str, str]]
    captions: NotRequired[list[str]]
    exists: NotRequired[bool]


class Cutoff(TypedDict):
    """The cosine above which a score is more than chance, and a sentence about it."""

    cosine: float
    meaning: str


class Results(TypedDict):
    """The results of a query. ``above``: number of results above the cutoff; ``searched``: number of compared images or
    captions; ``true_rank`` and ``true_row``: of the image that belongs to the query, if this is known."""

    rows: list[ResultRow]
    cutoff: Cutoff
    above: int
    searched: int
    notes: list[str]
    true_rank: float | None
    true_row: int | None


class KnownText(TypedDict):
    """A caption of the collection, and the rank of its image."""

    text: int
    caption: str
    row: int
    path: str
    rank: float


class KnownImage(TypedDict):
    """An image of the collection, and the rank of its caption."""

    row: int
    path: str
    captions: list[str]
    rank: float


class Curve(TypedDict):
    """Recall at each k, in both directions."""

    k: list[int]
    text_to_image: list[float]
    image_to_text: list[float]


class Evaluation(TypedDict):
    """The hardest queries in each direction, their number, and the recall curve."""

    text_to_image: list[KnownText]
    image_to_text: list[KnownImage]
    queries: dict[str, int]
    curve: Curve


class ComparedPair(TypedDict):
    """A pair that only one of two models finds."""

    caption: str
    path: str
    rank_a: float
    rank_b: float
    text_a: int


class Comparison(TypedDict):
    """How the first results of two models differ."""

    counts: dict[str, int]
    only_a: list[ComparedPair]
    only_b: list[ComparedPair]


class Indexed(TypedDict):
    """The result of building or updating an index."""

    added: int
    changed: int
    removed: int
    unchanged: int
    unreachable: int
    images: int
    bad: list[str]
    log: list[str]


class Relocated(TypedDict):
    """Number of images of an index that were relocated."""

    relocated: int


class RelevantWord(TypedDict):
    """A word and its share of all words' relevance."""

    text: str
    relevance: float


class Why(TypedDict):
    """The relevance of a similarity: share of each patch of the centre square, row by row, and of each word."""

    cosine: float
    patches: list[list[float]]
    words: list[RelevantWord]


class TravelSaved(TypedDict):
    """An animated image that was written, with one frame per step."""

    path: str
    frames: int


SEARCH_OPEN = Verb("search_open", SearchOpened)
SEARCH_TRAVEL = Verb("search_travel", TravelSaved)
SEARCH_FACETS = Verb("search_facets", Facets)
SEARCH_QUERY = Verb("search_query", Results)
SEARCH_EVALUATE = Verb("search_evaluate", Evaluation)
SEARCH_COMPARE = Verb("search_compare", Comparison)
SEARCH_WHY = Verb("search_why", Why)
SEARCH_INDEX = Verb("search_index", Indexed)
SEARCH_RELOCATE = Verb("search_relocate", Relocated)


# Captions
class Captioner(TypedDict):
    """The captioning model."""

    model: str
    pretrained: str
    weights: str
    step: int | None
    digest: str
    precision: str
    max_tokens: int
    notes: list[str]


class CaptionText(TypedDict):
    """One candidate caption."""

    text: str
    log_prob: float | None
    score: float | None


class CaptionPart(TypedDict, total=False):
    """The captions of an image, or why it has none; or a note; or the number of images."""

    index: int
    path: str
    captions: list[CaptionText]
    error: str
    note: str


CAPTION_OPEN = Verb("caption_open", Captioner)
CAPTION = Verb("caption", dict[str, Any], CaptionPart)


# Interpolated weights
class EvaluatedPath(TypedDict):
    """The interpolation path of a run was evaluated and written to its folder. ``notes``: such as skipped rows."""

    notes: list[str]


INTERPOLATE = Verb("interpolate", EvaluatedPath)


# Clean
class NoisyPair(TypedDict):
    """A pair. ``match_score``: 0 to 1; ``clean_probability``: that the caption is correct, if the scores form two
    groups; ``shuffled``: whether the caption is known to belong to another image."""

    path: str
    caption: str
    match_score: float
    clean_probability: float | None
    rank: int
    shuffled: bool | None
    suggestion: NotRequired[str]


Pairs = list[NoisyPair]
Numbers = list[int]


class Ranking(TypedDict):
    """The pairs with the lowest scores, and a histogram of all pairs' scores with a thousand bins.

    ``mismatched``: number of likely mismatched pairs; ``groups``: 2 if there are any, otherwise 1; ``shuffled``:
    number of shuffled captions; ``precision``: their share among as many pairs with the lowest scores.
    """

    key: str
    model: str
    data: str
    pairs: int
    mismatched: int
    groups: int
    shuffled: int | None
    precision: float | None
    list: Pairs
    bins: Numbers
    shuffled_bins: Numbers | None


class SavedSource(TypedDict):
    """A manifest that was written."""

    path: str
    images: int
    captions: int


NOISE_OPEN = Verb("noise_open", Ranking)
NOISE_SAVE = Verb("noise_save", SavedSource)
