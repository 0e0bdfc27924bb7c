"""Encodes images and captions for an index, while the next images are decoded.

Flow: build -> ``Encoder`` -> entries for the writer. On a CPU each core has a thread that decodes *and* encodes a
batch, without barriers between cores; the result does not depend on the number of cores. On other devices threads
decode, and the device encodes batch after batch.

Legend: S side of the images.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from core.checkpoint.opening import Model, open_model
from core.data.dataset import longest
from core.data.errors import ImageError
from core.data.loader import usable_cores, use_one_core
from core.data.preprocessing import decoding_for, model_input
from core.inference.encoder import check_finite, encode_images, encode_tokens
from core.search.index.manifest import Identity
from core.search.index.source_changes import SourceImage
from core.search.index.storage import MAX_RECORD_BYTES, RETRY_LATER, UNUSABLE, Entry, Record, Vectors, is_too_large

BATCH = 32  # images per batch, a divisor of a segment's size, so that a resumed build has the same batches
TOO_LARGE = f"Its captions and labels take more than {MAX_RECORD_BYTES >> 20} MiB; shorten them."
AHEAD = 2  # decoded batches per thread that wait for the encoder


def preprocessing(model: Model) -> dict[str, Any]:
    """The preprocessing of the model's images, as comparable data."""
    size, towers = model.network.image_size, model.network.towers
    decoding = decoding_for(size, model.data)
    default = "bicubic, antialiased" + (", of bytes" if decoding.fast else "")
    return {
        "image_size": size,
        "decoded_side": decoding.shorter_side,
        "resize": default if decoding.resizing is None else f"{decoding.resizing}, once",
        "crop": "centre",
        "mean": [round(value, 6) for value in towers.image_mean],
        "std": [round(value, 6) for value in towers.image_std],
    }


@dataclass
class _Batch:
    """A decoded batch. The entries have no vectors until ``images`` are encoded."""

    entries: list[Entry]
    images: Tensor | None = None  # (b, 3, S, S) uint8, the images of readable entries
    tokens: Tensor | None = None  # (c, T) the captions of readable entries


class Encoder:
    """Encodes images of a source to index entries."""

    def __init__(self, model: Model, name: str) -> None:
        self.model = model
        towers = model.network.towers
        self.identity = Identity(name, model.subject.weights, model.digest, preprocessing(model), int(towers.embed_dim))
        self._on_cpu = model.runtime.device.type == "cpu"

    def entries(self, images: Sequence[SourceImage]) -> Generator[list[Entry], None, None]:
        """Yield the entries of ``images`` in order, one batch at a time. Close the generator to end its threads."""
        threads = usable_cores()
        with _single_core_threads(self._on_cpu) as initializer:
            pool = ThreadPoolExecutor(threads, "encode", initializer)
            try:
                pending: deque[Future[_Batch]] = deque()
                for start in range(0, len(images), BATCH):
                    pending.append(pool.submit(self._decode_batch, images[start : start + BATCH]))
                    if len(pending) >= AHEAD * threads:
                        yield self._encode_if_needed(pending.popleft().result())
                while pending:
                    yield self._encode_if_needed(pending.popleft().result())
            finally:
                pool.shutdown(wait=True, cancel_futures=True)

    def image(self, path: str) -> Tensor:
        """The model's input (3, S, S) uint8. Raises ImageError if the image cannot be read."""
        return model_input(path, self.model.network.image_size, self.model.data)

    def tokens(self, texts: Sequence[str]) -> Tensor:
        """Token ids (n, T), trimmed to the longest."""
        towers = self.model.network.towers
        tokens = towers.tokenize(list(texts))
        return tokens[:, : longest(tokens, towers.pad_id)]

    def _decode_batch(self, source_images: Sequence[SourceImage]) -> _Batch:
        entries: list[Entry] = []
        images: list[Tensor] = []
        captions: list[str] = []
        for source in source_images:
            record = Record(source.path, source.captions, source.labels)
            if is_too_large(record):
                record = Record(source.path, reason=TOO_LARGE)
                entries.append(Entry(record, max(source.size, 0), source.time, None, state=UNUSABLE))
                continue
            try:
                images.append(self.image(source.path))
                captions.extend(source.captions)
                entries.append(Entry(record, max(source.size, 0), source.time, None))
            except ImageError as error:
                state = RETRY_LATER if error.transient else UNUSABLE
                record = replace(record, reason=str(error))
                entries.append(Entry(record, max(source.size, 0), source.time, None, state=state))
        batch = _Batch(entries, torch.stack(images) if images else None, self.tokens(captions) if captions else None)
        return _Batch(self._encode(batch)) if self._on_cpu else batch

    def _encode_if_needed(self, batch: _Batch) -> list[Entry]:
        return batch.entries if self._on_cpu else self._encode(batch)

    def _encode(self, batch: _Batch) -> list[Entry]:
        if batch.images is None:
            return batch.entries
        model = self.model
        name = self.identity.title
        vectors = iter(_as_fp16(check_finite(encode_images(model.network, batch.images, model.runtime), name)))
        texts = None
        if batch.tokens is not None:
            texts = _as_fp16(check_finite(encode_tokens(model.network, batch.tokens, model.runtime), name))
        entries, first = [], 0
        for entry in batch.entries:
            if not entry.state:
                end = first + len(entry.record.captions)
                entry = replace(entry, vector=next(vectors), texts=None if texts is None else texts[first:end])
                first = end
            entries.append(entry)
        return entries


def open_encoder(name: str, weights: str) -> Encoder:
    """The encoder of the model with the exact name ``name``; raises like `open_model`."""
    return Encoder(open_model(name, weights), name)


@contextmanager
def _single_core_threads(on_cpu: bool) -> Iterator[Any]:
    """An initializer that limits a thread to one core and does not change the number of threads for other threads."""
    before = torch.get_num_threads()
    try:
        yield use_one_core if on_cpu else None
    finally:
        torch.set_num_threads(before)


def _as_fp16(vectors: Tensor) -> Vectors:
    half: Vectors = vectors.numpy().astype(np.float16)
    return half
