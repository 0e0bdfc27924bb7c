"""Image anchors: the image tower keeps the initial model's features of images that need no captions.

Legend: A images per step, S side of the model's images, D embed.
"""

from __future__ import annotations

import random

import torch
from torch import Tensor

from core.data.cache import read_in_threads
from core.data.dataset import Progress
from core.data.errors import DataError, ImageError
from core.data.preprocessing import model_input
from core.data.sources.folders import read_uncaptioned
from core.data.sources.opening import open_source
from core.model.network import Network
from core.objectives.anchors.anchors import Anchors
from core.spec.config import ImageAnchorsConfig, RunConfig
from core.spec.paths import expand_user

MAX_IMAGES = 3_000  # of more images, this many are drawn; they take 450 MB of memory at 224 pixels


class ImageAnchors(Anchors):
    """`Anchors` of images, so that the image tower does not drift on images unlike the training data."""

    name = "image_anchors"
    config_class = ImageAnchorsConfig
    activity = "encoding image anchors"

    def read_inputs(self, network: Network, config: RunConfig, progress: Progress) -> Tensor:
        """The images as the model sees them in evaluation, (N, 3, S, S) uint8."""
        files = find_files(self.source, progress)
        if len(files) > MAX_IMAGES:
            files = random.Random(config.seed).sample(files, MAX_IMAGES)
        images = []
        for image in read_in_threads(lambda file: model_input(file, network.image_size, config.data), files):
            if not isinstance(image, ImageError):
                images.append(image)
            progress("reading image anchors", len(images), len(files))
        if not images:
            raise DataError(f"No image of {self.source} can be read; choose other images.")
        return torch.stack(images)

    def encode(self, network: Network, inputs: Tensor) -> Tensor:
        """Unit vectors (A, D) of images (A, 3, S, S)."""
        return network.encode_images(inputs)


def find_files(source: str, progress: Progress) -> list[str]:
    """The image files of a data set, or of a folder of images without captions. Raises DataError if there are none."""
    try:
        return [row.file for row in open_source(source).rows]
    except DataError:
        folder = expand_user(source)
        images = read_uncaptioned(folder, progress) if folder.is_dir() else None
        if images is None or not images.rows or images.bad:
            raise
        return [row.file for row in images.rows]
