"""Small images and an untrained model, for tests that index real files."""

from __future__ import annotations

import shutil
from itertools import product
from pathlib import Path

import numpy as np

from core.search.index.build import Report, build_index
from core.search.index.nearest import Floats
from core.search.index.storage import IndexReader, Record
from tests.core.images import COLOURS, SHAPES, SIZES, draw

MODEL = "open_clip:sd-tiny"


def write_images(folder: Path, captions: bool = True) -> list[Path]:
    """48 images in folders named after their colour; with ``captions`` a sidecar beside each."""
    paths = []
    for colour, shape, size in product(COLOURS, SHAPES, SIZES):
        path = folder / colour / f"{shape}-{size}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        draw(colour, shape, size).save(path)
        if captions:
            path.with_suffix(".txt").write_text(f"a {colour} {shape} of size {size}\n", encoding="utf-8")
        paths.append(path)
    return sorted(paths)


def build(source: Path, folder: Path, log: list[str] | None = None, drop_missing: bool = False) -> Report:
    """An index of ``source`` by the untrained model."""
    said: list[str] = [] if log is None else log
    return build_index(MODEL, str(source), folder, lambda *_: None, said.append, drop_missing=drop_missing)


def alive(folder: Path) -> dict[str, Record]:
    """What can be found in an index, by path."""
    reader = IndexReader(folder)
    rows = [row for row, lives in enumerate(reader.alive()) if lives]
    return {record.path: record for record in reader.records(rows)}


def files_of(folder: Path) -> dict[str, bytes]:
    """Every file of an index but its lock."""
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.name != ".lock"}


def copy(folder: Path, to: Path) -> Path:
    """A copy, times of change included."""
    shutil.copytree(folder, to)
    return to


DIM = 32


def quiet(doing: str, done: int, total: int) -> None:
    """Nobody watches."""


def vectors(count: int, seed: int = 0) -> Floats:
    drawn = np.random.default_rng(seed).standard_normal((count, DIM), dtype=np.float32)
    unit: Floats = drawn / np.linalg.norm(drawn, axis=1, keepdims=True)
    return unit
