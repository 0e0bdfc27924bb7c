"""Features of a data set's images by one model: encoded once, cached on disk, shared by every task and panel.

Flow: model and data set -> **extraction** (`core.inference.feature_cache` beneath, `core.inference.encoder` for what
is missing) -> evaluators. An interrupted extraction keeps its parts, and the next one continues from there.

Legend: B batch, N images, S side of the images.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from core.checkpoint.opening import Model
from core.data.cache import cache_folder, files_digest
from core.data.dataset import PairDataset
from core.data.loader import evaluation_batches, evaluation_texts
from core.inference.encoder import PROJECTED, Features, encode_layers, encode_texts, encode_tokens
from core.inference.feature_cache import FeatureFolder, Part, feature_key, prune
from core.metrics.classification.zero_shot import ClassEmbedder
from core.model.eval_mode import evaluating
from core.spec.reporter import Progress

PART_ROWS = 2048  # images after which a part is written

Encode = Callable[[Tensor, Tensor], Mapping[str, Tensor]]
"""Rows (B,) and their images (B, 3, S, S) uint8 to values (B, ...) for each name, on the CPU."""


@dataclass(frozen=True)
class Extracted:
    """Values of every readable image of a data set."""

    rows: Tensor  # (N,) int64, the data set's row of each
    values: Mapping[str, Tensor]  # (N, ...)


def extract_layers(model: Model, dataset: PairDataset, layers: Sequence[str], progress: Progress) -> Extracted:
    """Features (N, width) of each of ``layers`` (`core.inference.encoder.check_layer`); all missing ones in one pass.

    DataError when no image is readable. What ``progress`` raises breaks off; what is encoded by then is kept.
    """

    def encode(names: Sequence[str]) -> Encode:
        return lambda rows, images: encode_layers(model.network, images, model.runtime, names)

    names = {layer: f"layer {layer}" for layer in layers}
    return extract(model, dataset, names, encode, progress)


def extract_texts(model: Model, tokens: Tensor, captions: Sequence[str], progress: Progress) -> Tensor:
    """Unit vectors (C, D) of ``captions``, whose ``tokens`` (C, T) are given; kept and gone on with as images are."""
    spelled = hashlib.sha256("\n".join(captions).encode("utf-8", "surrogatepass")).hexdigest()
    folder = FeatureFolder(feature_key("captions", model.digest, spelled))
    parts = folder.read()
    done = parts[-1].stop if parts else 0
    with evaluating(model.network):
        while done < len(tokens):
            stop = min(done + PART_ROWS, len(tokens))
            made = []
            for start in range(done, stop, model.batch):
                made.append(encode_tokens(model.network, tokens[start : min(start + model.batch, stop)], model.runtime))
                progress("encoding captions", min(start + model.batch, stop), len(tokens))
            parts.append(Part(done, stop, torch.arange(done, stop), torch.cat(made)))
            with suppress(OSError):
                folder.append(parts[-1])
            done = stop
    prune([folder.path])
    return torch.cat([part.values for part in parts])


def extract_pairs(model: Model, dataset: PairDataset, progress: Progress) -> Features:
    """Images and captions of ``dataset`` as unit vectors, both from the cache where they are there."""
    found = extract_layers(model, dataset, [PROJECTED], progress)
    tokens, owner = evaluation_texts(dataset, found.rows)
    captions = [caption for row in found.rows.tolist() for caption in dataset.captions_of(row)]
    texts = extract_texts(model, tokens, captions, progress)
    return Features(found.values[PROJECTED], texts, owner, found.rows)


def class_embedder(model: Model, templates: Sequence[str]) -> ClassEmbedder:
    """Embeds class names by ``templates``, each once for this model; kept beside the images' features."""
    return ClassEmbedder(
        lambda texts: encode_texts(model.network, texts, model.runtime),
        templates,
        model.digest,
        cache_folder() / "classes",
        model.batch,
    )


