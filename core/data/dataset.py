"""Pairs ready for training: captions tokenised once, images decoded once or on the fly.

Flow: ``open_dataset`` opens the source, tokenises the captions, and caches the images if they fit the budget; the
loader cuts batches of views from the ``PairDataset``.

Legend: C captions, T tokens.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import nullcontext
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from core.data.cache import Decoding, ImageCache, open_cache
from core.data.errors import BadRow, DataError, ImageError, check_bad_share
from core.data.images import file_size
from core.data.pairs import Floats, Pairs, Rows
from core.data.preprocessing import decoding_for
from core.data.sources.opening import open_source
from core.data.sources.rows import Source
from core.data.sources.sharing import PackedSource, one_process_at_a_time, read_shared, shared_file, write_shared
from core.data.sources.tables import RowTable, memory_map, pack
from core.spec.config import DataConfig

Tokenize = Callable[[Sequence[str]], Tensor]  # n captions -> (n, T) int64
Progress = Callable[[str, int, int], None]  # (activity, finished, total); may raise to cancel
Log = Callable[[str], None]  # (sentence for the user)
TOKENIZE_BATCH = 4096  # captions per call of the tokenizer
MAX_EXAMPLES = 5  # at most this many bad rows are listed in the warning


class PairDataset(Pairs):
    """Images with their captions; all captions are in memory."""

    def __init__(self, packed: PackedSource, decoding: Decoding, cache: ImageCache | None, pad_id: int = 0) -> None:
        """``cache``: the decoded images of the source, if they are cached."""
        super().__init__(packed.origin, packed.label_names, decoding, pad_id)
        self.bad = list(packed.bad)
        if cache is not None:
            self.broken, self.retryable = dict(cache.bad), set(cache.retryable)
        self.rows = RowTable(packed.arrays, packed.labels, packed.origins)
        self.captions: Sequence[str] = self.rows.captions  # (C,)
        self.caption_rows = torch.from_numpy(packed.arrays["caption_rows"])  # (C,)
        self.tokens = torch.from_numpy(packed.arrays["tokens"])  # (C, T) int32
        self._cache = cache

    def __len__(self) -> int:
        return len(self.rows)

    def image(self, row: int) -> Tensor:
        if row in self.broken:
            raise ImageError(self.broken[row])
        cache = self._cache
        pixels = cache.image(row) if cache is not None else self.decoding.read(self.rows.files[row])
        return torch.from_numpy(pixels).permute(2, 0, 1)

    def path(self, row: int) -> Path:
        return Path(self.rows.files[row])

    def labels(self, row: int) -> Mapping[str, str]:
        return self.rows.labels(row)

    def captions_of(self, row: int) -> tuple[str, ...]:
        return self.rows.captions_of(row)

    def caption_span(self, row: int) -> range:
        """Positions in ``captions`` and ``tokens`` of the captions of ``row``."""
        return range(int(self.rows.starts[row]), int(self.rows.starts[row + 1]))

    def caption_tokens(self, rows: Rows, chances: Floats) -> Tensor:
        spans = [self.caption_span(row) for row in rows.tolist()]
        picked = [span[int(chance * len(span))] for span, chance in zip(spans, chances.tolist(), strict=True)]
        tokens = self.tokens[picked]
        return tokens[:, : longest(tokens, self.pad_id)].long()

    def digest(self) -> str:
        digest = hashlib.sha256(self.tokens.numpy().ravel().data)  # reads the mapped memory; a copy may take gigabytes
        digest.update(self.caption_rows.numpy().ravel().data)
        for file in self.rows.files:
            digest.update(os.fsencode(Path(file).name) + b"\0")
        return digest.hexdigest()[:12]

    def contents(self) -> dict[str, str]:
        """Digests of the captions, and of the names and sizes of the images."""
        captions = hashlib.sha256(self.tokens.numpy().ravel().data)
        captions.update(self.caption_rows.numpy().ravel().data)
        return {
            "number of images": str(len(self)),
            "captions": captions.hexdigest()[:12],
            "names and sizes of the images": _names_and_sizes(self.rows.files),
        }

    def bad_rows(self) -> list[BadRow]:
        return self.bad

    def bad_count(self) -> int:
        return len(self.bad)

    def bad_row(self, row: int, reason: str) -> BadRow:
        """The bad row; its reason starts with the image's name if the location is a line of a file."""
        entry = self.rows[row]
        return BadRow(entry.location, f"{entry.image.name}: {reason}" if entry.line else reason)


def image_contents(path: str | Path) -> dict[str, str]:
    """``PairDataset.contents`` of the data at ``path``, except for captions, whose tokens would need a model.

    Raises DataError if the data cannot be read.
    """
    files = [row.file for row in open_source(path).rows]
    return {"number of images": str(len(files)), "names and sizes of the images": _names_and_sizes(files)}


def _names_and_sizes(files: Iterable[str]) -> str:
    digest = hashlib.sha256()
    for file in files:
        digest.update(f"{Path(file).name}\0{file_size(file)}\n".encode("utf-8", "surrogateescape"))
    return digest.hexdigest()[:12]


