"""The rows of one batch under way, and what a search asks of them.

Flow: a ``TokenDecoder`` starts a batch; the search then calls, in turn, ``step`` with each row's token and ``keep``
with the rows that go on.

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


def check_finite(whole: Tensor) -> None:
    """GenerationError unless the logits' sums ``whole`` are numbers: those of a model that diverged are not."""
    if not bool(whole.isfinite().all()):
        raise GenerationError("the model's scores are not finite numbers; it diverged: choose an earlier checkpoint.")


class Rows(Protocol):
    """Rows under way in a decoder."""

    def step(self, tokens: Sequence[int]) -> Tensor:
        """Append one token to each row: the logits (R, V) of the next ones."""

    def keep(self, rows: Sequence[int]) -> None:
        """Row i becomes what row ``rows[i]`` is now; rows may be left out, moved and repeated."""


class TokenDecoder(Protocol):
    """What the searches need of a model; ``core.inference.generation.coca.CocaDecoder`` is CoCa's."""

    @property
    def context(self) -> int:
        """The most tokens of a caption, start and end included."""

    @property
    def vocabulary(self) -> int:
        """How many tokens there are."""

    def start(
        self, images: Tensor, prefixes: Sequence[Sequence[int]], rows_per_image: int, length: int
    ) -> tuple[Rows, Tensor]:
        """Begin with one row per image, after ``prefixes``: the rows, and the next tokens' logits (B, V).

        ``images`` (B, 3, height, width); room is kept for ``rows_per_image`` rows of ``length`` tokens.
        """


class PrefixRows(ABC):
    """Rows of a decoder without a cache: their prefixes, which run anew for each token, and their images."""

    def __init__(self, prefixes: Sequence[Sequence[int]]) -> None:
        """One row per image."""
        self.prefixes = [list(prefix) for prefix in prefixes]
        self.owners = list(range(len(prefixes)))  # each row's image

    @abstractmethod
    def run(self) -> Tensor:
        """Logits (R, V) after the prefixes."""

    @torch.inference_mode()
    def step(self, tokens: Sequence[int]) -> Tensor:
        """Append one token to each row: the logits (R, V) of the next ones."""
        for prefix, token in zip(self.prefixes, tokens, strict=True):
            prefix.append(token)
        return self.run()

    def keep(self, rows: Sequence[int]) -> None:
        """Row i becomes what row ``rows[i]`` is now."""
        self.prefixes = [list(self.prefixes[row]) for row in rows]
        self.owners = [self.owners[row] for row in rows]


class Decoding:
    """The rows of one batch under way: their caches, their lengths and their images' keys and values."""

    def __init__(
        self,
        text: KeyValueCache,
        decoder: KeyValueCache,
        images: KeyValueCache,
        lengths: list[int],
        step: Callable[[Decoding, Sequence[int]], Tensor],
    ) -> None:
        self._step = step
        self.text, self.decoder, self.images = text, decoder, images
        self.lengths = lengths  # tokens cached, row by row
        self.hidden: Tensor | None = None  # (R, T) True where the text tower may not attend: padding in a prompt
        self.layout = RowLayout(range(len(lengths)), len(lengths), text.store.device)
        for cache in (text, decoder):
            cache.resize(len(lengths))

    @property
    def nbytes(self) -> int:
        """Bytes of all cached keys and values."""
        return self.text.nbytes + self.decoder.nbytes + self.images.nbytes

    def step(self, tokens: Sequence[int]) -> Tensor:
        """Append one token to each row: the logits (R, V) of the next ones."""
        return self._step(self, tokens)

    @torch.inference_mode()
    def keep(self, rows: Sequence[int]) -> None:
        """Row i becomes what row ``rows[i]`` is now; an image left without rows is forgotten."""
        owners = [self.layout.owners[row] for row in rows]
        used = max(self.lengths)
        self.lengths = [self.lengths[row] for row in rows]
        self.text.move(rows, used)
        self.decoder.move(rows, used)
        if self.hidden is not None:
            self.hidden = self.hidden[torch.tensor(list(rows), device=self.hidden.device)]
        self._arrange(owners)

    def _arrange(self, owners: list[int]) -> None:
        alive = sorted(set(owners))
        count = len(alive)
        if count < self.layout.images:  # the last ones move into the gaps
            sources = [alive[index] for index in stable_order(alive)]
            self.images.move(sources, self.images.store.shape[4])
            position_of = {image: position for position, image in enumerate(sources)}
            owners = [position_of[owner] for owner in owners]
        if owners != self.layout.owners or count != self.layout.images:
            self.layout = RowLayout(owners, count, self.text.store.device)
