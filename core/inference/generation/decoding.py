"""The rows of a batch during decoding, and the interface that the search algorithms use (greedy, beam, sampling).

A row is one partial caption: an image has one row in greedy search, and several in beam search.

Flow: a ``TokenDecoder`` starts a batch; the search then alternates ``step``, with one token per row, and ``keep``, with
the rows that continue.

Legend: B images, R rows, T positions, V vocabulary.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Protocol

import torch
from torch import Tensor

from core.model.towers.cache import KeyValueCache, RowLayout, stable_order
from core.spec.generation import GenerationError


def check_finite(normaliser: Tensor) -> None:
    """Raise GenerationError if the logits' ``normaliser`` is not finite, as after training that diverged."""
    if not bool(normaliser.isfinite().all()):
        raise GenerationError("the model's scores are not finite: its training diverged; choose an earlier checkpoint.")


class Rows(Protocol):
    """Rows of a decoder."""

    def step(self, tokens: Sequence[int]) -> Tensor:
        """Append one token to each row; returns the next logits (R, V)."""

    def keep(self, rows: Sequence[int]) -> None:
        """Replace row i by the old row ``rows[i]``; rows may be dropped, moved and repeated."""


class TokenDecoder(Protocol):
    """The interface of a model for the search algorithms; see ``core.inference.generation.coca.CocaDecoder``."""

    @property
    def context(self) -> int:
        """The maximum number of tokens of a caption, including start and end."""

    @property
    def vocabulary(self) -> int:
        """Size of the vocabulary."""

    def start(self, images: Tensor, prefix: Sequence[int], rows_per_image: int, length: int) -> tuple[Rows, Tensor]:
        """Start with one row per image, after ``prefix``; returns the rows and the next logits (B, V).

        ``images`` (B, 3, height, width); caches have room for ``rows_per_image`` rows of ``length`` tokens.
        """


class PrefixRows(ABC):
    """Rows, all of equal length, of a decoder without a cache: each token runs the model on the prefixes again."""

    def __init__(self, prefix: Sequence[int], images: int) -> None:
        """One row per image."""
        self.prefixes = [list(prefix) for _ in range(images)]
        self.owners = list(range(images))  # the image of each row

    @abstractmethod
    def run(self) -> Tensor:
        """Logits (R, V) after the prefixes."""

    @torch.inference_mode()
    def step(self, tokens: Sequence[int]) -> Tensor:
        """Append one token to each row; returns the next logits (R, V)."""
        for prefix, token in zip(self.prefixes, tokens, strict=True):
            prefix.append(token)
        return self.run()

    def keep(self, rows: Sequence[int]) -> None:
        """Replace row i by the old row ``rows[i]``."""
        self.prefixes = [list(self.prefixes[row]) for row in rows]
        self.owners = [self.owners[row] for row in rows]


class CachedRows:
    """Rows of a decoder with a cache, all of equal length: their caches, and the keys and values of the images."""

    def __init__(
        self,
        text: KeyValueCache,
        decoder: KeyValueCache,
        images: KeyValueCache,
        rows: int,
        length: int,
        step: Callable[[CachedRows, Sequence[int]], Tensor],
    ) -> None:
        self._step = step
        self.text, self.decoder, self.images = text, decoder, images
        self.length = length  # number of cached tokens per row
        self.masked_keys: Tensor | None = None  # (1, T) True for keys of the text tower that a prompt's padding masks
        self.layout = RowLayout(range(rows), rows, text.store.device)
        for cache in (text, decoder):
            cache.resize(rows)

    @property
    def nbytes(self) -> int:
        """Bytes of all cached keys and values."""
        return self.text.nbytes + self.decoder.nbytes + self.images.nbytes

    def step(self, tokens: Sequence[int]) -> Tensor:
        """Append one token to each row; returns the next logits (R, V)."""
        return self._step(self, tokens)

    @torch.inference_mode()
    def keep(self, rows: Sequence[int]) -> None:
        """Replace row i by the old row ``rows[i]``; images without rows are dropped."""
        owners = [self.layout.owners[row] for row in rows]
        self.text.move(rows, self.length)
        self.decoder.move(rows, self.length)
        self._arrange(owners)

    def _arrange(self, owners: list[int]) -> None:
        alive = sorted(set(owners))
        count = len(alive)
        if count < self.layout.images:  # the last images move into the gaps
            sources = [alive[index] for index in stable_order(alive)]
            tokens_per_image = self.images.store.shape[4]
            self.images.move(sources, tokens_per_image)
            position_of = {image: position for position, image in enumerate(sources)}
            owners = [position_of[owner] for owner in owners]
        if owners != self.layout.owners or count != self.layout.images:
            self.layout = RowLayout(owners, count, self.text.store.device)
