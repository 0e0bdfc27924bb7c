"""Key-value caches for decoding: for the prefix of each row, and for the image.

Flow: ``core.inference.generation`` allocates caches for a batch; ``core.model.towers.block`` writes and reads them.
Removing or reordering rows and images moves only entries whose position changes; the tensors are allocated once.

Legend: R rows, B images, H heads, L new tokens per row, T positions, E width of a head.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

KeysValues = tuple[Tensor, Tensor]  # keys and values of one layer


@dataclass(frozen=True)
class CachePosition:
    """The cache positions that a pass writes: the new tokens, up to ``end - 1``."""

    end: int  # number of positions that queries attend to, including new ones

    def write(self, cache: KeysValues, key: Tensor, value: Tensor) -> KeysValues:
        """Store new keys and values (R, H, L, E); return all keys and values up to ``end``, (R, H, end, E)."""
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
        self.layers = self._first_layers(capacity)

    @property
    def nbytes(self) -> int:
        return self.store.nbytes

    def resize(self, entries: int) -> None:
        """Limit the cache to the first ``entries`` entries."""
        self.layers = self._first_layers(entries)

    def move(self, sources: Sequence[int], used: int) -> None:
        """Copy the first ``used`` positions of entry ``sources[i]`` to entry i; sources may repeat."""
        changed_rows = [(target, source) for target, source in enumerate(sources) if target != source]
        if changed_rows:
            targets, origins = torch.tensor(changed_rows, device=self.store.device).unbind(1)
            for layer in self.store.flatten(0, 1):  # one layer at a time needs little extra memory
                part = layer[:, :, :used]  # (capacity, H, used, E)
                part.index_copy_(0, targets, part.index_select(0, origins))
        self.resize(len(sources))

    def _first_layers(self, entries: int) -> list[KeysValues]:
        return [(layer[0, :entries], layer[1, :entries]) for layer in self.store]


class RowLayout:
    """Maps rows to images, and lays out queries so that all rows of an image share the image's keys and values.

    ``owners``: the image of each row.

    Cross-attention handles all queries of an image in one call. If all images have the same number of rows, in order,
    the layout is a view; otherwise queries are copied into a grid of (images, maximum rows per image).
    """

    def __init__(self, owners: Sequence[int], images: int, device: torch.device) -> None:
        self.owners = list(owners)
        self.images = images
        counts = [0] * images
        positions = []  # of each row among the rows of its image
        for owner in self.owners:
            positions.append(counts[owner])
            counts[owner] += 1
        self.width = max(counts, default=1)
        slots = [owner * self.width + position for owner, position in zip(self.owners, positions, strict=True)]
        in_order = slots == list(range(images * self.width))
        self._slots = None if in_order else torch.tensor(slots, device=device)

    def spread(self, queries: Tensor) -> Tensor:
        """``queries`` (R, L, D) grouped by image, (B, width * L, D)."""
        _, length, width = queries.shape
        if self._slots is not None:
            grid = queries.new_zeros(self.images * self.width, length, width)
            queries = grid.index_copy_(0, self._slots, queries)
        return queries.reshape(self.images, self.width * length, width)

    def gather(self, outputs: Tensor, length: int) -> Tensor:
        """``outputs`` (B, width * L, D) per row, (R, L, D); the inverse of ``spread``."""
        outputs = outputs.reshape(self.images * self.width, length, outputs.shape[-1])
        return outputs if self._slots is None else outputs.index_select(0, self._slots)


def stable_order(sources: Sequence[int]) -> list[int]:
    """An order of ``sources`` that leaves as many as possible at their index, so that few entries are moved.

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
