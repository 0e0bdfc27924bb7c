"""open_clip's training loop on synthetic batches, which ``python -m core bench gpu`` compares with.

open_clip's ``train_one_epoch`` trains what its ``main`` would build: the model (optionally compiled), loss, AdamW and
autocast. Images are synthetic, so that no loader is measured.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from open_clip.loss import ClipLoss
from open_clip.model import CLIP
from open_clip_train.params import parse_args
from open_clip_train.train import train_one_epoch
from torch import Tensor

from core.bench.gpu.step_time import synchronize
from core.model.towers.architectures import resolve_architecture


@dataclass
class _Batches:
    """One batch repeated ``num_batches`` times, with the interface of open_clip's loader and data set."""

    batch: tuple[Tensor, Tensor]
    num_batches: int

    @property
    def num_samples(self) -> int:
        return self.num_batches * len(self.batch[0])

    @property
    def dataloader(self) -> _Batches:
        return self

    def set_epoch(self, epoch: int) -> None:
        """Every epoch is the same."""

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        return iter([self.batch] * self.num_batches)


def pairs_per_s(
    architecture: str,
    batch_size: int,
    precision: str,
    device: torch.device,
    compile_model: bool,
    warm_up: int,
    steps: int,
) -> float:
    """Pairs per second over ``steps`` steps after ``warm_up`` steps; ``precision``: "bf16" or "fp32"."""
    logging.getLogger().setLevel(logging.WARNING)
    torch.manual_seed(0)
    config = resolve_architecture(architecture)
    side, length = config["vision_cfg"]["image_size"], config["text_cfg"]["context_length"]
    arguments = parse_args([
        "--model", "ViT-B-32", "--batch-size", str(batch_size), "--grad-clip-norm", "1.0", "--skip-scheduler",
        "--precision", "amp_bf16" if precision == "bf16" else "fp32", "--device", device.type,
        "--log-every-n-steps", str(warm_up + steps),
    ])  # fmt: skip
    vars(arguments).update(
        rank=0,
        local_rank=0,
        world_size=1,
        distributed=False,
        device=str(device),
        distill=False,
        horovod=False,
        wandb=False,
        tensorboard=False,
    )
    eager_model: Any = CLIP(**config, output_dict=True).to(device)
    named_parameters = list(eager_model.named_parameters())
    optimizer = torch.optim.AdamW(
        [{"params": [p for _, p in named_parameters if p.ndim < 2], "weight_decay": 0.0},
         {"params": [p for _, p in named_parameters if p.ndim >= 2], "weight_decay": 0.2}],
        lr=1e-5, betas=(0.9, 0.98), eps=1e-6,
    )  # fmt: skip
    model = torch.compile(eager_model) if compile_model else eager_model
    images = torch.randn(batch_size, 3, side, side, device=device)
    texts = torch.randint(1, config["text_cfg"]["vocab_size"], (batch_size, length), device=device)

    def train(count: int) -> None:
        data = {"train": _Batches((images, texts), count)}
        train_one_epoch(model, data, ClipLoss(), 0, optimizer, None, None, None, arguments)
        synchronize(device)

    train(warm_up)
    start_time = time.perf_counter()
    train(steps)
    return steps * batch_size / (time.perf_counter() - start_time)
