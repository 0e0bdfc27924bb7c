"""The interface of a fusion, and the projections that all of them share.

Legend: B batch, P patches, L sequence of the text tower, F fused width.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from core.model.towers.text import TextFeatures


@dataclass(frozen=True)
class Fused:
    """Pairs as one representation each and, where asked for, word by word."""

    pooled: Tensor  # (B, F)
    words: Tensor | None = None  # (B, L, F), in the order of the text tower's tokens


class Fusion(nn.Module, ABC):
    """Joins patches and words of the same width ``width``; padding never reaches what is not padding."""

    needs_words = True  # whether it reads the state of each word even when only the pair is asked for

    def __init__(self, text_width: int, image_width: int, width: int) -> None:
        super().__init__()
        self.project_text = nn.Linear(text_width, width)
        self.project_image = nn.Linear(image_width, width)
        self.norm_image = nn.LayerNorm(width)
        self.norm = nn.LayerNorm(width)
        self.width = width

    @abstractmethod
    def forward(self, patches: Tensor, text: TextFeatures, every_word: bool = False, causal: bool = False) -> Fused:
        """``patches`` (B, P, image width) and their captions joined.

        ``every_word`` asks for the state of each word besides. ``causal``: a word sees the image and the words up to
        itself, and the image sees no word, so that each word can be asked for the next (the text tower has to be
        causal too). Raises ValueError when the state of each word is needed and was not kept.
        """

    def _read(self, patches: Tensor, text: TextFeatures) -> tuple[Tensor, Tensor]:
        """Patches (B, P, F) and words (B, L, F) in the fusion's width."""
        if text.tokens is None:
            raise ValueError(f"{type(self).__name__} reads each word, and the text tower kept none; ask for all tokens")
        return self._read_patches(patches), self.project_text(text.tokens)

    def _read_patches(self, patches: Tensor) -> Tensor:
        read: Tensor = self.norm_image(self.project_image(patches))
        return read

    def _fused(self, words: Tensor, text: TextFeatures, every_word: bool) -> Fused:
        """The pair is its pooled word: ``words`` (B, L, F), or (B, 1, F) when the pooled one is all that there is."""
        words = self.norm(words)
        if not every_word:
            return Fused(words[:, 0])
        return Fused(row_of(words, text.last)[:, 0], words)


def row_of(states: Tensor, index: Tensor) -> Tensor:
    """Of ``states`` (B, L, W) the one at ``index`` (B,): (B, 1, W)."""
    return states[torch.arange(len(index), device=index.device), index][:, None]


def word_mask(padding: Tensor, causal: bool) -> Tensor:
    """Which words a word may attend to: (B, L, L) bool, never padding (but a padding itself), queries by keys."""
    length = padding.shape[1]
    itself = torch.eye(length, dtype=torch.bool, device=padding.device)
    allowed = ~padding[:, None, :] | itself
    return allowed & torch.ones_like(itself).tril() if causal else allowed
