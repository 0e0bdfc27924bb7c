"""Parses ``data.retain``: named data sets that a fine-tuned model should still retrieve."""

from __future__ import annotations

from itertools import chain, count
from pathlib import PurePath


def retained_sets(text: str) -> dict[str, str]:
    """Name -> path of each data set in ``text``: PATH or NAME=PATH, separated by semicolons.

    A set without a name is named after its file. If two sets have the same name, the later one gets a number. A name
    contains no slash, so that an = in a folder's name is part of the path.
    """
    sets: dict[str, str] = {}
    for part in filter(None, map(str.strip, text.split(";"))):
        name, equals, path = (piece.strip() for piece in part.partition("="))
        if not equals or "/" in name:
            name, path = "", part
        name = name or PurePath(path).stem
        numbered = (f"{name} {number}" for number in count(2))
        sets[next(free for free in chain([name], numbered) if free not in sets)] = path
    return sets
