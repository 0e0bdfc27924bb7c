"""Embeddings of images and captions, from a checkpoint or a network in training: a data set, or one query.

Flow: checkpoint -> **encoder** -> index -> panel. The trainer's validation and the worker encode through here alike, so
that a number in the window is the number in the log.

Legend: B batch, N images, M captions, D embed, S side of the images, Wi width of the image tower.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TypeAlias

import torch
from torch import Tensor

from core.data.dataset import PairDataset
from core.data.loader import evaluation_batches, evaluation_texts
from core.model.eval_mode import evaluating
from core.model.network import Network
from core.model.runtime import Runtime
from core.model.towers.block_states import block_state, blocks_of
from core.spec.errors import UserError
from core.spec.reporter import Progress


@dataclass(frozen=True)
class Features:
    """The embeddings of a data set."""

    images: Tensor  # (N, D) float32
    texts: Tensor  # (M, D) float32
    text_to_image: Tensor  # (M,) int64, position among ``images`` of the image that each caption belongs to
    rows: Tensor  # (N,) int64, the data set's row of each image


Seen: TypeAlias = Callable[[Tensor], object]
"""Told of images (B, 3, S, S) uint8."""


def encode_dataset(
    network: Network,
    dataset: PairDataset,
    runtime: Runtime,
    batch: int,
    progress: Progress,
    seen: Seen | None = None,
) -> Features:
    """Every readable image (resized and centre-cropped) and its captions, on the CPU; ``seen`` is told of each."""
    return encode_by_each({"": network}, dataset, runtime, batch, progress, seen)[""]


def encode_by_each(
    networks: Mapping[str, Network],
    dataset: PairDataset,
    runtime: Runtime,
    batch: int,
    progress: Progress,
    seen: Seen | None = None,
) -> dict[str, Features]:
    """As `encode_dataset`, by each of ``networks``, whose images are of one size: each image is decoded once."""
    rows, images = encode_dataset_images(networks, dataset, runtime, batch, progress, seen)
    tokens, owner = evaluation_texts(dataset, rows)
    features = {}
    for name, network in networks.items():
        texts = []
        with evaluating(network):
            for start in range(0, len(tokens), batch):
                texts.append(encode_tokens(network, tokens[start : start + batch], runtime))
                progress("encoding captions", min(start + batch, len(tokens)), len(tokens))
        features[name] = Features(images[name], torch.cat(texts), owner, rows)
    return features


def encode_dataset_images(
    networks: Mapping[str, Network],
    dataset: PairDataset,
    runtime: Runtime,
    batch: int,
    progress: Progress,
    seen: Seen | None = None,
) -> tuple[Tensor, dict[str, Tensor]]:
    """The row of every readable image (N,) int64, and its unit vectors (N, D) by each network, in the same order, on
    the CPU.

    ``seen`` is told of the images, in that order. DataError when none is readable. `core.inference.extraction` does
    the same for any layer, and keeps what was encoded.
    """
    rows, done = [], 0
    vectors: dict[str, list[Tensor]] = {name: [] for name in networks}
    (size,) = {network.image_size for network in networks.values()}
    with ExitStack() as stack:
        for network in networks.values():
            stack.enter_context(evaluating(network))
        for chunk, pixels in evaluation_batches(dataset, size, batch):
            rows.append(chunk)
            for name, network in networks.items():
                vectors[name].append(encode_images(network, pixels, runtime))
            if seen is not None:
                seen(pixels)
            done += len(chunk)
            progress("encoding images", done, len(dataset))
    dataset.check(1.0)
    return torch.cat(rows), {name: torch.cat(parts) for name, parts in vectors.items()}


@torch.no_grad()
def encode_images(network: Network, pixels: Tensor, runtime: Runtime) -> Tensor:
    """(B, 3, S, S) uint8 -> (B, D) float32 unit vectors on the CPU."""
    with runtime.autocast():
        vectors = network.encode_images(pixels.to(runtime.device))
    return torch.nn.functional.normalize(vectors.float(), dim=-1).cpu()


PROJECTED, UNPROJECTED, BLOCK = "embedding", "before the projection", "block"


def check_layer(network: Network, layer: str) -> str:
    """``layer`` as it is named here: "embedding", "before the projection", or "block 7" (also just "7").

    UserError for anything else, and for a block that the image tower does not have.
    """
    if layer in (PROJECTED, UNPROJECTED):
        return layer
    blocks = len(blocks_of(network.towers.clip.visual))
    number = layer.removeprefix(BLOCK).strip()
    if number.isdecimal() and 1 <= int(number) <= blocks:
        return f"{BLOCK} {int(number)}"
    there = f"or a block, 1 to {blocks}" if blocks else "and its image tower has no blocks"
    raise UserError(
        f"there is no layer {layer!r} to take features from; choose {UNPROJECTED!r}, {PROJECTED!r}, {there}."
    )


@torch.no_grad()
def encode_layers(network: Network, pixels: Tensor, runtime: Runtime, layers: Sequence[str]) -> dict[str, Tensor]:
    """(B, 3, S, S) uint8 -> features (B, width) float32 on the CPU of each of ``layers``, as `check_layer` names them.

    The embedding is of unit length, the others are as they come; a linear probe takes those before the projection.
    """
    made: dict[str, Tensor] = {}
    with runtime.autocast():
        towers = network.towers
        images = towers.normalise(pixels.to(runtime.device))
        if any(not layer.startswith(BLOCK) for layer in layers):
            features = towers.encode_image(images)
            made = {PROJECTED: features.pooled, UNPROJECTED: features.before_projection}
        for layer in layers:
            if layer.startswith(BLOCK):
                made[layer] = block_state(towers.clip.visual, images, int(layer.removeprefix(BLOCK)))
    found = {layer: made[layer].float() for layer in layers}
    if PROJECTED in found:
        found[PROJECTED] = torch.nn.functional.normalize(found[PROJECTED], dim=-1)
    return {layer: values.cpu() for layer, values in found.items()}


@torch.no_grad()
def encode_tokens(network: Network, tokens: Tensor, runtime: Runtime) -> Tensor:
    """(B, T) token ids -> (B, D) float32 unit vectors on the CPU."""
    with runtime.autocast():
        vectors = network.encode_texts(tokens.long().to(runtime.device))
    return torch.nn.functional.normalize(vectors.float(), dim=-1).cpu()


def encode_texts(network: Network, texts: Sequence[str], runtime: Runtime) -> Tensor:
    """Sentences -> (B, D) float32 unit vectors on the CPU."""
    return encode_tokens(network, network.towers.tokenize(list(texts)), runtime)


def finite(vectors: Tensor, model: str) -> Tensor:
    """``vectors``; UserError naming the ``model`` where one is not finite."""
    if not bool(torch.isfinite(vectors).all()):
        raise UserError(
            f"{model} produces NaN or infinite embeddings: its weights are damaged, or its training diverged; "
            "choose another checkpoint."
        )
    return vectors
