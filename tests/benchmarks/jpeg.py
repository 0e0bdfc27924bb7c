"""A phone's 12 MP JPEG made ready for a model: how long it takes, and how near the plain path's pixels are.

Flow: ``tests.benchmarks.caption`` prints these rows. Scaled decoding reads a JPEG at a fraction of its size; the plain
path decodes all of it; what follows is the same.

Legend: S side of the model's images.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image

from core.bench.photographs import photograph
from core.bench.results import BenchResult, result
from core.data.preprocessing import decoding_for
from core.data.views.making import centre_view
from core.inference.images import ImageInput, read_image
from core.spec.config import DataConfig

SIDE = 224  # S of the published CoCa models
DATA = DataConfig(max_megapixels=200)  # how it is decoded
AT_MOST = 40.0  # milliseconds
MEAN_TOLERANCE = 3.0  # of 255 levels: by how much pixels may differ from the plain path's on average, letters included
TOLERANCE = 32.0  # of 255 levels, any pixel
ROUNDS = 9

Pixels = npt.NDArray[np.int64]


def jpeg_rows() -> list[BenchResult]:
    """Milliseconds, against what is allowed and against the plain path; and the mean difference of pixels."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "photograph.jpg")
        photograph(4000, 3000, 0).save(path, quality=92)
        ours, plain = [], []
        for _ in range(ROUNDS):
            ours.append(_milliseconds(lambda: scaled(path, SIDE)))
            plain.append(_milliseconds(lambda: plainly(path, SIDE)))
        mean = float(difference(path, SIDE).mean())
    mine, other = statistics.median(ours), statistics.median(plain)
    return [
        result("12 MP JPEG to model input, at most", mine, AT_MOST, "ms", AT_MOST / mine, 1.0),
        result("  against decoding all of it", mine, other, "ms", other / mine, None),
        result("  pixels' mean difference, tolerance", mean, MEAN_TOLERANCE, "of 255", MEAN_TOLERANCE / mean, 1.0),
    ]


def scaled(path: Path, side: int) -> Pixels:
    """The model's input as we make it: (S, S, 3)."""
    image = read_image(ImageInput(str(path)), side, DATA).image
    assert image is not None
    return image.permute(1, 2, 0).numpy().astype(np.int64)


def plainly(path: Path, side: int) -> Pixels:
    """The same by the plain path: decode all of it, resize the shorter side, then the middle square; (S, S, 3)."""
    with Image.open(path) as file:
        image = file.convert("RGB")
    scale = decoding_for(side, DATA).shorter_side / min(image.size)
    image = image.resize((round(image.width * scale), round(image.height * scale)), Image.Resampling.BICUBIC)
    pixels = torch.from_numpy(np.array(image)).permute(2, 0, 1)
    return centre_view(pixels, side).permute(1, 2, 0).numpy().astype(np.int64)


def difference(path: Path, side: int) -> Pixels:
    """Levels by which each pixel differs between the two, (S, S, 3)."""
    levels: Pixels = np.abs(scaled(path, side) - plainly(path, side))
    return levels


def _milliseconds(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return 1000 * (time.perf_counter() - started)
