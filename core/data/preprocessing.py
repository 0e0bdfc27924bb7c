"""From an image file to a model's input, in the same way for all callers.

Flow: data sets decode with ``decoding_for`` (and cache the result), then cut ``centre_view``; captioning, an index, and
a single image in the window call ``model_input``, which does both without a cache. Images for a published model are
decoded to the square input of its own preprocessing, which ``centre_view`` leaves unchanged.

Legend: S side of the model's images.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from core.data.cache import Decoding
from core.data.images import Resizing
from core.data.views.making import centre_view
from core.spec.config import DataConfig

OVERSAMPLE = 1.25  # shorter side of a decoded image / side of the model's images


class PublishedData(DataConfig):
    """Data settings for a published model, including the model's preprocessing."""

    resizing: Resizing = Resizing()


def decoding_for(image_size: int, config: DataConfig) -> Decoding:
    """The decoding for a model with ``image_size`` pixels per side: images are larger, so that views can be cut.

    For `PublishedData`, images are resized and cropped as in open_clip.
    """
    if isinstance(config, PublishedData):
        return Decoding(image_size, config.max_megapixels, resizing=config.resizing)
    side = max(image_size, round(image_size * OVERSAMPLE))
    return Decoding(side, config.max_megapixels, config.decoding == "fast")


def model_input(path: str | Path, image_size: int, config: DataConfig) -> Tensor:
    """The model's input for evaluation, (3, S, S) uint8. Raises ImageError if the file cannot be read."""
    pixels = decoding_for(image_size, config).read(path)
    return centre_view(torch.from_numpy(pixels).permute(2, 0, 1), image_size)
