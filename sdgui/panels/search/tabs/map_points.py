"""The points of a map as arrays: places, rows, labels; what each is called comes along, or is asked for. No Qt.

Flow: an answer of ``search_map`` -> ``MapPoints`` -> canvas and legend; of large maps ``search_points`` adds the names.
"""

from __future__ import annotations

import base64
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Name:
    """What a point is: the picture's path, words beside it, the picture's row, whether it is a caption."""

    path: str
    words: str
    row: int
    caption: bool


@dataclass
class MapPoints:
    """Pictures, then captions. ``labels``: values and each picture's code among them, -1 for none."""

    places: Floats = field(default_factory=lambda: np.zeros((0, 2)))
    rows: Integers = field(default_factory=lambda: np.zeros(0, np.int64))  # of the pictures
    texts: Integers = field(default_factory=lambda: np.zeros(0, np.int64))  # numbers of the captions
    owners: Integers = field(default_factory=lambda: np.zeros(0, np.int64))  # rows of the captions' pictures
    labels: dict[str, tuple[list[str], Integers]] = field(default_factory=dict)
    method: str = ""
    _pictures: dict[int, tuple[str, str]] = field(default_factory=dict)  # row -> path, words
    _captions: dict[int, str] = field(default_factory=dict)  # number -> caption

    @classmethod
    def of(cls, answer: Mapping[str, Any]) -> MapPoints:
        """From an answer of ``search_map``, packed or not."""
        return _packed(answer) if "packed" in answer else _plain(answer)

    def __len__(self) -> int:
        return len(self.places)

    def name(self, index: int) -> Name | None:
        """What is known of a point; None until it is asked for."""
        if index < len(self.rows):
            row = int(self.rows[index])
            known = self._pictures.get(row)
            return None if known is None else Name(*known, row, False)
        number = index - len(self.rows)
        caption, row = self._captions.get(int(self.texts[number])), int(self.owners[number])
        known = self._pictures.get(row)
        return None if caption is None or known is None else Name(known[0], caption, row, True)

    def unnamed(self, indices: Iterable[int]) -> tuple[list[int], list[int]]:
        """Rows of pictures and numbers of captions that are to be asked for, to know these points."""
        rows: dict[int, None] = {}
        texts: dict[int, None] = {}
        for index in indices:
            if self.name(index) is None:
                caption = index >= len(self.rows)
                number = index - len(self.rows)
                rows[int(self.owners[number] if caption else self.rows[index])] = None
                if caption:
                    texts[int(self.texts[number])] = None
        return list(rows), list(texts)

    def know(self, answer: Mapping[str, Any]) -> None:
        """Take in an answer of ``search_points``."""
        for one in answer["pictures"]:
            self._pictures[int(one["row"])] = str(one["path"]), str(one["caption"]) or _told(one["labels"])
        for one in answer["captions"]:
            self._captions[int(one["text"])] = str(one["caption"])

    def of_path(self, path: str) -> list[int]:
        """The pictures with this path, among those that are known."""
        rows = [row for row, (own, _) in self._pictures.items() if own == path]
        found: list[int] = np.flatnonzero(np.isin(self.rows, rows)).tolist()
        return found

    def row_of(self, path: str) -> int:
        """The row of a picture that is known; -1 where it is not."""
        return next((row for row, (own, _) in self._pictures.items() if own == path), -1)

    # Colours
    def telling_labels(self) -> list[str]:
        """Labels that tell pictures apart, by how few of the pictures lack one; a single class colours nothing."""
        telling = [name for name, (_, codes) in self.labels.items() if len(np.unique(codes[codes >= 0])) > 1]
        return sorted(telling, key=lambda name: int((self.labels[name][1] >= 0).sum()))

    def colors(self, label: str, most: int, other: int) -> tuple[list[int], list[tuple[str, int]]]:
        """A colour for each point, and the legend: the ``most`` frequent values have their own, others ``other``.

        Without a label pictures and captions differ. A caption has the colour of its picture.
        """
        pictures, captions = len(self.rows), len(self.texts)
        if not label:
            legend = [("pictures", 0), ("captions", 1)] if captions else []
            return [0] * pictures + [1] * captions, legend
        values, codes = self.labels[label]
        common = [code for code, _ in Counter(codes[codes >= 0].tolist()).most_common(most)]
        table = np.full(len(values) + 1, other, np.int64)  # the last one: of no value
        table[common] = np.arange(len(common))
        own = table[codes]
        by_row = dict(zip(self.rows.tolist(), own.tolist(), strict=True)) if captions else {}
        others = len(np.unique(codes[codes >= 0])) - len(common)
        shown = [(values[code], color) for color, code in enumerate(common)]
        legend = [*shown, *([(f"{others} others", other)] if others else [])]
        return own.tolist() + [by_row.get(row, other) for row in self.owners.tolist()], legend


def _plain(answer: Mapping[str, Any]) -> MapPoints:
    pictures, captions = answer["pictures"], answer["captions"]
    both = [*pictures, *captions]
    words = {int(one["row"]): str(one["caption"]) for one in captions}
    names = {
        int(one["row"]): (str(one["path"]), words.get(int(one["row"]), "") or _told(one["labels"])) for one in pictures
    }
    return MapPoints(
        places=np.array([(one["x"], one["y"]) for one in both], np.float64).reshape(-1, 2),
        rows=np.array([one["row"] for one in pictures], np.int64),
        texts=np.arange(len(captions)),
        owners=np.array([one["row"] for one in captions], np.int64),
        labels=_codes(pictures),
        method=str(answer["method"]),
        _pictures=names,
        _captions={number: str(one["caption"]) for number, one in enumerate(captions)},
    )


def _packed(answer: Mapping[str, Any]) -> MapPoints:
    raw = answer["packed"]
    places = np.stack([_numbers(raw["x"], "<f4"), _numbers(raw["y"], "<f4")], axis=1).astype(np.float64)
    rows, texts, owners = (_numbers(raw[name], "<i4").astype(np.int64) for name in ("rows", "texts", "owners"))
    labels = {
        name: (list(one["values"]), _numbers(one["codes"], "<i4").astype(np.int64))
        for name, one in raw["labels"].items()
    }
    if len(places) != len(rows) + len(texts) or len(owners) != len(texts):
        raise ValueError("the map's places do not fit its pictures and captions")
    return MapPoints(places, rows, texts, owners, labels, str(answer["method"]))


def _codes(pictures: Sequence[Mapping[str, Any]]) -> dict[str, tuple[list[str], Integers]]:
    names = dict.fromkeys(name for one in pictures for name in one["labels"])
    found = {}
    for name in names:
        values: dict[str, int] = {}
        own = [str(one["labels"].get(name, "")) for one in pictures]
        codes = [values.setdefault(value, len(values)) if value else -1 for value in own]
        found[name] = list(values), np.array(codes, np.int64)
    return found


def _told(labels: Mapping[str, str]) -> str:
    return ", ".join(f"{name}: {value}" for name, value in labels.items() if value)


def _numbers(text: str, kind: str) -> npt.NDArray[Any]:
    return np.frombuffer(base64.b64decode(text), dtype=kind)
