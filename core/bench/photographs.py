"""Synthetic photographs, which compress and decode like real ones."""

from __future__ import annotations

import numpy as np
from PIL import Image

_LAYERS = (
    (6, 70.0),
    (24, 35.0),
    (96, 20.0),
    (400, 12.0),
    (1500, 6.0),
)  # number of waves across the image, their amplitude in pixel values


def photograph(width: int, height: int, seed: int) -> Image.Image:
    """An image with structure of every size."""
    generator = np.random.default_rng(seed)
    pixels = np.full((height, width, 3), 128, np.float32)
    for waves, strength in _LAYERS:
        coarse = generator.normal(0, strength, (max(2, waves * height // width), waves, 3)).astype(np.float32)
        for colour in range(3):
            layer = Image.fromarray(coarse[..., colour]).resize((width, height), Image.Resampling.BICUBIC)
            pixels[..., colour] += np.asarray(layer)
    return Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))
