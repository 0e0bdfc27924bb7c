"""Do the patches that *Why this match?* names carry the match? ``bench deletion --model RUN``.

The deletion test (Petsiuk, Das and Saenko 2018, "RISE"): of an image and its caption the fifth of the patches that is
most relevant is left out, and as many random ones are, twenty times. Where relevance means something the cosine falls
further without the relevant ones; by chance it would in half of the pairs. The "peer" is the share that is asked.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from core.bench.results import BenchResult, result
from core.checkpoint.opening import Model, open_model
from core.data.dataset import PairDataset, open_dataset
from core.data.views.making import centre_view
from core.inference.relevance import relevance
from core.metrics.statistics import wilson
from core.model.network import Network
from core.spec.errors import UserError

PAIRS = 200
SHARE = 0.2  # of the patches that are left out
DRAWS = 20  # random choices that the relevant ones are compared with
ASKED = 0.8


def run(model: str, data: str = "") -> list[BenchResult]:
    """A row with the share of pairs, and one with the lower end of its interval. UserError without a model or pairs."""
    if not model:
        raise UserError("name a model with --model, such as a run's folder: bench deletion --model RUN.")
    opened = open_model(model)
    source = data or opened.data.val
    if not source:
        raise UserError(f"{model} has no validation data; name pairs with --data.")
    network = opened.network
    dataset = open_dataset(source, opened.data, network.image_size, network.towers.tokenize)
    fell = [falls_further(network, image, caption) for image, caption in _pairs(opened, dataset)]
    return rows(sum(fell), len(fell))


def rows(fell: int, pairs: int) -> list[BenchResult]:
    """The share as a row, with its 95 % interval in the name; the share must reach what is asked."""
    share, between = fell / pairs, wilson(fell, pairs)
    name = f"relevant patches count, {pairs} pairs"
    low, high = 100 * between.low, 100 * between.high
    return [
        result(name, 100 * share, 100 * ASKED, "%", share / ASKED, 1.0),
        result(
            f"  95 % interval {low:.1f} to {high:.1f}, its low end", low, 100 * ASKED, "%", between.low / ASKED, None
        ),
    ]


def falls_further(network: Network, image: Tensor, caption: str, seed: int = 0) -> bool:
    """Whether the cosine of ``image`` (3, S, S) uint8 and ``caption`` falls further without the relevant patches.

    Further than it does on average over ``DRAWS`` random choices of as many. ModelError where a tower is no ViT.
    """
    towers = network.towers
    order = relevance(network, image, caption).patches.flatten().argsort(descending=True)
    count = len(order)
    generator = torch.Generator().manual_seed(seed)
    orders = torch.stack([order, *(torch.randperm(count, generator=generator) for _ in range(DRAWS))])
    device = towers.pixel_mean.device
    with torch.no_grad():
        images = towers.normalise(image[None].to(device)).expand(len(orders), -1, -1, -1)
        kept = towers.encode_image(images, patch_index=orders[:, round(SHARE * count) :].to(device)).pooled
        text = network.encode_texts(towers.tokenize([caption]).long().to(device))
    cosines = F.cosine_similarity(kept.float(), text.float())
    return bool(cosines[0] < cosines[1:].mean())


def _pairs(model: Model, dataset: PairDataset) -> Iterator[tuple[Tensor, str]]:
    """Images, evenly sampled, with their first captions; those that cannot be read are passed over."""
    chosen = np.linspace(0, len(dataset) - 1, min(PAIRS, len(dataset))).astype(int).tolist()
    for row in dict.fromkeys(chosen):
        if captions := dataset.captions_of(row):
            yield centre_view(dataset.image(row), model.network.image_size), captions[0]
