"""A small real data set: coloured shapes as PNG files with captions, for tests that train."""

from __future__ import annotations

import csv
from itertools import product
from pathlib import Path

from PIL import Image, ImageDraw

COLOURS = {"red": (220, 30, 30), "green": (20, 160, 60), "blue": (30, 60, 220), "black": (0, 0, 0)}
SHAPES = ("circle", "square", "bar")
SIZES = (12, 18, 24, 30)


def draw(colour: str, shape: str, size: int) -> Image.Image:
    """A 40 x 40 image of one shape on white."""
    image = Image.new("RGB", (40, 40), "white")
    pen = ImageDraw.Draw(image)
    box = (20 - size // 2, 20 - size // 2, 20 + size // 2, 20 + size // 2)
    if shape == "circle":
        pen.ellipse(box, fill=COLOURS[colour])
    elif shape == "square":
        pen.rectangle(box, fill=COLOURS[colour])
    else:
        pen.rectangle((0, 20 - size // 4, 40, 20 + size // 4), fill=COLOURS[colour])
    return image


def write_pairs(folder: Path) -> tuple[Path, Path]:
    """``train.csv`` with 36 pairs and ``val.csv`` with 12, whose captions are not in training."""
    folder.mkdir(parents=True, exist_ok=True)
    splits: dict[str, list[tuple[str, str]]] = {"train": [], "val": []}
    for colour, shape, size in product(COLOURS, SHAPES, SIZES):
        name = f"{colour}-{shape}-{size}.png"
        draw(colour, shape, size).save(folder / name)
        held_out = SIZES.index(size) == (list(COLOURS).index(colour) + SHAPES.index(shape)) % len(SIZES)
        splits["val" if held_out else "train"].append((name, f"a {colour} {shape} of size {size}"))
    for split, rows in splits.items():
        with (folder / f"{split}.csv").open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["filepath", "title"])
            writer.writerows(rows)
    return folder / "train.csv", folder / "val.csv"
