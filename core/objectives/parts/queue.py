"""The teacher's features of previous batches, as further negatives (MoCo, He et al. 2020; ALBEF, Li et al. 2021).

Flow: an objective compares with ``similarities`` of what is ``filled``, then calls ``push``; the buffers are saved with
each checkpoint, so that a resumed run has the queue of the uninterrupted one.

Legend: B batch, D embed, Q slots of the queue.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

EMPTY = -1e4  # similarity to an empty slot: its softmax is 0, and 0 times its logarithm too


class FeatureQueue(nn.Module):
    """A ring of ``size`` pairs of features, the oldest of which make room for new ones."""

    image: Tensor  # (Q, D)
    text: Tensor  # (Q, D)
    pushed: Tensor  # scalar int64, pairs pushed so far

    def __init__(self, size: int, width: int) -> None:
        super().__init__()
        self.register_buffer("image", torch.zeros(size, width))
        self.register_buffer("text", torch.zeros(size, width))
        self.register_buffer("pushed", torch.zeros((), dtype=torch.int64))

    def filled(self) -> Tensor:
        """(Q,) bool: which slots hold a pair."""
        return torch.arange(len(self.image), device=self.image.device) < self.pushed

    @torch.no_grad()
    def push(self, image: Tensor, text: Tensor) -> None:
        """Add pairs of unit vectors (B, D), after the batch was compared with the queue."""
        size, count = len(self.image), len(image)
        newest = torch.arange(max(0, count - size), count, device=image.device)
        slots = (self.pushed + newest) % size
        image, text = image[newest].float(), text[newest].float()
        # A step that is not finite is skipped; what it leaves here would spoil all that follow.
        sound = (image.isfinite() & text.isfinite()).all(dim=1, keepdim=True)
        # Copies: the loss of this step still needs what was there for its gradient.
        self.image = self.image.index_copy(0, slots, torch.where(sound, image, self.image[slots]))
        self.text = self.text.index_copy(0, slots, torch.where(sound, text, self.text[slots]))
        self.pushed += count


def similarities(queries: Tensor, keys: Tensor, queued: Tensor, filled: Tensor, scale: Tensor) -> Tensor:
    """Logits (B, B + Q) of ``queries`` (B, D) with the batch's ``keys`` (B, D), then the ``queued`` (Q, D)."""
    batch = scale * queries @ keys.T
    previous = (scale * queries @ queued.T).masked_fill(~filled, EMPTY)
    return torch.cat([batch, previous], dim=1)
