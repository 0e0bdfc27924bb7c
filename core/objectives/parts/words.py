"""Where captions are asked for a word: positions that are found on the host, so that their number is known at once.

Flow: ``Captioning`` asks at every position for the word after it, ``MaskedWords`` at those that are masked.

Legend: B batch, T tokens of the longest caption, N words, W width.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from core.ranks.transfer import sent


@dataclass(frozen=True)
class WordPositions:
    """Where words of captions are asked for, which they are, and the pair of each. (N,) int64, caption by caption."""

    places: Tensor  # among the positions of all captions, row by row
    labels: Tensor
    pairs: Tensor

    def sent(self, device: torch.device) -> WordPositions:
        """The same on ``device``."""
        return WordPositions(sent(self.places, device), sent(self.labels, device), sent(self.pairs, device))

    def of(self, states: Tensor) -> Tensor:
        """Of ``states`` (B, positions, W) those that are asked: (N, W)."""
        return states.flatten(0, 1).index_select(0, self.places)


def positions(tokens: Tensor, pad_id: int) -> WordPositions:
    """The positions of ``tokens`` (B, T), in the host's memory, that predict a word."""
    keep, labels = shifted(tokens, pad_id)
    places = keep.flatten().nonzero()[:, 0]
    return WordPositions(places, labels, places // max(1, keep.shape[1]))


def shifted(tokens: Tensor, pad_id: int) -> tuple[Tensor, Tensor]:
    """Which positions of ``tokens`` (B, T) predict, (B, T - 1) bool, and the words they are to predict, (N,).

    Position t reads words 0 to t and predicts word t + 1; the last reads nothing new, and padding is not predicted:

        start  a    red  end  pad        read
        a      red  end  (pad)           predicted, from one position before
    """
    labels = tokens[:, 1:]
    keep = labels != pad_id
    return keep, labels[keep]
