"""Embeds images and captions of a data set, or queries.

Flow: checkpoint -> **encoder** -> index -> panel. The trainer's validation and the worker both use this module, so that
numbers in the window equal the numbers in the log.

Legend: B batch, N images, M captions, D embed, S side of the images, T tokens.
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
    text_to_image: Tensor  # (M,) int64, position in ``images`` of each caption's image
    rows: Tensor  # (N,) int64, the data set row of each image


ENCODING_IMAGES = "encoding images"  # the activity that is reported while images are encoded
OnImages: TypeAlias = Callable[[Tensor], object]
"""Called with images (B, 3, S, S) uint8."""


def encode_dataset(
    network: Network,
    dataset: PairDataset,
    runtime: Runtime,
    batch: int,
    progress: Progress,
    on_images: OnImages | None = None,
) -> Features:
    """Encode all readable images (resized and centre-cropped) and their captions; the results are on the CPU.

    ``on_images`` is called with each batch of images.
    """
    return encode_with_each({"": network}, dataset, runtime, batch, progress, on_images)[""]


def encode_with_each(
    networks: Mapping[str, Network],
    dataset: PairDataset,
    runtime: Runtime,
    batch: int,
    progress: Progress,
    on_images: OnImages | None = None,
) -> dict[str, Features]:
    """Encode a data set with several ``networks`` of the same image size; each image is decoded once.

    Raises DataError if no image is readable. `core.inference.extraction` encodes any layer, and has a cache.
    """
    row_parts, encoded = [], 0
    vectors: dict[str, list[Tensor]] = {name: [] for name in networks}
    (size,) = {network.image_size for network in networks.values()}
    with ExitStack() as stack:
        for network in networks.values():
            stack.enter_context(evaluating(network))
        for chunk, pixels in evaluation_batches(dataset, size, batch):
            row_parts.append(chunk)
            for name, network in networks.items():
                vectors[name].append(encode_images(network, pixels, runtime))
            if on_images is not None:
                on_images(pixels)
            encoded += len(chunk)
            progress(ENCODING_IMAGES, encoded, len(dataset))
    dataset.check(max_share=1.0)
    rows = torch.cat(row_parts)
    tokens, owner = evaluation_texts(dataset, rows)
    features = {}
    for name, network in networks.items():
        texts = []
        with evaluating(network):
            for start in range(0, len(tokens), batch):
                texts.append(encode_tokens(network, tokens[start : start + batch], runtime))
                progress("encoding captions", min(start + batch, len(tokens)), len(tokens))
        features[name] = Features(torch.cat(vectors[name]), torch.cat(texts), owner, rows)
    return features


@torch.no_grad()
def encode_images(network: Network, pixels: Tensor, runtime: Runtime) -> Tensor:
    """Unit vectors (B, D) float32 of ``pixels`` (B, 3, S, S) uint8, on the CPU."""
    with runtime.autocast():
        vectors = network.encode_images(pixels.to(runtime.device))
    return torch.nn.functional.normalize(vectors.float(), dim=-1).cpu()


PROJECTED, UNPROJECTED, BLOCK_PREFIX = "embedding", "before the projection", "block"


def check_layer(network: Network, layer: str) -> str:
    """The canonical name of ``layer``: "embedding", "before the projection", or "block 7" (also accepts "7").

    Raises UserError for any other name, or a block that the image tower does not have.
    """
    if layer in (PROJECTED, UNPROJECTED):
        return layer
    blocks = len(blocks_of(network.towers.clip.visual))
    number = layer.removeprefix(BLOCK_PREFIX).strip()
    if number.isdecimal() and 1 <= int(number) <= blocks:
        return f"{BLOCK_PREFIX} {int(number)}"
    choices = f"or a block, 1 to {blocks}" if blocks else "since the image tower has no blocks"
    raise UserError(f"the model has no layer {layer!r}; choose {UNPROJECTED!r}, {PROJECTED!r}, {choices}.")


@torch.no_grad()
def encode_layers(network: Network, pixels: Tensor, runtime: Runtime, layers: Sequence[str]) -> dict[str, Tensor]:
    """The features (B, width) float32 of ``pixels`` (B, 3, S, S) uint8 at each of ``layers``, on the CPU.

    ``layers``: names as returned by `check_layer`. Only the embedding has unit length; a linear probe uses the features
    before the projection.
    """
    outputs: dict[str, Tensor] = {}
    with runtime.autocast():
        towers = network.towers
        images = towers.normalise(pixels.to(runtime.device))
        if any(not layer.startswith(BLOCK_PREFIX) for layer in layers):
            image = towers.encode_image(images)
            outputs = {PROJECTED: image.pooled, UNPROJECTED: image.before_projection}
        for layer in layers:
            if layer.startswith(BLOCK_PREFIX):
                outputs[layer] = block_state(towers.clip.visual, images, int(layer.removeprefix(BLOCK_PREFIX)))
    features = {layer: outputs[layer].float() for layer in layers}
    if PROJECTED in features:
        features[PROJECTED] = torch.nn.functional.normalize(features[PROJECTED], dim=-1)
    return {layer: values.cpu() for layer, values in features.items()}


@torch.no_grad()
def encode_tokens(network: Network, tokens: Tensor, runtime: Runtime) -> Tensor:
    """Unit vectors (B, D) float32 of ``tokens`` (B, T), on the CPU."""
    with runtime.autocast():
        vectors = network.encode_texts(tokens.long().to(runtime.device))
    return torch.nn.functional.normalize(vectors.float(), dim=-1).cpu()


def encode_texts(network: Network, texts: Sequence[str], runtime: Runtime) -> Tensor:
    """Unit vectors (B, D) float32 of ``texts``, on the CPU."""
    return encode_tokens(network, network.towers.tokenize(list(texts)), runtime)


def check_finite(vectors: Tensor, model: str) -> Tensor:
    """``vectors``, unchanged. Raises UserError with the name ``model`` if a vector is not finite."""
    if not bool(torch.isfinite(vectors).all()):
        raise UserError(
            f"{model} produces NaN or infinite embeddings: its weights are damaged, or its training diverged; "
            "choose another checkpoint."
        )
    return vectors
