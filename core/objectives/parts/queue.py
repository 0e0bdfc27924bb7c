"""The teacher's features of previous batches, as additional negatives (MoCo, He et al. 2020; ALBEF, Li et al. 2021).

Flow: an objective computes ``similarities`` to the ``filled`` slots, then calls ``push``. Checkpoints include the
buffers, so that a resumed run has the same queue as an uninterrupted run.

Legend: B batch, D embed, Q slots of the queue.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

EMPTY_SIMILARITY = -1e4  # similarity to an empty slot; its softmax is 0, and so is 0 times its logarithm


class FeatureQueue(nn.Module):
    """A ring buffer of ``size`` pairs of features."""

    image: Tensor  # (Q, D)
    text: Tensor  # (Q, D)
    pushed: Tensor  # scalar int64, pairs pushed so far

    def __init__(self, size: int, width: int) -> None:
        super().__init__()
        self.register_buffer("image", torch.zeros(size, width))
        self.register_buffer("text", torch.zeros(size, width))
        self.register_buffer("pushed", torch.zeros((), dtype=torch.int64))

    def filled_slots(self) -> Tensor:
        """Which slots contain a pair: (Q,) bool."""
        return torch.arange(len(self.image), device=self.image.device) < self.pushed

    @torch.no_grad()
    def push(self, image: Tensor, text: Tensor) -> None:
        """Add pairs of unit vectors (B, D); to be called after the batch was compared with the queue."""
        size, count = len(self.image), len(image)
        newest = torch.arange(max(0, count - size), count, device=image.device)
        slots = (self.pushed + newest) % size
        image, text = image[newest].float(), text[newest].float()
        # Steps with non-finite values are skipped; storing these values would break all later steps.
        is_finite = (image.isfinite() & text.isfinite()).all(dim=1, keepdim=True)
        # Copies: the backward pass of this step still needs the previous values.
        self.image = self.image.index_copy(0, slots, torch.where(is_finite, image, self.image[slots]))
        self.text = self.text.index_copy(0, slots, torch.where(is_finite, text, self.text[slots]))
        self.pushed += count


def similarities(queries: Tensor, keys: Tensor, queued: Tensor, filled: Tensor, scale: Tensor) -> Tensor:
    """Logits (B, B + Q) of ``queries`` (B, D) against the batch's ``keys`` (B, D), then against ``queued`` (Q, D)."""
    batch = scale * queries @ keys.T
    previous = (scale * queries @ queued.T).masked_fill(~filled, EMPTY_SIMILARITY)
    return torch.cat([batch, previous], dim=1)
