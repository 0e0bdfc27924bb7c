"""Worker requests for the map in Search, with the types of their answers.

For a small map, answers list each point; for a large map they contain packed coordinates, and `SEARCH_POINTS` describes
a few points at a time. A row is the index of an image in the data.
"""

from __future__ import annotations

from typing import NotRequired

from typing_extensions import TypedDict

from sdgui.worker.verbs import Verb


class MapImage(TypedDict):
    """An image's position on the map."""

    x: float
    y: float
    row: int
    path: str
    labels: dict[str, str]


class MapCaption(TypedDict):
    """A caption's position on the map."""

    x: float
    y: float
    row: int
    caption: str


class MapLabel(TypedDict):
    """The values of a label; ``codes`` is base64 of an int32 per image, the index of its value or -1."""

    values: list[str]
    codes: str


class PackedMap(TypedDict):
    """A large map: arrays in base64 with all images first, then all captions. x and y are float32, the others int32.

    ``rows``: the row of each image; ``texts``: the index of each caption; ``owners``: the index of each caption's
    image.
    """

    x: str
    y: str
    rows: str
    texts: str
    owners: str
    labels: dict[str, MapLabel]


class Map(TypedDict):
    """Images and captions in two dimensions; ``packed`` instead of lists for a large map."""

    method: str
    images: list[MapImage]
    captions: list[MapCaption]
    packed: NotRequired[PackedMap]


class NamedImage(TypedDict):
    """An image of a large map."""

    row: int
    path: str
    caption: str
    labels: dict[str, str]


class NamedCaption(TypedDict):
    """A caption of a large map."""

    text: int
    caption: str
    row: int


class MapNames(TypedDict):
    """Paths and captions of some points of a large map."""

    images: list[NamedImage]
    captions: list[NamedCaption]


SEARCH_MAP = Verb("search_map", Map, Map)
SEARCH_POINTS = Verb("search_points", MapNames)
