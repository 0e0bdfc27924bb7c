"""Signatures first; the bodies follow."""

from __future__ import annotations

from collections.abc import Iterator

from torch import Tensor

from core.config import RunConfig
from core.data.batch import Batch
from core.data.dataset import Log, PairDataset


class Loader:
    """Batches of training pairs; batch k is a function of (data, config, k) alone."""

    steps_per_epoch: int  # the last partial batch of an epoch is dropped

    def __init__(self, dataset: PairDataset, config: RunConfig, image_size: int, log: Log | None = None) -> None:
        """DataError when a batch is larger than the data."""
        raise NotImplementedError

    @property
    def total_steps(self) -> int:
        """Steps of the whole training, at least 1."""
        raise NotImplementedError

    def batches(self, first_step: int, last_step: int) -> Iterator[Batch]:
        """Batches first_step .. last_step - 1, counted from 0: a run that has done s steps goes on with s.

        The iterator's ``close()`` ends its thread or processes. DataError when too many pictures prove unreadable.
        """
        raise NotImplementedError


def evaluation_batches(dataset: PairDataset, image_size: int, batch_size: int) -> Iterator[tuple[Tensor, Tensor]]:
    """(rows (B,) int64, images (B, 3, S, S) uint8) over every readable picture, in order, the last batch partial."""
    raise NotImplementedError


def evaluation_texts(dataset: PairDataset, rows: Tensor) -> tuple[Tensor, Tensor]:
    """Token rows (C, T) int64 of the captions of ``rows``, and (C,) int64: each caption's position in ``rows``."""
    raise NotImplementedError
