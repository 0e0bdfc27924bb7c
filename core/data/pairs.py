"""The interface of a data set for the loader, training and evaluation.

Flow: ``core.data.dataset`` keeps all rows in memory; ``core.data.shard_pairs`` reads rows from tars on demand. This
base class counts unreadable images for both.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt
from torch import Tensor

from core.data.cache import Decoding
from core.data.errors import BadRow, ImageError, check_bad_share

Rows = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


class Pairs(ABC):
    """Images with their captions. A row is an image with at least one caption.

    Rows that the source could not read are not counted. If an image turns out to be unreadable, ``broken`` lists its
    row, and the loader uses another row instead. The row keeps its number, so that a run is the same with and without
    an image cache.
    """

    shard_rows = 0  # average rows per shard; 0 for data that is shuffled as a list

    def __init__(self, origin: str, label_names: tuple[str, ...], decoding: Decoding, pad_id: int) -> None:
        self.origin, self.label_names, self.decoding, self.pad_id = origin, label_names, decoding, pad_id
        self.broken: dict[int, str] = {}
        self.retryable: set[int] = set()  # broken rows that the system refused to read; the cache tries them again

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def image(self, row: int) -> Tensor:
        """The decoded image, (3, h, w) uint8, read-only. Raises ImageError if the image cannot be read."""

    @abstractmethod
    def path(self, row: int) -> Path:
        """The path of the image of ``row``."""

    @abstractmethod
    def labels(self, row: int) -> Mapping[str, str]:
        """The labels of ``row``: name -> value."""

    @abstractmethod
    def captions_of(self, row: int) -> tuple[str, ...]:
        """All captions of ``row``."""

    @abstractmethod
    def caption_tokens(self, rows: Rows, chances: Floats) -> Tensor:
        """Token ids (n, T) of one caption of each of ``rows`` (n,), selected by ``chances`` (n,) in [0, 1).

        Raises ImageError if a row's captions can no longer be read.
        """

    @abstractmethod
    def digest(self) -> str:
        """A digest (12 hex digits) of the rows' names and captions, independent of the folder.

        Ranks compare it at every start; unlike ``contents``, it reads no file sizes.
        """

    @abstractmethod
    def contents(self) -> Mapping[str, str]:
        """Counts and digests of the data's parts, independent of the folder; keys describe the parts in messages.

        Stored in checkpoints, to detect changed data when a run is resumed.
        """

    @abstractmethod
    def bad_rows(self) -> list[BadRow]:
        """Rows that the source could not read; only the first ones if there are many."""

    @abstractmethod
    def bad_count(self) -> int:
        """The number of rows that the source could not read."""

    @abstractmethod
    def bad_row(self, row: int, reason: str) -> BadRow:
        """``row`` and ``reason`` as a bad row, for messages."""

    def mark_broken(self, row: int, reason: str | ImageError) -> None:
        """Record that the image of ``row`` is unreadable."""
        self.broken[row] = str(reason)
        if isinstance(reason, ImageError) and reason.transient:
            self.retryable.add(row)

    def all_bad(self) -> list[BadRow]:
        """The bad rows of the source, and rows whose images have turned out to be unreadable."""
        return [*self.bad_rows(), *(self.bad_row(row, reason) for row, reason in sorted(self.broken.copy().items()))]

    def check(self, max_share: float) -> None:
        """Raise DataError, listing the bad rows, if they exceed ``max_share`` of all rows."""
        count = self.bad_count() + len(self.broken)
        check_bad_share(self.origin, self.all_bad(), len(self) + self.bad_count(), max_share, count)
