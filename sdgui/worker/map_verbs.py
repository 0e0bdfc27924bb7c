"""The worker's verbs of the Search map, with the types of the answers."""

from __future__ import annotations

from typing import NotRequired

from pydantic import ConfigDict, with_config
from typing_extensions import TypedDict

from sdgui.worker.verbs import Verb

_STRICT = with_config(ConfigDict(strict=True))


@_STRICT
class MapImage(TypedDict):
    """An image's position on the map."""

    x: float
    y: float
    row: int
    path: str
    labels: dict[str, str]


@_STRICT
class MapCaption(TypedDict):
    """A caption's position on the map."""

    x: float
    y: float
    row: int
    caption: str


@_STRICT
class MapLabel(TypedDict):
    """The values of a label, and a code for each image as base64 of int32, -1 for none."""

    values: list[str]
    codes: str


@_STRICT
class PackedMap(TypedDict):
    """The places of very many images, then captions, as base64: x and y of float32, the rest of int32."""

    x: str
    y: str
    rows: str
    texts: str
    owners: str
    labels: dict[str, MapLabel]


@_STRICT
class Map(TypedDict):
    """Images and captions in two dimensions; of very many the places alone."""

    method: str
    images: list[MapImage]
    captions: list[MapCaption]
    packed: NotRequired[PackedMap]


@_STRICT
class NamedImage(TypedDict):
    """An image of a large map."""

    row: int
    path: str
    caption: str
    labels: dict[str, str]


@_STRICT
class NamedCaption(TypedDict):
    """A caption of a large map."""

    text: int
    caption: str
    row: int


@_STRICT
class MapNames(TypedDict):
    """Names of some points of a large map."""

    images: list[NamedImage]
    captions: list[NamedCaption]


SEARCH_MAP = Verb("search_map", Map, Map)
SEARCH_POINTS = Verb("search_points", MapNames)
