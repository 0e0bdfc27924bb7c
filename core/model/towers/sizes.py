"""The input size of an architecture, without loading weights."""

from __future__ import annotations

import json
from functools import lru_cache

import torch

from core.model.towers.architectures import resolve_architecture
from core.model.towers.towers import build_towers


def input_sizes(architecture: str) -> tuple[int, int]:
    """The side of the input of ``architecture``, and of a patch, in pixels.

    Builds the towers on the meta device. Raises ModelError if they cannot be built.
    """
    return _sizes(json.dumps(resolve_architecture(architecture), sort_keys=True))


@lru_cache(maxsize=32)
def _sizes(model_cfg: str) -> tuple[int, int]:
    config = json.loads(model_cfg)
    images = {name: config[name] for name in ("embed_dim", "vision_cfg", "quick_gelu") if name in config}
    with torch.device("meta"):
        # A placeholder, as the real text tower may need a model that is not downloaded.
        towers = build_towers({**images, "text_cfg": {"layers": 1}})
    return towers.image_size, towers.patch_side
