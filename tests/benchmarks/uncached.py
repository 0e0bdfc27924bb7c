"""Decoding without any cache, as open_clip does it, behind the interface that our searches use.

The image is encoded once for each beam and the whole prefix runs anew, through the module's own forward, for each
token and every beam, finished or not. With it ``tests.benchmarks.caption`` has a peer that needs no transformers, and a
reference for the tokens of every search.

Legend: B images, R rows, K rows per image, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from core.inference.generation.decoding import PrefixRows


class UncachedDecoder:
    """An open_clip CoCa with a class token; ``context`` and ``vocabulary`` as ``CocaDecoder`` has them."""

    def __init__(self, model: Any) -> None:
        self.model = model
        self.context: int = model.text_decoder.context_length
        self.vocabulary: int = model.text_decoder.text_projection.shape[1]

    def start(
        self, images: Tensor, prefix: Sequence[int], rows_per_image: int, length: int
    ) -> tuple[UncachedRows, Tensor]:
        """Begin with one row per image; ``length`` is not needed."""
        with torch.no_grad():
            latent, tokens = self.model._encode_image(images.repeat_interleave(rows_per_image, dim=0))
        rows = UncachedRows(self.model, latent, tokens, rows_per_image, prefix)
        return rows, rows.run()


class UncachedRows(PrefixRows):
    """Rows under way: their prefixes and their images."""

    def __init__(self, model: Any, latent: Tensor, tokens: Tensor, width: int, prefix: Sequence[int]) -> None:
        super().__init__(prefix, len(tokens) // width)
        self._model, self._latent, self._tokens, self._width = model, latent, tokens, width

    def run(self) -> Tensor:
        """All K rows of all images through the whole model; those that nobody waits for repeat another's prefix."""
        grid = [[*self.prefixes[0]] for _ in range(len(self._tokens))]
        positions, used = [], [0] * (len(self._tokens) // self._width)
        for prefix, owner in zip(self.prefixes, self.owners, strict=True):
            position = owner * self._width + used[owner]
            used[owner] += 1
            grid[position] = prefix
            positions.append(position)
        with torch.no_grad():
            output = self._model(
                None, torch.tensor(grid), image_latent=self._latent, image_embs=self._tokens, output_labels=False
            )
        logits: Tensor = output["logits"][torch.tensor(positions), -1]
        return logits
