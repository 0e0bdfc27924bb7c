"""A query: words, images with weights, prompts, filters. No Qt.

Flow: query bar -> ``Query`` -> ``request`` -> worker ``search_query``; ``to_json`` -> history and saved searches.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

NO_TEMPLATE = "raw"
Find = Literal["images", "captions"]
_FILTERS = ("folders", "labels", "min_size", "max_size", "after", "before")


@dataclass(frozen=True)
class Part:
    """A part of a query: words or an image, with a weight. ``row``: the image's row in the collection, or -1."""

    words: str = ""
    image: str = ""
    weight: float = 1.0  # negative: excluded
    row: int = -1

    @property
    def title(self) -> str:
        """The words, or the image's file name."""
        return self.words or Path(self.image).name

    @property
    def spoken(self) -> str:
        """The part for screen readers and contact sheets, such as ``without people, weight 0.5``."""
        sign = "without " if self.weight < 0 else ""
        weight = f", weight {abs(self.weight):g}" if abs(self.weight) != 1 else ""
        return f"{sign}{self.title}{weight}"

    def request(self, use_row: bool) -> dict[str, Any]:
        """The part as an argument of the worker."""
        if self.words:
            content: dict[str, Any] = {"text": self.words}
        elif self.row >= 0 and use_row:
            content = {"row": self.row}
        else:
            content = {"image": self.image}
        return {**content, "weight": abs(self.weight)}


@dataclass(frozen=True)
class Query:
    """A query. ``prompts``: ``NO_TEMPLATE`` or a set of prompts; ``group``: whether to group near-identical images.

    ``caption``: the number of a caption of the collection, whose image is known; otherwise -1.
    """

    words: str = ""
    parts: tuple[Part, ...] = ()
    prompts: str = NO_TEMPLATE
    find: Find = "images"
    filters: Mapping[str, Any] = field(default_factory=dict)
    group: bool = True
    caption: int = -1
    true_path: str = ""  # the correct image: that of ``caption``, or the query image in a search for captions
    true_row: int = -1

    @property
    def empty(self) -> bool:
        return not self.words.strip() and not self.parts and self.caption < 0

    @property
    def title(self) -> str:
        """The query as text, such as ``red heart + at night − people``."""
        text = self.words.strip()
        for part in self.parts:
            sign = "− " if part.weight < 0 else "+ " if text else ""
            weight = f" ×{abs(part.weight):g}" if abs(part.weight) != 1 else ""
            text = f"{text} {sign}{part.title}{weight}".strip()
        return text

    def request(self, use_rows: bool) -> dict[str, Any]:
        """The worker's arguments. ``use_rows``: whether row and caption numbers are valid in the collection."""
        common: dict[str, Any] = {"find": self.find, "prompts": self.prompts, "group": self.group}
        common["filters"] = dict(self.filters)
        if self.caption >= 0 and use_rows:
            return {**common, "caption": self.caption}
        words = [Part(self.words.strip())] if self.words.strip() else []
        plus = [part for part in (*words, *self.parts) if part.weight >= 0]
        minus = [part for part in self.parts if part.weight < 0]
        return {
            **common,
            "texts": [part.request(use_rows) for part in plus],
            "minus": [part.request(use_rows) for part in minus],
        }

    def to_json(self) -> dict[str, Any]:
        """Serialise for history and saved searches, without row numbers, which differ between collections."""
        return {
            "words": self.words.strip(),
            "parts": [{"words": part.words, "image": part.image, "weight": part.weight} for part in self.parts],
            "prompts": self.prompts,
            "find": self.find,
            "filters": dict(self.filters),
            "group": self.group,
        }

    @classmethod
    def from_json(cls, raw: object) -> Query | None:
        """Read the output of ``to_json``; None if it is invalid."""
        if not isinstance(raw, Mapping):
            return None
        try:
            parts = tuple(
                Part(
                    str(part_json.get("words", "")),
                    str(part_json.get("image", "")),
                    float(part_json.get("weight", 1.0)),
                )
                for part_json in raw.get("parts", ())
            )
            filters = {name: value for name, value in dict(raw.get("filters", {})).items() if name in _FILTERS}
        except (AttributeError, TypeError, ValueError):
            return None
        find: Find = "captions" if raw.get("find") == "captions" else "images"
        query = cls(
            str(raw.get("words", "")),
            tuple(part for part in parts if part.title),
            str(raw.get("prompts", NO_TEMPLATE)),
            find,
            filters,
            bool(raw.get("group", True)),
        )
        return None if query.empty else query
