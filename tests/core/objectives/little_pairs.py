"""A batch that can be learnt by heart in a second: flat colours with captions of ten words, over a hundred word ids."""

from __future__ import annotations

from typing import Any

import torch

from core.data.batch import Batch, View
from core.model.towers.towers import resolve_architecture

START, END, PAD = 98, 99, 0


def little(architecture: str) -> dict[str, Any]:
    """``architecture`` with a hundred word ids, so that the vocabulary costs nothing."""
    config = resolve_architecture(architecture)
    for part in {"text_cfg", "multimodal_cfg"} & config.keys():
        config[part]["vocab_size"] = 100
    return config


def flat_pairs() -> Batch:
    """Four images of one colour each, with captions of their own."""
    colours = torch.tensor([[250, 0, 0], [0, 250, 0], [0, 0, 250], [250, 250, 250]], dtype=torch.uint8)
    texts = torch.tensor(
        [
            [START, 11, 12, 13, END, PAD],
            [START, 11, 14, 15, 16, END],
            [START, 17, END, PAD, PAD, PAD],
            [START, 18, 12, 19, END, PAD],
        ]
    )
    return Batch(torch.arange(4), texts, View(colours[:, :, None, None].expand(4, 3, 32, 32).clone()))
