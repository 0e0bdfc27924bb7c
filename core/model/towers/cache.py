"""Key-value caches for decoding: of each row's prefix, and of its image.

Flow: ``core.inference.generation`` allocates them for a batch; ``core.model.towers.block`` writes and reads them.
Removing or reordering rows and images moves only entries whose position changes; the tensors are allocated once.

Legend: R rows, B images, H heads, L new tokens per row, T positions, S tokens of an image, E width of a head.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

Pair = tuple[Tensor, Tensor]  # keys and values


@dataclass(frozen=True)
class CachePosition:
    """Where a pass writes to the cache: new tokens up to ``end - 1``."""

    end: int  # positions attended to, the new ones included

    def write(self, cache: Pair, key: Tensor, value: Tensor) -> Pair:
        """Stores new keys and values (R, H, L, E). Returns all that can be attended to, (R, H, end, E)."""
        keys, values = cache
        start = self.end - key.shape[2]
        keys[:, :, start : self.end] = key
        values[:, :, start : self.end] = value
        return keys[:, :, : self.end], values[:, :, : self.end]


class KeyValueCache:
    """Keys and values of all layers for ``capacity`` entries (rows or images) of up to ``length`` positions."""

    def __init__(
        self, layers: int, capacity: int, heads: int, length: int, width: int, dtype: torch.dtype, device: torch.device
    ) -> None:
        shape = (layers, 2, capacity, heads, length, width)
        # Not torch.empty: masked positions are multiplied by 0, and uninitialised memory may contain nan.
        self.store = torch.zeros(shape, dtype=dtype, device=device)  # (layers, 2, capacity, H, T, E)
        self.layers = self._first(capacity)

    @property
    def nbytes(self) -> int:
        return self.store.nbytes

    def resize(self, entries: int) -> None:
        """Limits the cache to the first ``entries``."""
        self.layers = self._first(entries)

    def move(self, sources: Sequence[int], used: int) -> None:
        """Copies entry ``sources[i]`` to entry i, for the first ``used`` positions; sources may repeat."""
        changed_rows = [(target, source) for target, source in enumerate(sources) if target != source]
        if changed_rows:
            targets, origins = torch.tensor(changed_rows, device=self.store.device).unbind(1)
            for layer in self.store.flatten(0, 1):  # one layer at a time: little extra memory
                part = layer[:, :, :used]  # (capacity, H, used, E)
                part.index_copy_(0, targets, part.index_select(0, origins))
        self.resize(len(sources))

    def _first(self, entries: int) -> list[Pair]:
        return [(layer[0, :entries], layer[1, :entries]) for layer in self.store]


class RowLayout:
    """Which image each row belongs to, and the layout in which the rows of an image share its keys and values.

    Cross-attention takes all queries of an image in one call. If every image has equally many rows, in order, this is a
    view; otherwise queries are copied into a grid of (images, most rows per image).
    """

    def __init__(self, owners: Sequence[int], images: int, device: torch.device) -> None:
        self.owners = list(owners)
        self.images = images
        counts = [0] * images
        ranks = []
        for owner in self.owners:
            ranks.append(counts[owner])
            counts[owner] += 1
        self.width = max(counts, default=1)
        slots = [owner * self.width + rank for owner, rank in zip(self.owners, ranks, strict=True)]
        in_order = slots == list(range(images * self.width))
        self._slots = None if in_order else torch.tensor(slots, device=device)

    def spread(self, queries: Tensor) -> Tensor:
        """(R, L, D) to (B, width * L, D): the queries of each image side by side."""
        _, length, width = queries.shape
        if self._slots is not None:
            grid = queries.new_zeros(self.images * self.width, length, width)
            queries = grid.index_copy_(0, self._slots, queries)
        return queries.reshape(self.images, self.width * length, width)

    def gather(self, outputs: Tensor, length: int) -> Tensor:
        """(B, width * L, D) back to (R, L, D)."""
        outputs = outputs.reshape(self.images * self.width, length, outputs.shape[-1])
        return outputs if self._slots is None else outputs.index_select(0, self._slots)


def stable_order(sources: Sequence[int]) -> list[int]:
    """An order of ``sources`` that leaves as many as possible at their index, so that few have to move.

    Returns a permutation p of range(len(sources)): index i gets ``sources[p[i]]``.
    """
    count = len(sources)
    slots: list[int | None] = [None] * count
    displaced = []
    for index, source in enumerate(sources):
        if source < count and slots[source] is None:
            slots[source] = index
        else:
            displaced.append(index)
    remaining = iter(displaced)
    return [next(remaining) if index is None else index for index in slots]
