"""Positions of captions at which words are predicted, computed on the host so that no synchronisation is needed.

Flow: ``Captioning`` predicts the next word at every position, ``MaskedWords`` the word at masked positions.

Legend: B batch, T tokens of the longest caption, N words, V vocabulary, W width.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from core.ranks.transfer import to_device


@dataclass(frozen=True)
class WordPositions:
    """Positions of predicted words, the words, and their batch rows; (N,) int64 each, caption by caption."""

    places: Tensor  # indices into the flattened positions of all captions
    labels: Tensor
    pairs: Tensor

    def to_device(self, device: torch.device) -> WordPositions:
        """A copy on ``device``."""
        return WordPositions(
            to_device(self.places, device), to_device(self.labels, device), to_device(self.pairs, device)
        )

    def select(self, states: Tensor) -> Tensor:
        """The entries (N, W) of ``states`` (B, positions, W) at these positions."""
        return states.flatten(0, 1).index_select(0, self.places)


@dataclass(frozen=True)
class WordLogits:
    """A network's predictions of words, and the words."""

    logits: Tensor  # (N, V)
    labels: Tensor  # (N,) int64
    pairs: Tensor  # (N,) int64, the batch row of each word


def next_word_positions(tokens: Tensor, pad_id: int) -> WordPositions:
    """The positions of ``tokens`` (B, T), which are in host memory, that predict the next word; out of B (T - 1).

    Position t reads words 0 to t and predicts word t + 1; the last position and padding predict nothing:

        start  a    red  end  pad        input
        a      red  end  (pad)           target, shifted by one
    """
    labels = tokens[:, 1:]
    is_target = labels != pad_id
    places = is_target.flatten().nonzero()[:, 0]
    return WordPositions(places, labels[is_target], places // max(1, labels.shape[1]))
