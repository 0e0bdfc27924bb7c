"""The rows of each batch: a function of (data, config, step) alone, however the batch is split into parts.

Flow: ``core.data.parts`` gets some rows of a batch from the order and makes their views. There are four orders: all
rows once per epoch; a subset of the rows; labelled and unlabelled rows in a fixed ratio; and streams over shards, for
data that is too large to shuffle as a list.

Legend: N rows, B rows of a batch, V streams, W rows of a window.
"""

from __future__ import annotations

import math
from typing import Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from core.data.draws import Integers, hashes, seed_of
from core.data.labelling import Labels, SplitOrder
from core.data.permutation import permute_positions
from core.spec.config import RunConfig

# Stream ids that keep random draws independent; `labelling` also has 1004 and 1005, but as the last of three keys.
ORDER, WINDOWS, SHIFT = 1001, 1004, 1005
MIXED_SHARDS = 64  # number of shards whose rows are mixed: the windows of all streams together

Rows = npt.NDArray[np.int64]


class Order(Protocol):
    """The rows of each batch."""

    batch_size: int  # B, unlabelled rows included
    steps_per_epoch: int

    def take(self, step: int, first: int, end: int) -> tuple[Rows, Integers]:
        """Rows ``first`` to ``end - 1`` of batch ``step``; and the epoch, a single number or one per row."""
        ...


def batch_order(
    count: int, shard_rows: int, config: RunConfig, labels: Labels | None, left_out: Tensor | None = None
) -> Order:
    """The order in which ``config`` trains ``count`` rows, without the rows ``left_out`` (N,).

    ``shard_rows``: average rows per shard; 0 for data that is not in shards.
    """
    size, ratio = config.optim.batch_size, config.data.unlabelled_ratio
    if labels is not None and ratio > 0:
        return SplitOrder(labels, size, ratio, config.seed)
    if shard_rows:
        return StreamOrder(count, size, config.data.streams, config.seed, shard_rows * MIXED_SHARDS)
    if left_out is not None and left_out.any():
        return SubsetOrder(left_out, size, config.seed)
    return EpochOrder(count, size, config.seed)


class EpochOrder:
    """Every row once per epoch, shuffled; the last, partial batch is dropped."""

    def __init__(self, count: int, batch_size: int, seed: int) -> None:
        self.batch_size, self.steps_per_epoch = batch_size, count // batch_size
        self._count, self._seed = count, seed
        self._epoch, self._order = -1, torch.empty(0, dtype=torch.int64)

    def order(self, epoch: int) -> Tensor:
        """(N,) all rows in the order of ``epoch``."""
        if epoch != self._epoch:
            generator = torch.Generator().manual_seed(seed_of(self._seed, epoch, ORDER))
            self._order = torch.randperm(self._count, generator=generator)
            self._epoch = epoch
        return self._order

    def take(self, step: int, first: int, end: int) -> tuple[Rows, Integers]:
        epoch, position = divmod(step, self.steps_per_epoch)
        start = position * self.batch_size
        return self.order(epoch)[start + first : start + end].numpy(), epoch


class SubsetOrder:
    """A shuffled subset of the rows. ``steps_per_epoch`` counts all rows, so that the number of steps is unchanged."""

    def __init__(self, left_out: Tensor, batch_size: int, seed: int) -> None:
        """``left_out`` (N,) bool: rows that are in no batch."""
        self._rows = (~left_out).nonzero().squeeze(1).numpy()
        self._order = EpochOrder(len(self._rows), batch_size, seed)
        self.batch_size, self.steps_per_epoch = batch_size, len(left_out) // batch_size

    def take(self, step: int, first: int, end: int) -> tuple[Rows, Integers]:
        positions, epochs = self._order.take(step, first, end)
        return self._rows[positions], epochs


class StreamOrder:
    """V equally long streams of contiguous rows; each stream contributes B / V rows to every batch.

    A process with some of the streams reads only the shards of these streams, and batches do not depend on how streams
    are assigned to processes. V is the greatest common divisor of ``streams`` and the batch size.

    The windows of a stream are read in random order, and rows are shuffled within each window: consecutive batches read
    the same few shards, which stay open and in the page cache. In each epoch, the first window begins at a random row.
    """

    def __init__(self, count: int, batch_size: int, streams: int, seed: int, window_rows: int) -> None:
        """``window_rows``: number of rows in one window of each stream, all streams together."""
        self.batch_size = batch_size
        self.streams = math.gcd(streams, batch_size)
        self.window = max(1, window_rows // self.streams)  # W
        self._rows_per_stream = batch_size // self.streams  # in each batch
        self.steps_per_epoch = count // self.streams // self._rows_per_stream
        self._count, self._seed = count, seed

    def take(self, step: int, first: int, end: int) -> tuple[Rows, Integers]:
        epoch, position = divmod(step, self.steps_per_epoch)
        stream, row_of_stream = np.divmod(np.arange(first, end, dtype=np.int64), self._rows_per_stream)
        starts = stream * self._count // self.streams
        sizes = (stream + 1) * self._count // self.streams - starts
        windows, offsets = np.divmod(position * self._rows_per_stream + row_of_stream, self.window)
        count = sizes // self.window  # full windows; the remainder is read last
        full = windows < count
        windows[full] = permute_positions(windows[full], count[full], self._seed, epoch, WINDOWS, stream[full])
        lengths = np.where(full, self.window, sizes % self.window)
        offsets = permute_positions(offsets, lengths, self._seed, epoch, ORDER, stream, windows)  # within the window
        shift = (hashes(self._seed, epoch, SHIFT, stream) % sizes.astype(np.uint64)).astype(np.int64)
        return starts + (windows * self.window + offsets + shift) % sizes, epoch
