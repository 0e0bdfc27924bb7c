"""Captioning validation during training: the loss on validation captions, and sample captions.

Flow: if captioning has a weight, the validator calls both functions; it writes losses to ``evaluated`` events and
captions to ``sample`` events.

Legend: B images of a batch, C captions of a batch, T tokens; ``owner`` (C,): the position in the batch of a caption's
image.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from core.data.dataset import PairDataset
from core.data.loader import evaluation_batches, evaluation_texts
from core.inference.generation.captions import generate
from core.inference.generation.fusion import caption_decoder
from core.model.eval_mode import evaluating
from core.model.network import Network
from core.model.runtime import Runtime
from core.objectives.captioning import next_words
from core.spec.generation import GenerationSettings
from core.spec.reporter import Progress

SAMPLE_IMAGES = 8
_MAX_SAMPLE_TOKENS = 28  # of a sample caption, without start and end
_CHUNK_CAPTIONS = 64  # captions per forward pass, limited by the size of vocabulary logits


def caption_losses(
    networks: Mapping[str, Network],
    dataset: PairDataset,
    runtime: Runtime,
    split: str,
    batch: int,
    progress: Progress,
    through: Literal["decoder", "fusion"] = "decoder",
) -> dict[str, float]:
    """``<split>/<student|teacher>/caption_loss``: mean over all words, with teacher forcing.

    ``through``: the part of each network that predicts words.
    """
    totals = {role: torch.zeros(2, dtype=torch.float64) for role in networks}
    finished = 0
    for rows, pixels in evaluation_batches(dataset, next(iter(networks.values())).image_size, batch):
        tokens, owner = evaluation_texts(dataset, rows)
        for role, network in networks.items():
            totals[role] += _losses(network, pixels, tokens, owner, runtime, through)
        finished += len(rows)
        progress("validating captions", finished, len(dataset))
    return {f"{split}/{role}/caption_loss": float(total / max(1.0, float(n))) for role, (total, n) in totals.items()}


@torch.no_grad()
def _losses(network: Network, pixels: Tensor, tokens: Tensor, owner: Tensor, runtime: Runtime, through: Any) -> Tensor:
    """The summed loss over the words of ``tokens`` (C, T), and the number of words; (2,) float64."""
    total = torch.zeros(2, dtype=torch.float64)
    device = runtime.device
    with evaluating(network), runtime.autocast():
        towers = network.towers
        image = towers.encode_image(towers.normalise(pixels.to(device)))
        for start in range(0, len(tokens), _CHUNK_CAPTIONS):
            chunk = tokens[start : start + _CHUNK_CAPTIONS]
            owners = owner[start : start + _CHUNK_CAPTIONS].to(device)
            text = towers.encode_text(chunk.to(device), all_tokens=True)
            words = next_words(network, chunk, image.rows(owners), text, through)
            loss = F.cross_entropy(words.logits.float(), words.labels, reduction="sum")
            total += torch.tensor([float(loss), len(words.labels)], dtype=torch.float64)
    return total


def caption_sample(networks: Mapping[str, Network], dataset: PairDataset, runtime: Runtime) -> dict[str, Any]:
    """Evenly spaced sample images with their captions and the greedy caption of each network, as plain data.

    ``{"student": [{"image", "caption", "truth"}, ...], "teacher": ...}``
    """
    rows, pixels = _sample_images(dataset, next(iter(networks.values())).image_size)
    return {
        role: [
            {"image": str(dataset.path(row)), "caption": caption, "truth": (dataset.captions_of(row) or [""])[0]}
            for row, caption in zip(rows, _greedy_captions(network, pixels, runtime), strict=True)
        ]
        for role, network in networks.items()
    }


def _sample_images(dataset: PairDataset, size: int) -> tuple[list[int], Tensor]:
    """Evenly spaced readable images, and their rows."""
    count = min(SAMPLE_IMAGES, len(dataset))
    rows, pixels = [], []
    for position in range(count):
        first = position * len(dataset) // count
        for image_rows, images in evaluation_batches(dataset, size, batch_size=1, first=first):
            if int(image_rows[0]) not in rows:
                rows.append(int(image_rows[0]))
                pixels.append(images)
            break  # the first readable image from row ``first`` on is enough
    return rows, torch.cat(pixels)


@torch.no_grad()
def _greedy_captions(network: Network, pixels: Tensor, runtime: Runtime) -> Sequence[str]:
    """The greedy captions of ``pixels`` (B, 3, S, S) uint8."""
    with evaluating(network), runtime.autocast():
        towers = network.towers
        dtype = None if runtime.device.type == "cpu" else torch.get_autocast_dtype(runtime.device.type)
        decoder = caption_decoder(network, dtype if torch.is_autocast_enabled(runtime.device.type) else None)
        longest = min(_MAX_SAMPLE_TOKENS, decoder.context - 2)
        settings = GenerationSettings(search="greedy", max_tokens=longest, min_tokens=0)
        images = towers.normalise(pixels.to(runtime.device))
        captions = generate(decoder, images, settings)
    return [towers.detokenize(candidates[0].tokens).strip() for candidates in captions]
