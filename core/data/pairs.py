"""What the loader, training and evaluation ask of a data set, however its rows are kept.

Flow: ``core.data.dataset`` has every row in memory; ``core.data.shard_pairs`` reads them from tars as they are asked
for. What is unreadable is counted here for both.
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
    """Images with their captions. A row is an image; it has one caption or more.

    What the source itself could not read is no row. A row whose image proves unreadable keeps its number, so that a
    run is the same whether images are cached or streamed: ``broken`` lists it, and the loader puts another row in its
    place.
    """

    sharded = False  # whether rows are drawn by streams, as from data that are too large to be shuffled as a list
    shard_rows = 0  # of a shard, on average; 0 for data that are shuffled as a list

    def __init__(self, origin: str, label_names: tuple[str, ...], decoding: Decoding, pad_id: int) -> None:
        self.origin, self.label_names, self.decoding, self.pad_id = origin, label_names, decoding, pad_id
        self.broken: dict[int, str] = {}
        self.unread: set[int] = set()  # the broken ones that the system refused to read: nothing of them is kept

    @abstractmethod
    def __len__(self) -> int: ...

    @property
    @abstractmethod
    def streamed(self) -> bool:
        """Whether images are decoded anew each time."""

    @abstractmethod
    def image(self, row: int) -> Tensor:
        """(3, h, w) uint8, shorter side as decoded; not to be written to. ImageError when it cannot be read."""

    @abstractmethod
    def path(self, row: int) -> Path:
        """Where the image of ``row`` lies."""

    @abstractmethod
    def labels(self, row: int) -> Mapping[str, str]:
        """Label name -> value of ``row``."""

    @abstractmethod
    def captions_of(self, row: int) -> tuple[str, ...]:
        """Every caption of ``row``."""

    @abstractmethod
    def some_tokens(self, rows: Rows, chances: Floats) -> Tensor:
        """(n, T) token ids of one caption of each of ``rows`` (n,), chosen by ``chances`` (n,) in [0, 1).

        ImageError where a row's captions cannot be read any more.
        """

    @abstractmethod
    def digest(self) -> str:
        """Names the rows by what they are called and captioned, wherever they lie; 12 hex digits."""

    @abstractmethod
    def contents(self) -> Mapping[str, str]:
        """What the rows hold, wherever they lie, by what it is of: a count or a digest each, to say what differs."""

    @abstractmethod
    def bad_rows(self) -> list[BadRow]:
        """What the source could not read, which is no row; of very many the first."""

    @abstractmethod
    def bad_count(self) -> int:
        """How many those are."""

    @abstractmethod
    def bad_row(self, row: int, reason: str) -> BadRow:
        """``row`` as a bad one, for messages."""

    def mark_broken(self, row: int, reason: str | ImageError) -> None:
        """Note that the image of ``row`` proved unreadable while streaming."""
        self.broken[row] = str(reason)
        if isinstance(reason, ImageError) and reason.transient:
            self.unread.add(row)

    def all_bad(self) -> list[BadRow]:
        """Bad rows of the source, and those found since."""
        return [*self.bad_rows(), *(self.bad_row(row, reason) for row, reason in sorted(self.broken.copy().items()))]

    def check(self, max_share: float) -> None:
        """DataError with the list when more than ``max_share`` of all rows are bad by now."""
        count = self.bad_count() + len(self.broken)
        check_bad_share(self.origin, self.all_bad(), len(self) + self.bad_count(), max_share, count)
