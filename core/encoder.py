"""From a checkpoint, or a network in training, to vectors: pictures and captions of a data set, or one query.

Flow: checkpoint -> **encoder** -> index -> panel. The trainer's validation and the worker encode through here alike, so
that a number in the window is the number in the log.

Legend: N pictures, M captions, D embed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from core import checkpoint
from core.config import RunConfig
from core.data.dataset import PairDataset
from core.data.loader import evaluation_batches
from core.model.network import Network, build_network
from core.rundir import RunDir
from core.runtime import Runtime

Progress = Callable[[str, int, int], None]
"""Called with what is being done, how many are done and of how many; may raise to end the work."""


@dataclass(frozen=True)
class Features:
    """A data set as unit vectors in one model's space."""

    images: Tensor  # (N, D) float32
    texts: Tensor  # (M, D) float32
    text_to_image: Tensor  # (M,) int64, the picture that each caption belongs to


def encode_dataset(network: Network, dataset: PairDataset, runtime: Runtime, batch: int, progress: Progress) -> Features:
    """Every picture (resized and centre-cropped) and every caption of ``dataset``, on the CPU."""
    was_training = network.training
    network.eval()
    try:
        images = []
        done = 0
        for pictures in evaluation_batches(dataset, network.image_size, batch):
            images.append(encode_images(network, pictures, runtime))
            done += len(pictures)
            progress("encoding pictures", done, len(dataset))
        texts = []
        for start in range(0, len(dataset.tokens), batch):
            texts.append(encode_tokens(network, dataset.tokens[start : start + batch], runtime))
            progress("encoding captions", start + len(texts[-1]), len(dataset.tokens))
    finally:
        network.train(was_training)
    return Features(torch.cat(images), torch.cat(texts), dataset.caption_rows)


@torch.no_grad()
def encode_images(network: Network, pictures: Tensor, runtime: Runtime) -> Tensor:
    """(B, 3, S, S) uint8 -> (B, D) float32 unit vectors on the CPU."""
    with runtime.autocast():
        vectors = network.encode_images(pictures.to(runtime.device))
    return torch.nn.functional.normalize(vectors.float(), dim=-1).cpu()


@torch.no_grad()
def encode_tokens(network: Network, tokens: Tensor, runtime: Runtime) -> Tensor:
    """(B, T) token ids -> (B, D) float32 unit vectors on the CPU."""
    with runtime.autocast():
        vectors = network.encode_texts(tokens.long().to(runtime.device))
    return torch.nn.functional.normalize(vectors.float(), dim=-1).cpu()


def encode_texts(network: Network, texts: Sequence[str], runtime: Runtime) -> Tensor:
    """Sentences -> (B, D) float32 unit vectors on the CPU."""
    return encode_tokens(network, network.towers.tokenize(list(texts)), runtime)


@dataclass(frozen=True)
class Loaded:
    """A checkpoint's networks, ready to encode: "student" and, where there is one, "teacher"."""

    run: RunDir
    name: str
    step: int
    config: RunConfig
    networks: dict[str, Network]


def load_checkpoint(run: RunDir, which: str, runtime: Runtime) -> Loaded:
    """Student and teacher of checkpoint ``which`` ("best", "last", a step or a name) in eval mode.

    Raises CheckpointError when there is none, or it is damaged.
    """
    name = checkpoint.resolve(run, which)
    info = checkpoint.read_info(run, name)
    config = RunConfig.model_validate(info.config)
    networks = {}
    for weights in checkpoint.weights_in(run, name):
        network = build_network(config, dict(info.model)).to(runtime.device)
        network.load_state_dict(checkpoint.load_weights(run, name, weights, runtime.device))
        networks[weights] = network.eval()
    return Loaded(run, name, info.step, config, networks)
