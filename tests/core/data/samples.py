"""Real image files and data sets for the tests of core.data."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from core.data.draws import Integers
from core.data.views.distortion import draw_distortion
from core.data.views.making import cut_view
from core.data.views.recipe import ViewRecipe

CONTEXT = 12


def write_image(path: Path, seed: int, size: tuple[int, int] = (24, 20)) -> Path:
    """A PNG of coarse noise, ``size`` is width and height."""
    path.parent.mkdir(parents=True, exist_ok=True)
    width, height = size
    noise = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    Image.fromarray(noise).save(path)
    return path


def write_pairs(folder: Path, count: int, size: tuple[int, int] = (24, 20), captions: int = 1) -> Path:
    """A CSV of ``count`` images, each with ``captions`` rows."""
    rows = []
    for i in range(count):
        write_image(folder / "images" / f"{i:03}.png", i, size)
        rows += [
            (f"images/{i:03}.png", f"image {i} caption {k}" + " long" * (i % 3), f"c{i % 4}") for k in range(captions)
        ]
    path = folder / "pairs.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(("filepath", "title", "kind"))
        writer.writerows(rows)
    return path


def tokenize(texts: Sequence[str]) -> Tensor:
    """A token a word, padded with 0."""
    tokens = torch.zeros(len(texts), CONTEXT, dtype=torch.int64)
    for i, text in enumerate(texts):
        ids = [1 + sum(word.encode()) % 1000 for word in text.split()][:CONTEXT]
        tokens[i, : len(ids)] = torch.tensor(ids)
    return tokens


def make_view(
    images: Sequence[Tensor], recipe: ViewRecipe, size: int, seed: int, epoch: Integers, rows: Integers, view: int
) -> Tensor:
    """One view (B, 3, S, S) uint8 of ``images``, as the loader makes it."""
    crops = cut_view(images, recipe, size, seed, epoch, rows, view).contiguous()
    distortion = draw_distortion(recipe, seed, epoch, rows, view)
    return crops if distortion is None else distortion.apply(crops)
