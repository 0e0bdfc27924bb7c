"""Custom towers: ``towers.build``, a user's function that modifies the architecture's model.

The function receives open_clip's module and returns the module, or another module with the same parts: ``visual`` maps
normalised images (B, 3, S, S) to (B, D), and has the attributes ``image_size`` and ``output_dim``; the text tower is
open_clip's.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from core.custom.calling import check_takes_one
from core.custom.failures import file_of, user_code
from core.custom.loading import CustomCode
from core.model.towers.towers import Towers
from core.spec.run.code import CodeError


def customise_towers(towers: Towers, model_cfg: dict[str, Any], reference: str, code: CustomCode) -> Towers:
    """``towers`` with their model changed by the user's function ``reference``.

    Raises CodeError if the function cannot be loaded, fails, or does not return a model of images and captions.
    """
    build = code.load(reference)
    check_takes_one(reference, build, "model")
    with user_code(reference, file_of(build)):
        model = build(towers.clip)
    if not isinstance(model, nn.Module):
        raise CodeError(f"{reference} returned {type(model).__name__}; it must return the model.")
    with user_code(reference, file_of(build)):
        changed = Towers(model, model_cfg)
        _try_images(changed, reference)
    return changed


@torch.no_grad()
def _try_images(towers: Towers, reference: str) -> None:
    """Raise CodeError unless image vectors and caption vectors have the same width."""
    visual = towers.clip.visual
    training, side = visual.training, towers.image_size
    images = towers.pixel_mean.new_zeros(1, 3, side, side)
    visual.eval()  # so that the test image does not change batch norm statistics
    shape = tuple(towers.encode_image(images).pooled.shape)
    visual.train(training)
    if shape != (1, towers.embed_dim):
        raise CodeError(
            f"{reference}: the image tower returned {shape} for one image; it must return (1, {towers.embed_dim}), the "
            "width of caption vectors."
        )
