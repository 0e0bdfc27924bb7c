"""Signatures first; the bodies follow."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from torch import Tensor

from core.config import DataConfig

Tokenize = Callable[[Sequence[str]], Tensor]  # N captions -> (N, T) int64
Progress = Callable[[str, int, int], None]  # (doing, done, total); may raise to cancel
Log = Callable[[str], None]  # a sentence for the person who watches (a warning)


class PairDataset:
    """Pictures with their captions. A row is a picture; it has one caption or more."""

    origin: str
    files: list[str]  # path of each row's picture
    captions: list[str]  # (C,) every caption, in the order of the rows
    caption_rows: Tensor  # (C,) int64, row of each caption
    tokens: Tensor  # (C, T) int32, trailing columns that are padding everywhere cut off
    pad_id: int

    def __len__(self) -> int:
        raise NotImplementedError

    def picture(self, row: int) -> Tensor:
        """(3, h, w) uint8; shorter side = decoded size. PictureError when streamed and unreadable."""
        raise NotImplementedError

    def path(self, row: int) -> Path:
        raise NotImplementedError

    def labels(self, row: int) -> Mapping[str, str]:
        raise NotImplementedError

    def captions_of(self, row: int) -> list[str]:
        raise NotImplementedError

    def caption_span(self, row: int) -> range:
        """Indices into ``captions`` and ``tokens`` of the captions of ``row``."""
        raise NotImplementedError


def open_dataset(
    path: str | Path,
    config: DataConfig,
    image_size: int,
    tokenize: Tokenize,
    *,
    pad_id: int = 0,
    progress: Progress | None = None,
    log: Log | None = None,
) -> PairDataset:
    """Open, tokenise and cache (or stream). DataError (core.data.sources) in one sentence when it cannot be used."""
    raise NotImplementedError
