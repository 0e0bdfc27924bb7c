"""The points of a map as arrays: positions, rows, labels; names may be requested later. No Qt.

Flow: answer of ``search_map`` -> ``MapPoints`` -> canvas and legend; for large maps, ``search_points`` adds names.
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
_GRID_SIZE = 12  # cells along each side


@dataclass(frozen=True)
class Name:
    """The name of a point: image path, words, row, and whether the point is a caption."""

    path: str
    words: str
    row: int
    is_caption: bool


@dataclass
class MapPoints:
    """The points: images, then captions. ``labels``: label -> values, and each image's value index (-1: none)."""

    positions: Floats = field(default_factory=lambda: np.zeros((0, 2)))
    rows: Integers = field(default_factory=lambda: np.zeros(0, np.int64))  # rows of the images
    texts: Integers = field(default_factory=lambda: np.zeros(0, np.int64))  # numbers of the captions
    owners: Integers = field(default_factory=lambda: np.zeros(0, np.int64))  # rows of the captions' images
    labels: dict[str, tuple[list[str], Integers]] = field(default_factory=dict)
    method: str = ""
    _images: dict[int, tuple[str, str]] = field(default_factory=dict)  # row -> path, words
    _captions: dict[int, str] = field(default_factory=dict)  # number -> caption

    @classmethod
    def of(cls, answer: Mapping[str, Any]) -> MapPoints:
        """Read a packed or plain answer of ``search_map``."""
        return _from_packed(answer) if "packed" in answer else _from_plain(answer)

    def __len__(self) -> int:
        return len(self.positions)

    def name(self, index: int) -> Name | None:
        """The name of a point; None until it is known."""
        if index < len(self.rows):
            row = int(self.rows[index])
            image_name = self._images.get(row)
            return None if image_name is None else Name(*image_name, row, False)
        number = index - len(self.rows)
        caption, row = self._captions.get(int(self.texts[number])), int(self.owners[number])
        image_name = self._images.get(row)
        return None if caption is None or image_name is None else Name(image_name[0], caption, row, True)

    def unnamed(self, indices: Iterable[int]) -> tuple[list[int], list[int]]:
        """The rows of images and numbers of captions whose names are unknown, for these points."""
        rows: dict[int, None] = {}
        texts: dict[int, None] = {}
        for index in indices:
            if self.name(index) is None:
                is_caption = index >= len(self.rows)
                number = index - len(self.rows)
                rows[int(self.owners[number] if is_caption else self.rows[index])] = None
                if is_caption:
                    texts[int(self.texts[number])] = None
        return list(rows), list(texts)

    def add_names(self, answer: Mapping[str, Any]) -> None:
        """Add the names of an answer of ``search_points``."""
        for entry in answer["images"]:
            self._images[int(entry["row"])] = (
                str(entry["path"]),
                str(entry["caption"]) or _label_text(entry["labels"]),
            )
        for entry in answer["captions"]:
            self._captions[int(entry["text"])] = str(entry["caption"])

    def indices_of_path(self, path: str) -> list[int]:
        """Indices of images with this path, if their names are known."""
        rows = [row for row, (known_path, _) in self._images.items() if known_path == path]
        indices: list[int] = np.flatnonzero(np.isin(self.rows, rows)).tolist()
        return indices

    def row_of(self, path: str) -> int:
        """The row of an image with this path; -1 if its name is unknown."""
        return next((row for row, (known_path, _) in self._images.items() if known_path == path), -1)

    # Colours
    def labels_to_color_by(self) -> list[str]:
        """Labels with more than one value; those that the fewest images have come first."""
        names = [name for name, (_, codes) in self.labels.items() if len(np.unique(codes[codes >= 0])) > 1]
        return sorted(names, key=lambda name: int((self.labels[name][1] >= 0).sum()))

    def colors(self, label: str, limit: int, other_color: int) -> tuple[list[int], list[tuple[str, int]]]:
        """The colour of each point, and the legend. The ``limit`` most frequent values of ``label`` have own colours.

        All other values have ``other_color``; a caption has the colour of its image. If ``label`` is "", images and
        captions have different colours.
        """
        images, captions = len(self.rows), len(self.texts)
        if not label:
            legend = [("images", 0), ("captions", 1)] if captions else []
            return [0] * images + [1] * captions, legend
        values, codes = self.labels[label]
        common = [code for code, _ in Counter(codes[codes >= 0].tolist()).most_common(limit)]
        table = np.full(len(values) + 1, other_color, np.int64)  # the last entry is for points without a value
        table[common] = np.arange(len(common))
        image_colors = table[codes]
        by_row = dict(zip(self.rows.tolist(), image_colors.tolist(), strict=True)) if captions else {}
        others = [values[code] for code in np.unique(codes[codes >= 0]).tolist() if code not in common]
        common_entries = [(values[code], color) for color, code in enumerate(common)]
        rest = others[0] if len(others) == 1 else f"{len(others)} others"
        legend = [*common_entries, *([(rest, other_color)] if others else [])]
        return image_colors.tolist() + [by_row.get(row, other_color) for row in self.owners.tolist()], legend

    def group_label_positions(
        self, groups: Sequence[int], legend: Iterable[tuple[str, int]], within: Sequence[int] | None = None
    ) -> list[tuple[str, Floats]]:
        """For each group of ``legend``: its text, and the position (2,) where its images lie closest together.

        ``groups``: the group of each point; ``within``: indices of the images to consider; None: all.
        """
        chosen = np.arange(len(self.rows)) if within is None else np.asarray(within, np.int64)
        image_groups, positions = np.asarray(groups, np.int64)[chosen], self.positions[chosen]
        members_by_text = [(text, positions[image_groups == group]) for text, group in legend]
        return [(text, _densest(members)) for text, members in members_by_text if len(members)]


