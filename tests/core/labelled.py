"""The small data set of coloured shapes with the labels colour and shape, and manifests of one's own."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

from tests.core.images import write_pairs


def write(path: Path, table: Sequence[Sequence[str]]) -> Path:
    """A CSV file of these rows."""
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows(table)
    return path


def read(path: Path | str) -> list[list[str]]:
    """The rows of a CSV file, without its header."""
    return list(csv.reader(Path(path).read_text(encoding="utf-8").splitlines()))[1:]


def write_labelled(folder: Path) -> tuple[Path, Path]:
    """``labelled-train.csv`` with 36 pairs and ``labelled-val.csv`` with 12, with the columns colour and shape."""
    return label(write_pairs(folder)[0]), label(folder / "val.csv")


def label(manifest: Path) -> Path:
    """A copy of ``manifest`` beside it, with the columns colour and shape told from the files' names."""
    table = [["filepath", "title", "colour", "shape"]]
    table += [[name, title, *name.split("-")[:2]] for name, title in read(manifest)]
    return write(manifest.with_name(f"labelled-{manifest.name}"), table)
