"""Leaks: images that are in two splits, so that a model is evaluated on images it was trained on.

Flow: one source per split (or one source with a split column) -> ``leaks`` -> pairs of positions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from core.data.inspection.duplicates import Duplicates

Kind = Literal["same file", "same bytes", "nearly the same"]


@dataclass(frozen=True)
class Leak:
    """A pair of images in different splits, as positions in the list of all images."""

    left: int
    right: int
    kind: Kind


def leaks(files: Sequence[str], splits: Sequence[str], duplicates: Duplicates) -> list[Leak]:
    """The leaks among ``files`` (N,) of ``splits`` (N,); files with the split "" are ignored.

    A group of duplicates yields these pairs: its first image with each image of another split, and each other image of
    the first image's split with the first image of another split. Raises ValueError if the lengths differ.
    """
    first_uses: dict[str, int] = {}
    by_file: list[Leak] = []
    for position, (file, split) in enumerate(zip(files, splits, strict=True)):
        first = first_uses.setdefault(file, position) if split else position
        if splits[first] != split:
            by_file.append(Leak(first, position, "same file"))
    same_file_pairs = {(files[leak.left], files[leak.right]) for leak in by_file}
    kinds: tuple[tuple[Kind, list[list[int]]], ...] = (
        ("same bytes", duplicates.exact),
        ("nearly the same", duplicates.near),
    )
    near_leaks = [
        Leak(left, right, kind)
        for kind, groups in kinds
        for group in groups
        for left, right in _pairs_across_splits(group, splits)
        if (files[left], files[right]) not in same_file_pairs
    ]
    return [*by_file, *near_leaks]


def _pairs_across_splits(group: Sequence[int], splits: Sequence[str]) -> list[tuple[int, int]]:
    """Pairs of members of ``group`` in different splits; removing the first image of each pair removes all leaks."""
    inside = [position for position in group if splits[position]]
    elsewhere = [position for position in inside if splits[position] != splits[inside[0]]]
    copies = [position for position in inside[1:] if splits[position] == splits[inside[0]]]
    return [*((inside[0], position) for position in elsewhere), *((copy, elsewhere[0]) for copy in copies if elsewhere)]
