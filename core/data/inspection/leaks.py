"""Leaks: images of one split that are in another too, so that a model is judged on what it was trained on.

Flow: sources of the splits (or one source with a column that names them) -> ``leaks`` -> pairs of places.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from core.data.inspection.duplicates import Duplicates

Kind = Literal["same file", "same bytes", "nearly the same"]


@dataclass(frozen=True)
class Leak:
    """Two positions in the joined list of images, in different splits."""

    left: int
    right: int
    kind: Kind


def leaks(files: Sequence[str], splits: Sequence[str], found: Duplicates) -> list[Leak]:
    """The leaks among ``files`` (N,), which are of ``splits`` (N,): of every group, its first image with each of
    another split, and its copies in the first's own split with the first of them. "" is no split.

    Raises ValueError when the two differ in length.
    """
    named: dict[str, int] = {}
    by_file: list[Leak] = []
    for position, (file, split) in enumerate(zip(files, splits, strict=True)):
        first = named.setdefault(file, position) if split else position
        if splits[first] != split:
            by_file.append(Leak(first, position, "same file"))
    known = {(files[leak.left], files[leak.right]) for leak in by_file}
    kinds: tuple[tuple[Kind, list[list[int]]], ...] = (("same bytes", found.exact), ("nearly the same", found.near))
    more = [
        Leak(left, right, kind)
        for kind, groups in kinds
        for group in groups
        for left, right in _across(group, splits)
        if (files[left], files[right]) not in known
    ]
    return [*by_file, *more]


def _across(group: Sequence[int], splits: Sequence[str]) -> list[tuple[int, int]]:
    """The first member of ``group`` that is of a split, with every member of another; its copies with one of them.

    Whoever leaves out the first of each pair has left out all that leaks from that split.
    """
    inside = [position for position in group if splits[position]]
    others = [position for position in inside if splits[position] != splits[inside[0]]]
    copies = [position for position in inside[1:] if splits[position] == splits[inside[0]]]
    return [*((inside[0], other) for other in others), *((copy, others[0]) for copy in copies if others)]