def extract(
    model: Model,
    dataset: PairDataset,
    names: Mapping[str, str],
    encode: Callable[[Sequence[str]], Encode],
    progress: Progress,
    doing: str = "encoding images",
) -> Extracted:
    """Values of each name, from the cache or from ``encode`` of those that lack some.

    ``names`` maps each to what, beside model and images, its values depend on.
    """
    data = files_digest([row.file for row in dataset.rows])
    facts = (model.digest, model.network.image_size, str(dataset.decoding), data)
    folders = {name: FeatureFolder(feature_key(own, *facts)) for name, own in names.items()}
    work = _Work(dataset, folders, {name: folder.read() for name, folder in folders.items()})
    while missing := {name: done for name in names if (done := work.done(name)) < len(dataset)}:
        first = min(missing.values())
        behind = [name for name, done in missing.items() if done == first]
        until = min([done for done in missing.values() if done > first], default=len(dataset))
        with evaluating(model.network):
            batches = evaluation_batches(dataset, model.network.image_size, model.batch, first)
            work.encode(behind, encode(behind), batches, model.batch, until, partial(progress, doing))
    return work.whole()


@dataclass
class _Work:
    """An extraction in progress."""

    dataset: PairDataset
    folders: Mapping[str, FeatureFolder]
    parts: dict[str, list[Part]]
    keeps: bool = True  # until the cache cannot be written, or an image is missing that may be read the next time

    def done(self, name: str) -> int:
        """Rows of the data set that are encoded or skipped."""
        return self.parts[name][-1].stop if self.parts[name] else 0

    def encode(
        self,
        names: Sequence[str],
        encode: Encode,
        batches: Generator[tuple[Tensor, Tensor], None, None],
        size: int,
        until: int,
        progress: Callable[[int, int], None],
    ) -> None:
        """Append parts to ``names``, which all stand at the same row, until row ``until`` or a little further."""
        first = start = stop = self.done(names[0])
        made: list[tuple[Tensor, Mapping[str, Tensor]]] = []
        try:
            with closing(batches):
                for rows, images in batches:
                    made.append((rows, encode(rows, images)))
                    # A batch without any readable image does not come, so where one stands is told by its rows.
                    stop = min(first + (int(rows[0]) - first) // size * size + size, len(self.dataset))
                    if stop - start >= PART_ROWS:
                        self._keep(names, start, stop, made)
                        start, made = stop, []
                    progress(stop, len(self.dataset))
                    if stop >= until:
                        break
                else:
                    stop = len(self.dataset)
        finally:  # broken off: what is made is kept
            if stop > start:
                self._keep(names, start, stop, made)

    def _keep(
        self, names: Sequence[str], start: int, stop: int, made: list[tuple[Tensor, Mapping[str, Tensor]]]
    ) -> None:
        """The rows of ``start`` .. ``stop`` - 1 as a part of each name, in memory and on disk."""
        bad = {row: reason for row, reason in self.dataset.broken.items() if start <= row < stop}
        rows = torch.cat([rows for rows, _ in made]) if made else torch.empty(0, dtype=torch.int64)
        self.keeps = self.keeps and not any(start <= row < stop for row in self.dataset.unread)
        for name in names:
            values = torch.cat([values[name] for _, values in made]) if made else self._none(name)
            part = Part(start, stop, rows, values, bad)
            self.parts[name].append(part)
            if self.keeps:
                try:
                    self.folders[name].append(part)
                except OSError:  # a full disk, no right to write: the numbers are the same without
                    self.keeps = False
        prune([folder.path for folder in self.folders.values()])

    def _none(self, name: str) -> Tensor:
        before = self.parts[name]
        return before[-1].values[:0] if before else torch.empty(0, 0)

    def whole(self) -> Extracted:
        """All parts together; DataError when no image is readable."""
        for row, reason in (
            (row, why) for parts in self.parts.values() for part in parts for row, why in part.bad.items()
        ):
            self.dataset.mark_broken(row, reason)
        self.dataset.check(1.0)
        rows = torch.tensor([row for row in range(len(self.dataset)) if row not in self.dataset.broken])  # (N,)
        values = {}
        for name, parts in self.parts.items():
            full = [part for part in parts if len(part.rows)]
            there = torch.cat([part.rows for part in full])
            # The same for every name, unless an image broke between two extractions.
            values[name] = torch.cat([part.values for part in full])[torch.isin(there, rows)]
        return Extracted(rows, values)
