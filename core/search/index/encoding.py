"""Images and captions to vectors for an index: decoding runs ahead, so that the encoder never waits.

Flow: build -> ``Encoder`` -> entries for the writer. On a CPU a batch is decoded *and* encoded by one thread on one
core, a thread for each core: no core waits at another's barrier, and how many there are changes no bit of the result.
Elsewhere threads decode, and the device encodes batch after batch.

Legend: B batch, D embed, S side of the images.
"""

from __future__ import annotations

import os
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
from core.data.loader import on_one_core
from core.data.preprocessing import decoding_for, model_input
from core.inference.encoder import encode_images, encode_tokens, finite
from core.search.index.manifest import Identity
from core.search.index.source_changes import Found
from core.search.index.storage import BROKEN, UNREADABLE, Entry, Record, Vectors

BATCH = 32  # images encoded at once; it divides a segment, so that a resumed build makes the same batches
AHEAD = 2  # batches in flight for each thread


def preprocessing(model: Model) -> dict[str, Any]:
    """How the model's images are made, in words that can be compared."""
    size, towers = model.network.image_size, model.network.towers
    decoding = decoding_for(size, model.data)
    own = "bicubic, antialiased" + (", of bytes" if decoding.fast else "")
    return {
        "image_size": size,
        "decoded_side": decoding.shorter_side,
        "resize": own if decoding.resizing is None else f"{decoding.resizing}, once",
        "crop": "centre",
        "mean": [round(value, 6) for value in towers.image_mean],
        "std": [round(value, 6) for value in towers.image_std],
    }


@dataclass
class _Made:
    """A batch on its way: entries without vectors where the device is still to encode ``images``."""

    entries: list[Entry]
    images: Tensor | None = None  # (b, 3, S, S) uint8, of the entries that are readable
    tokens: Tensor | None = None  # (c, T) of all their captions


class Encoder:
    """A model that turns found images into entries."""

    def __init__(self, model: Model, name: str) -> None:
        self.model = model
        towers = model.network.towers
        self.identity = Identity(name, model.subject.weights, model.digest, preprocessing(model), int(towers.embed_dim))
        self._on_cpu = model.runtime.device.type == "cpu"

    def entries(self, found: Sequence[Found]) -> Generator[list[Entry], None, None]:
        """The entries of ``found``, in order, a batch at a time. Close it to end its threads."""
        threads = os.cpu_count() or 1
        with _one_core_each(self._on_cpu) as initializer:
            pool = ThreadPoolExecutor(threads, "encode", initializer)
            try:
                waiting: deque[Future[_Made]] = deque()
                for start in range(0, len(found), BATCH):
                    waiting.append(pool.submit(self._make, found[start : start + BATCH]))
                    if len(waiting) >= AHEAD * threads:
                        yield self._finish(waiting.popleft().result())
                while waiting:
                    yield self._finish(waiting.popleft().result())
            finally:
                pool.shutdown(wait=True, cancel_futures=True)

    def image(self, path: str) -> Tensor:
        """(3, S, S) uint8 as the model is shown it. ImageError when it cannot be read."""
        return model_input(path, self.model.network.image_size, self.model.data)

    def tokens(self, texts: Sequence[str]) -> Tensor:
        """(n, T) token ids, cut to the longest."""
        towers = self.model.network.towers
        tokens = towers.tokenize(list(texts))
        return tokens[:, : longest(tokens, towers.pad_id)]

    def _make(self, found: Sequence[Found]) -> _Made:
        entries: list[Entry] = []
        images: list[Tensor] = []
        captions: list[str] = []
        for one in found:
            record = Record(one.path, one.captions, one.labels)
            try:
                images.append(self.image(one.path))
                captions.extend(one.captions)
                entries.append(Entry(record, max(one.size, 0), one.time, None))
            except ImageError as error:
                state = UNREADABLE if error.transient else BROKEN
                record = replace(record, reason=str(error))
                entries.append(Entry(record, max(one.size, 0), one.time, None, state=state))
        made = _Made(entries, torch.stack(images) if images else None, self.tokens(captions) if captions else None)
        return _Made(self._encode(made)) if self._on_cpu else made

    def _finish(self, made: _Made) -> list[Entry]:
        return made.entries if self._on_cpu else self._encode(made)

    def _encode(self, made: _Made) -> list[Entry]:
        if made.images is None:
            return made.entries
        model = self.model
        name = self.identity.title
        vectors = iter(_half(finite(encode_images(model.network, made.images, model.runtime), name)))
        texts = None
        if made.tokens is not None:
            texts = _half(finite(encode_tokens(model.network, made.tokens, model.runtime), name))
        entries, first = [], 0
        for entry in made.entries:
            if not entry.state:
                last = first + len(entry.record.captions)
                entry = replace(entry, vector=next(vectors), texts=None if texts is None else texts[first:last])
                first = last
            entries.append(entry)
        return entries


def open_encoder(name: str, weights: str) -> Encoder:
    """The encoder of the model ``name``, an exact one; raises what `open_model` does."""
    return Encoder(open_model(name, weights), name)


@contextmanager
def _one_core_each(on_cpu: bool) -> Iterator[Any]:
    """An initializer for threads that each compute on one core; the others' number of threads stays."""
    before = torch.get_num_threads()
    try:
        yield on_one_core if on_cpu else None
    finally:
        torch.set_num_threads(before)


def _half(vectors: Tensor) -> Vectors:
    half: Vectors = vectors.numpy().astype(np.float16)
    return half
