"""Custom towers: ``towers.build``, a function of the user that modifies the architecture's model.

The function is given open_clip's module and returns it, or another with the same parts: ``visual`` takes normalised
images (B, 3, S, S) and returns (B, D), with ``image_size`` and ``output_dim`` as attributes; the text tower is
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


def changed_towers(towers: Towers, model_cfg: dict[str, Any], reference: str, code: CustomCode) -> Towers:
    """``towers`` after the function that ``reference`` names has changed their model.

    Raises CodeError when it cannot be loaded, fails, or gives no model of images and captions.
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
    """CodeError unless the image tower gives vectors as wide as the captions'."""
    visual = towers.clip.visual
    training, side = visual.training, towers.image_size
    images = towers.pixel_mean.new_zeros(1, 3, side, side)
    visual.eval()  # statistics of batch norms stay as they are
    shape = tuple(towers.encode_image(images).pooled.shape)
    visual.train(training)
    if shape != (1, towers.embed_dim):
        raise CodeError(
            f"{reference}: the image tower gives {shape} for one image; it must be (1, {towers.embed_dim}), the width "
            "of the captions' vectors."
        )
