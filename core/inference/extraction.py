"""Extracts features of a data set's images with one model: encoded once, cached on disk, shared by tasks and panels.

Flow: model and data set -> **extraction** (reads `core.inference.feature_cache`, encodes missing rows with
`core.inference.encoder`) -> evaluators. An interrupted extraction keeps its parts, and the next one continues.

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

PART_ROWS = 2048  # images per part that is written

Encode = Callable[[Tensor, Tensor], Mapping[str, Tensor]]
"""Rows (B,) and their images (B, 3, S, S) uint8 to values (B, ...) for each name, on the CPU."""


@dataclass(frozen=True)
class ExtractedFeatures:
    """Values for all readable images of a data set."""

    rows: Tensor  # (N,) int64, the data set row of each image
    values: Mapping[str, Tensor]  # (N, ...)


def extract_layers(model: Model, dataset: PairDataset, layers: Sequence[str], progress: Progress) -> ExtractedFeatures:
    """Features (N, width) at each of ``layers`` (see `core.inference.encoder.check_layer`).

    Layers that are not cached are encoded in one pass. Raises DataError if no image is readable. ``progress`` may raise
    to cancel; encoded parts are kept.
    """

    def encode(names: Sequence[str]) -> Encode:
        return lambda rows, images: encode_layers(model.network, images, model.runtime, names)

    names = {layer: f"layer {layer}" for layer in layers}
    return extract(model, dataset, names, encode, progress)


def extract_texts(model: Model, tokens: Tensor, captions: Sequence[str], progress: Progress) -> Tensor:
    """Unit vectors (C, D) of ``captions`` with ``tokens`` (C, T), cached and resumed like images."""
    digest = hashlib.sha256("\n".join(captions).encode("utf-8", "surrogatepass")).hexdigest()
    folder = FeatureFolder(feature_key("captions", model.digest, digest))
    parts = folder.read()
    encoded = parts[-1].stop if parts else 0
    with evaluating(model.network):
        while encoded < len(tokens):
            stop = min(encoded + PART_ROWS, len(tokens))
            first, vectors = encoded, []
            try:
                while encoded < stop:
                    end = min(encoded + model.batch, stop)
                    vectors.append(encode_tokens(model.network, tokens[encoded:end], model.runtime))
                    encoded = end
                    progress("encoding captions", encoded, len(tokens))
            finally:  # also if cancelled
                if vectors:
                    parts.append(Part(first, encoded, torch.arange(first, encoded), torch.cat(vectors)))
                    with suppress(OSError):
                        folder.append(parts[-1])
    prune([folder.path])
    return torch.cat([part.values for part in parts])


def extract_pairs(model: Model, dataset: PairDataset, progress: Progress) -> Features:
    """Images and captions of ``dataset`` as unit vectors, from the cache if they are cached."""
    extracted = extract_layers(model, dataset, [PROJECTED], progress)
    tokens, owner = evaluation_texts(dataset, extracted.rows)
    captions = [caption for row in extracted.rows.tolist() for caption in dataset.captions_of(row)]
    texts = extract_texts(model, tokens, captions, progress)
    return Features(extracted.values[PROJECTED], texts, owner, extracted.rows)


def class_embedder(model: Model, templates: Sequence[str]) -> ClassEmbedder:
    """An embedder of class names with ``templates``; its cache is specific to the model."""
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
    activity: str = "encoding images",
) -> ExtractedFeatures:
    """The values for each name, from the cache, or from ``encode`` for missing rows.

    ``names``: name -> everything that the values depend on, except for model and images.
    """
    data = files_digest([row.file for row in dataset.rows])
    common_keys = (model.digest, model.network.image_size, str(dataset.decoding), data)
    folders = {name: FeatureFolder(feature_key(dependency, *common_keys)) for name, dependency in names.items()}
    extraction = _Extraction(dataset, folders, {name: folder.read() for name, folder in folders.items()})
    while missing := {name: row for name in names if (row := extraction.next_row(name)) < len(dataset)}:
        first = min(missing.values())
        names_at_first = [name for name, row in missing.items() if row == first]
        stop = min([row for row in missing.values() if row > first], default=len(dataset))
        with evaluating(model.network):
            batches = evaluation_batches(dataset, model.network.image_size, model.batch, first)
            extraction.encode(
                names_at_first, encode(names_at_first), batches, model.batch, stop, partial(progress, activity)
            )
    return extraction.result()


@dataclass
class _Extraction:
    """An extraction in progress."""

    dataset: PairDataset
    folders: Mapping[str, FeatureFolder]
    parts: dict[str, list[Part]]
    is_cached: bool = True  # False once writing the cache fails, or an image fails that may be readable next time

    def next_row(self, name: str) -> int:
        """The first row of the data set that is neither encoded nor skipped."""
        return self.parts[name][-1].stop if self.parts[name] else 0

    def encode(
        self,
        names: Sequence[str],
        encode: Encode,
        batches: Generator[tuple[Tensor, Tensor], None, None],
        batch_size: int,
        until: int,
        progress: Callable[[int, int], None],
    ) -> None:
        """Append parts to ``names``, which all continue at the same row, up to row ``until`` or slightly beyond."""
        first = start = stop = self.next_row(names[0])
        encoded: list[tuple[Tensor, Mapping[str, Tensor]]] = []
        try:
            with closing(batches):
                for rows, images in batches:
                    encoded.append((rows, encode(rows, images)))
                    # Batches without readable images are skipped, so the position is derived from the rows.
                    stop = min(
                        first + (int(rows[0]) - first) // batch_size * batch_size + batch_size, len(self.dataset)
                    )
                    if stop - start >= PART_ROWS:
                        self._store_part(names, start, stop, encoded)
                        start, encoded = stop, []
                    progress(stop, len(self.dataset))
                    if stop >= until:
                        break
                else:
                    stop = len(self.dataset)
        finally:  # also if cancelled
            if stop > start:
                self._store_part(names, start, stop, encoded)

    def _store_part(
        self, names: Sequence[str], start: int, stop: int, encoded: list[tuple[Tensor, Mapping[str, Tensor]]]
    ) -> None:
        """Store rows ``start`` .. ``stop`` - 1 as a part of each name, in memory and on disk."""
        bad_rows = {row: reason for row, reason in self.dataset.broken.items() if start <= row < stop}
        rows = torch.cat([rows for rows, _ in encoded]) if encoded else torch.empty(0, dtype=torch.int64)
        self.is_cached = self.is_cached and not any(start <= row < stop for row in self.dataset.retryable)
        for name in names:
            values = torch.cat([values[name] for _, values in encoded]) if encoded else self._empty_values(name)
            part = Part(start, stop, rows, values, bad_rows)
            self.parts[name].append(part)
            if self.is_cached:
                try:
                    self.folders[name].append(part)
                except OSError:  # with a full disk or without permission, continue without the cache
                    self.is_cached = False
        prune([folder.path for folder in self.folders.values()])

    def _empty_values(self, name: str) -> Tensor:
        before = self.parts[name]
        return before[-1].values[:0] if before else torch.empty(0, 0)

    def result(self) -> ExtractedFeatures:
        """All parts combined. Raises DataError if no image is readable."""
        for row, reason in (
            (row, why) for parts in self.parts.values() for part in parts for row, why in part.bad.items()
        ):
            self.dataset.mark_broken(row, reason)
        self.dataset.check(max_share=1.0)
        rows = torch.tensor([row for row in range(len(self.dataset)) if row not in self.dataset.broken])  # (N,)
        values = {}
        for name, parts in self.parts.items():
            full = [part for part in parts if len(part.rows)]
            encoded_rows = torch.cat([part.rows for part in full])
            # Equal for all names, unless an image became unreadable between two extractions.
            values[name] = torch.cat([part.values for part in full])[torch.isin(encoded_rows, rows)]
        return ExtractedFeatures(rows, values)
