"""The interface of a fusion, and the projections that all fusions share.

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
    """The joint representation of each pair and, if requested, of each word."""

    pooled: Tensor  # (B, F)
    words: Tensor | None = None  # (B, L, F), in the order of the text tower's tokens


class Fusion(nn.Module, ABC):
    """Joins patches and words in a common width ``width``. Padding does not affect other tokens."""

    needs_words = True  # whether the fusion reads every word's state even if only the pair is requested

    def __init__(self, text_width: int, image_width: int, width: int) -> None:
        super().__init__()
        self.project_text = nn.Linear(text_width, width)
        self.project_image = nn.Linear(image_width, width)
        self.norm_image = nn.LayerNorm(width)
        self.norm = nn.LayerNorm(width)
        self.width = width

    @abstractmethod
    def forward(self, patches: Tensor, text: TextFeatures, every_word: bool = False, causal: bool = False) -> Fused:
        """The joint representation of ``patches`` (B, P, image width) and their captions.

        ``every_word`` adds the state of each word. ``causal``: a word attends to the image and to the words up to
        itself, and patches attend to no words, so that each word can predict the next word (the text tower must be
        causal too). Raises ValueError if the fusion needs word states that the text tower did not return.
        """

    def _project_both(self, patches: Tensor, text: TextFeatures) -> tuple[Tensor, Tensor]:
        """Patches (B, P, F) and words (B, L, F), projected to the fusion's width."""
        if text.tokens is None:
            raise ValueError(f"{type(self).__name__} needs every word's state; call encode_text with all_tokens=True")
        return self._project_patches(patches), self.project_text(text.tokens)

    def _project_patches(self, patches: Tensor) -> Tensor:
        projected: Tensor = self.norm_image(self.project_image(patches))
        return projected

    def _to_fused(self, words: Tensor, text: TextFeatures, every_word: bool) -> Fused:
        """The output from the last layer's ``words``: (B, L, F), or (B, 1, F) if it computed only the pooled word."""
        words = self.norm(words)
        if not every_word:
            return Fused(words[:, 0])
        return Fused(row_of(words, text.pooled_position)[:, 0], words)


def row_of(states: Tensor, index: Tensor) -> Tensor:
    """The state at ``index`` (B,) of each row of ``states`` (B, L, W): (B, 1, W)."""
    return states[torch.arange(len(index), device=index.device), index][:, None]


def word_mask(padding: Tensor, causal: bool) -> Tensor:
    """Which words each word may attend to, queries x keys: (B, L, L) bool. Only padding attends to padding."""
    length = padding.shape[1]
    itself = torch.eye(length, dtype=torch.bool, device=padding.device)
    allowed = ~padding[:, None, :] | itself
    return allowed & torch.ones_like(itself).tril() if causal else allowed