def open_dataset(
    path: str | Path,
    config: DataConfig,
    image_size: int,
    tokenize: Tokenize,
    *,
    pad_id: int = 0,
    progress: Progress | None = None,
    log: Log | None = None,
    build_cache: bool = True,
    shared: str = "",
) -> PairDataset:
    """Open, tokenise and cache (or stream) the pairs at ``path``, for a model with ``image_size`` pixels per side.

    Without ``build_cache``, decoded images come from an existing cache or are streamed, which is faster if each image
    is read only once. ``shared``: a name that only the processes of this launch know; the first process on each host
    reads, decodes and tokenises for all processes that pass the same name.

    Raises DataError if the data cannot be used, or more rows are bad than ``config.max_bad_share`` allows.
    """
    decoding = decoding_for(image_size, config)
    file = shared_file(shared, str(path), decoding, config.cache_mib) if shared else None
    with one_process_at_a_time(file, partial(_report_waiting, progress)) if file else nullcontext():
        shared_copy = _read_if_shared(file) if file else None
        if shared_copy is not None:
            dataset = PairDataset(shared_copy[0], decoding, shared_copy[1], pad_id)
            dataset.check(config.max_bad_share)
            return dataset
        source = open_source(path, progress=progress)
        return open_rows(
            source, config, image_size, tokenize, pad_id=pad_id, progress=progress, log=log, build_cache=build_cache,
            file=file,
        )  # fmt: skip


def open_rows(
    source: Source,
    config: DataConfig,
    image_size: int,
    tokenize: Tokenize,
    *,
    pad_id: int = 0,
    progress: Progress | None = None,
    log: Log | None = None,
    build_cache: bool = True,
    file: Path | None = None,
) -> PairDataset:
    """Tokenise and cache (or stream) the rows of ``source``, like ``open_dataset``.

    ``file``: a file through which other processes share the result.
    """
    decoding = decoding_for(image_size, config)
    total = len(source.rows) + len(source.bad)
    check_bad_share(source.origin, source.bad, total, config.max_bad_share)
    cache = _open_cache(source, decoding, config, progress, log, build_cache)
    captions = [caption for row in source.rows for caption in row.captions]
    packed = pack_source(source, tokens_of(captions, tokenize, pad_id, progress), bool(file))
    dataset = PairDataset(packed, decoding, cache, pad_id)
    dataset.check(config.max_bad_share)
    if file:
        write_shared(file, packed, cache.path if cache else None)
    if log is not None and (bad_rows := dataset.all_bad()):
        log(bad_rows_warning(source.origin, bad_rows, total, len(bad_rows)))
    return dataset


def pack_source(source: Source, tokens: Tensor, in_file: bool = False) -> PackedSource:
    """``source`` with the ``tokens`` (C, T) of all its captions as arrays; large ones are memory-mapped."""
    arrays, labels, origins = pack(source.rows)
    counts = torch.from_numpy(np.diff(arrays["starts"]))
    arrays |= {
        "tokens": tokens.numpy(),
        "caption_rows": torch.repeat_interleave(torch.arange(len(source.rows)), counts).numpy(),
    }
    return PackedSource(source.origin, source.label_names, source.bad, memory_map(arrays, in_file), labels, origins)


def _read_if_shared(file: Path) -> tuple[PackedSource, ImageCache | None] | None:
    """The data that another process of this launch has read, and the image cache; None if no process has read it."""
    shared = read_shared(file)
    if shared is None:
        return None
    packed, images = shared
    try:
        return packed, ImageCache(images) if images else None
    except (OSError, ValueError):
        return None


def _report_waiting(progress: Progress | None) -> None:
    if progress is not None:
        progress("waiting for another process to read the data", 0, 0)


def _open_cache(
    source: Source, decoding: Decoding, config: DataConfig, progress: Progress | None, log: Log | None, build: bool
) -> ImageCache | None:
    def report(finished: int, total: int) -> None:
        if progress is not None:
            progress("decoding images", finished, total)

    if config.cache_mib == 0:
        return None
    return open_cache([row.file for row in source.rows], decoding, config.cache_mib << 20, report, log, build)


def bad_rows_warning(origin: str, bad_rows: Sequence[BadRow], total: int, count: int) -> str:
    """The warning about ``count`` bad rows; ``bad_rows`` lists at least the first ones."""
    examples = "; ".join(map(str, bad_rows[:MAX_EXAMPLES]))
    remainder = f"; and {count - MAX_EXAMPLES} more" if count > MAX_EXAMPLES else ""
    return f"{count} of the {total} rows of {origin} are skipped: {examples}{remainder}."


def tokens_of(captions: Sequence[str], tokenize: Tokenize, pad_id: int, progress: Progress | None) -> Tensor:
    """Token ids of all captions, (C, T) int32, without trailing padding columns."""
    parts = []
    for start in range(0, len(captions), TOKENIZE_BATCH):
        if progress is not None:
            progress("tokenising captions", start, len(captions))
        parts.append(tokenize(captions[start : start + TOKENIZE_BATCH]).to(torch.int32))
    if not parts:
        raise DataError("The data has no captions; every row needs at least one.")
    tokens = torch.cat(parts)  # (C, T)
    return tokens[:, : longest(tokens, pad_id)].contiguous()


def longest(tokens: Tensor, pad_id: int) -> int:
    """Length of the longest row of ``tokens`` (n, T), without padding; at least 1."""
    used_columns = (tokens != pad_id).any(0).nonzero()
    return int(used_columns.max()) + 1 if len(used_columns) else 1