def _densest(positions: Floats) -> Floats:
    """The mean of the points in the grid cell with the most points; ``positions``: (N, 2)."""
    counts, *edges = np.histogram2d(positions[:, 0], positions[:, 1], bins=_GRID_SIZE)
    cell = np.unravel_index(int(counts.argmax()), counts.shape)
    low, high = ([ends[number + step] for ends, number in zip(edges, cell, strict=True)] for step in (0, 1))
    is_inside = ((positions >= low) & (positions <= high)).all(1)
    densest: Floats = positions[is_inside].mean(0)
    return densest


def _from_plain(answer: Mapping[str, Any]) -> MapPoints:
    images, captions = answer["images"], answer["captions"]
    points = [*images, *captions]
    words = {int(point["row"]): str(point["caption"]) for point in captions}
    names = {
        int(point["row"]): (str(point["path"]), words.get(int(point["row"]), "") or _label_text(point["labels"]))
        for point in images
    }
    return MapPoints(
        positions=np.array([(point["x"], point["y"]) for point in points], np.float64).reshape(-1, 2),
        rows=np.array([point["row"] for point in images], np.int64),
        texts=np.arange(len(captions)),
        owners=np.array([point["row"] for point in captions], np.int64),
        labels=_codes(images),
        method=str(answer["method"]),
        _images=names,
        _captions={number: str(point["caption"]) for number, point in enumerate(captions)},
    )


def _from_packed(answer: Mapping[str, Any]) -> MapPoints:
    raw = answer["packed"]
    positions = np.stack([_numbers(raw["x"], "<f4"), _numbers(raw["y"], "<f4")], axis=1).astype(np.float64)
    rows, texts, owners = (_numbers(raw[name], "<i4").astype(np.int64) for name in ("rows", "texts", "owners"))
    labels = {
        name: (list(label["values"]), _numbers(label["codes"], "<i4").astype(np.int64))
        for name, label in raw["labels"].items()
    }
    if len(positions) != len(rows) + len(texts) or len(owners) != len(texts):
        raise ValueError("the numbers of positions, images and captions of the map differ")
    return MapPoints(positions, rows, texts, owners, labels, str(answer["method"]))


def _codes(images: Sequence[Mapping[str, Any]]) -> dict[str, tuple[list[str], Integers]]:
    """For each label column: its distinct values, and the index of each image's value; -1 for no value."""
    names = dict.fromkeys(name for image in images for name in image["labels"])
    codes_by_name = {}
    for name in names:
        values: dict[str, int] = {}
        image_values = [str(image["labels"].get(name, "")) for image in images]
        codes = [values.setdefault(value, len(values)) if value else -1 for value in image_values]
        codes_by_name[name] = list(values), np.array(codes, np.int64)
    return codes_by_name


def _label_text(labels: Mapping[str, str]) -> str:
    return ", ".join(f"{name}: {value}" for name, value in labels.items() if value)


def _numbers(text: str, kind: str) -> npt.NDArray[Any]:
    """The array in the base64 ``text``; ``kind``: its dtype."""
    return np.frombuffer(base64.b64decode(text), dtype=kind)
