"""Pairs in shards, for training: rows are read, tokenised and decoded on demand.

Flow: ``core.training.assembly`` opens ``data.train`` with `open_shards` if the path is a pattern of shards; evaluation,
an index and the noise ranking read all rows with ``core.data.sources.shards.collection``.

A process's memory does not grow with the number of rows: the index is memory-mapped, and captions are tokenised when a
batch is made.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor

from core.data.cache import Decoding
from core.data.dataset import Log, Progress, bad_rows_warning, longest
from core.data.errors import BadRow, ImageError
from core.data.pairs import Floats, Pairs, Rows
from core.data.preprocessing import decoding_for
from core.data.sources.shards.collection import Shards
from core.spec.config import DataConfig

Tokenize = Callable[[Sequence[str]], Tensor]  # n captions -> (n, T) int64; must be picklable for loader processes


class ShardPairs(Pairs):
    """Rows of shards, by number."""

    def __init__(self, shards: Shards, tokenize: Tokenize, decoding: Decoding, pad_id: int) -> None:
        super().__init__(shards.origin, shards.label_names(), decoding, pad_id)
        self.shards, self._tokenize = shards, tokenize
        self.shard_rows = -(-len(shards) // len(shards.shards))

    def __len__(self) -> int:
        return len(self.shards)

    def image(self, row: int) -> Tensor:
        if row in self.broken:
            raise ImageError(self.broken[row])
        self.shards.texts(row)  # a row without captions is as unusable as one without an image
        return torch.from_numpy(self.decoding.read(self.shards.image(row))).permute(2, 0, 1)

    def path(self, row: int) -> Path:
        return Path(self.shards.path(row))

    def labels(self, row: int) -> Mapping[str, str]:
        try:
            return self.shards.texts(row).labels
        except ImageError:
            return {}

    def captions_of(self, row: int) -> tuple[str, ...]:
        return self.shards.texts(row).captions

    def caption_tokens(self, rows: Rows, chances: Floats) -> Tensor:
        captions = [self.captions_of(row) for row in rows.tolist()]
        chosen_texts = [
            texts[int(chance * len(texts))] for texts, chance in zip(captions, chances.tolist(), strict=True)
        ]
        tokens = self._tokenize(chosen_texts)
        return tokens[:, : longest(tokens, self.pad_id)].long()

    def digest(self) -> str:
        return hashlib.sha256("".join(shard.metadata.digest for shard in self.shards.shards).encode()).hexdigest()[:12]

    def contents(self) -> dict[str, str]:
        return {"number of images": str(len(self)), "members of the shards": self.digest()}

    def bad_rows(self) -> list[BadRow]:
        return self.shards.bad_rows()

    def bad_count(self) -> int:
        return self.shards.bad_count()

    def bad_row(self, row: int, reason: str) -> BadRow:
        return BadRow(str(self.path(row)), reason)


def open_shards(
    pattern: str,
    config: DataConfig,
    image_size: int,
    tokenize: Tokenize,
    *,
    pad_id: int = 0,
    progress: Progress | None = None,
    log: Log | None = None,
) -> ShardPairs:
    """The pairs of the shards that match ``pattern``, for a model with ``image_size`` pixels per side.

    Raises DataError if the shards cannot be used, or more members are bad than ``config.max_bad_share`` allows.
    """
    dataset = ShardPairs(Shards.open(pattern, progress), tokenize, decoding_for(image_size, config), pad_id)
    dataset.check(config.max_bad_share)
    tokenize([""])  # builds the tokenizer before loader processes are forked, so that they share its memory
    if log is not None and dataset.bad_count():
        log(bad_rows_warning(pattern, dataset.bad_rows(), len(dataset) + dataset.bad_count(), dataset.bad_count()))
    return dataset
