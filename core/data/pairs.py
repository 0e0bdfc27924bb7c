"""The interface of a data set for the loader, training and evaluation.

Flow: ``core.data.dataset`` has every row in memory; ``core.data.shard_pairs`` reads rows from tars on demand. Both
count unreadable images here.
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

    Rows that the source could not read are not counted. A row whose image turns out to be unreadable keeps its number,
    so that a run is the same whether images are cached or not: ``broken`` lists it, and the loader replaces it.
    """

    sharded = False  # whether rows are drawn by streams, for data too large to shuffle as a list
    shard_rows = 0  # average rows per shard; 0 for data that is shuffled as a list

    def __init__(self, origin: str, label_names: tuple[str, ...], decoding: Decoding, pad_id: int) -> None:
        self.origin, self.label_names, self.decoding, self.pad_id = origin, label_names, decoding, pad_id
        self.broken: dict[int, str] = {}
        self.unread: set[int] = set()  # broken rows that the system refused to read; not cached as broken

    @abstractmethod
    def __len__(self) -> int: ...

    @property
    @abstractmethod
    def streamed(self) -> bool:
        """Whether images are decoded on every access."""

    @abstractmethod
    def image(self, row: int) -> Tensor:
        """(3, h, w) uint8, shorter side as decoded, read-only. ImageError when it cannot be read."""

    @abstractmethod
    def path(self, row: int) -> Path:
        """The path of the image of ``row``."""

    @abstractmethod
    def labels(self, row: int) -> Mapping[str, str]:
        """Label name -> value of ``row``."""

    @abstractmethod
    def captions_of(self, row: int) -> tuple[str, ...]:
        """Every caption of ``row``."""

    @abstractmethod
    def some_tokens(self, rows: Rows, chances: Floats) -> Tensor:
        """(n, T) token ids of one caption of each of ``rows`` (n,), selected by ``chances`` (n,) in [0, 1).

        ImageError when a row's captions can no longer be read.
        """

    @abstractmethod
    def digest(self) -> str:
        """12 hex digits over names and captions of the rows; independent of their folder."""

    @abstractmethod
    def contents(self) -> Mapping[str, str]:
        """Counts and digests of parts of the data, by name; independent of their folder. Names the differing parts."""

    @abstractmethod
    def bad_rows(self) -> list[BadRow]:
        """Rows that the source could not read; the first of them if there are many."""

    @abstractmethod
    def bad_count(self) -> int:
        """Number of rows that the source could not read."""

    @abstractmethod
    def bad_row(self, row: int, reason: str) -> BadRow:
        """``row`` as a bad one, for messages."""

    def mark_broken(self, row: int, reason: str | ImageError) -> None:
        """Record that the image of ``row`` is unreadable."""
        self.broken[row] = str(reason)
        if isinstance(reason, ImageError) and reason.transient:
            self.unread.add(row)

    def all_bad(self) -> list[BadRow]:
        """Bad rows of the source, and images found unreadable since."""
        return [*self.bad_rows(), *(self.bad_row(row, reason) for row, reason in sorted(self.broken.copy().items()))]

    def check(self, max_share: float) -> None:
        """DataError listing the bad rows when they exceed ``max_share`` of all rows."""
        count = self.bad_count() + len(self.broken)
        check_bad_share(self.origin, self.all_bad(), len(self) + self.bad_count(), max_share, count)
