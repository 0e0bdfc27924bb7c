"""Parses ``data.retain``: named data sets that a fine-tuned model should still retrieve."""

from __future__ import annotations

from pathlib import PurePath


def retained_sets(text: str) -> dict[str, str]:
    """Name -> path of each data set in ``text``: PATH or NAME=PATH, separated by semicolons.

    A set without a name is named after its file. If two sets have the same name, the later one gets a number.
    """
    sets: dict[str, str] = {}
    for part in filter(None, map(str.strip, text.split(";"))):
        name, equals, path = (piece.strip() for piece in part.partition("="))
        if not equals:
            name, path = "", part
        name = (name or PurePath(path).stem).replace("/", "-")
        number = 1 + sum(other.partition(" ")[0] == name for other in sets)
        sets[name if number == 1 else f"{name} {number}"] = path
    return sets
