"""From an image's file to a model's input: the one way, whoever asks.

Flow: data sets decode by ``decoding_for`` (and cache that), then cut ``centre_view``; captioning, an index, and a
image tried in the window take ``model_input``, which is the same two steps without a cache. Images for a model that
is not a run's are decoded to the square that the model's own preprocessing gives; ``centre_view`` is that square.

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

OVERSAMPLE = 1.25  # shorter side of a decoded image, in sides of the model's images


class PublishedData(DataConfig):
    """Data settings of a model that no run of this program trained: its own preprocessing, as it was published."""

    resizing: Resizing = Resizing()


def decoding_for(image_size: int, config: DataConfig) -> Decoding:
    """How images are decoded for a model with ``image_size`` pixels a side: larger, so that views can be cut.

    For `PublishedData`, as open_clip does: resized once, and cropped.
    """
    if isinstance(config, PublishedData):
        return Decoding(image_size, config.max_megapixels, resizing=config.resizing)
    side = max(image_size, round(image_size * OVERSAMPLE))
    return Decoding(side, config.max_megapixels, config.decoding == "fast")


def model_input(path: str | Path, image_size: int, config: DataConfig) -> Tensor:
    """(3, S, S) uint8 as evaluation shows it to the model. ImageError when it cannot be read."""
    pixels = decoding_for(image_size, config).read(path)
    return centre_view(torch.from_numpy(pixels).permute(2, 0, 1), image_size)
