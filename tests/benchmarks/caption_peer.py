"""The other side of ``tests.benchmarks.caption``: open_clip's own ``CoCa.generate``, run with its own transformers.

Flow: started with a folder on its path that holds a transformers open_clip can generate with; reads one JSON object a
line (``seed, images, search``) and answers with one (``seconds, tokens``). The model and the images come from
seeds, so that both sides have the same without passing them.
"""

from __future__ import annotations

import json
import sys
import time
from typing import Any

import open_clip
import torch
from torch import Tensor, nn

ARCHITECTURE = "coca_ViT-B-32"
LENGTH = 30  # tokens, start and end included
MIN_LENGTH = 5
BEAMS, GROUPS = 6, 3


def random_coca(seed: int) -> nn.Module:
    """A randomly initialised CoCa, in evaluation; open_clip leaves the vocabulary's projection unset."""
    torch.manual_seed(seed)
    model: nn.Module = open_clip.create_model(ARCHITECTURE)
    projection = model.get_parameter("text_decoder.text_projection")
    nn.init.normal_(projection, std=projection.shape[0] ** -0.5)
    return model.eval()


def random_images(count: int, seed: int) -> Tensor:
    """Random colour patches with noise, as the model takes them: (count, 3, 224, 224)."""
    generator = torch.Generator().manual_seed(seed)
    patches = torch.randn(count, 3, 7, 7, generator=generator) * 1.5
    smooth = nn.functional.interpolate(patches, size=224, mode="bilinear")
    return smooth + 0.3 * torch.randn(count, 3, 224, 224, generator=generator)


def theirs(model: Any, images: Tensor, search: str) -> tuple[float, list[list[int]]]:
    """Seconds, and each image's tokens, by open_clip's generate."""
    started = time.perf_counter()
    if search == "greedy":
        made = model.generate(images, seq_len=LENGTH, min_seq_len=MIN_LENGTH, generation_type="top_k", top_k=1)
    else:
        made = model.generate(
            images,
            seq_len=LENGTH,
            min_seq_len=MIN_LENGTH,
            generation_type="beam_search",
            num_beams=BEAMS,
            num_beam_groups=GROUPS,
        )
    return time.perf_counter() - started, made.tolist()


def main() -> None:
    """Answer requests until the input ends."""
    models: dict[int, nn.Module] = {}
    for line in sys.stdin:
        request = json.loads(line)
        if request["seed"] not in models:
            models.clear()
            models[request["seed"]] = random_coca(request["seed"])
        images = random_images(request["images"], request["seed"])
        seconds, tokens = theirs(models[request["seed"]], images, request["search"])
        print(json.dumps({"seconds": seconds, "tokens": tokens}), flush=True)


if __name__ == "__main__":
    main()
