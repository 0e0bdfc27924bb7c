"""Collections of images that can be searched with one model: an index on disk, or a data source encoded in memory.

Flow: ``open_index`` or ``encode_source`` -> ``Collection`` -> results, evaluation, projection.

Legend: N images, M captions.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import takewhile
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt

from core.checkpoint.opening import Model, check_downloaded
from core.data.dataset import open_rows
from core.data.sources.opening import open_source
from core.inference.encoder import check_finite
from core.inference.extraction import extract_pairs
from core.search.errors import IndexFolderError
from core.search.index.acceleration import Part, describe, layout
from core.search.index.build import check_identity
from core.search.index.encoding import Encoder, open_encoder
from core.search.index.files import spans
from core.search.index.nearest import Exact, Nearest, Rows, Scanned
from core.search.index.source_changes import size_and_time
from core.search.index.storage import HAS_VECTOR, IndexReader, Mask, Record, Vectors, release_pages
from core.spec.config import expand_user
from core.spec.reporter import Progress
from core.spec.run.model_names import exact_name

MAX_CHECKED_BYTES = 256 << 20  # size of vectors above which checksums are not verified when opening an index


@dataclass
class Collection:
    """Vectors of images and captions, with their paths, captions and labels."""

    title: str
    encoder: Encoder
    images: Nearest
    alive: Mask  # (N,) rows that can be found
    texts: Nearest | None  # caption vectors; None if there are no captions
    owner: Rows  # (M,) the image of each caption
    records: Callable[[Iterable[int]], list[Record]]
    sizes: npt.NDArray[np.int64]  # (N,) bytes of the files
    times: npt.NDArray[np.int64]  # (N,) times of the files' last change, in nanoseconds
    search_method: str  # for display
    notes: tuple[str, ...] = ()  # warnings for the user
    remaining: int = 0  # rows of the source that are not in the collection yet
    _captions: list[str] | None = field(default=None, repr=False)

    @cached_property
    def text_alive(self) -> Mask:
        """Whether the image of each caption can be found: (M,)."""
        alive: Mask = (self.owner >= 0) & self.alive[np.maximum(self.owner, 0)]
        return alive

    @cached_property
    def columns(self) -> Columns:
        """Folders and labels of all images; the first access reads every record."""
        return read_columns(self.records(range(len(self.alive))), self.alive)

    def captions(self, texts: Sequence[int]) -> list[str]:
        """The caption texts with the numbers ``texts``."""
        rows = [int(self.owner[text]) for text in texts]
        return [
            record.captions[text - int(self._first_texts[row])]
            for text, row, record in zip(texts, rows, self.records(rows), strict=True)
        ]

    @cached_property
    def _first_texts(self) -> Rows:
        first = np.zeros(len(self.alive), dtype=np.int64)
        owned = np.flatnonzero(self.owner >= 0)[::-1]
        first[self.owner[owned]] = owned  # descending, so that the lowest number is written last
        return first


@dataclass(frozen=True)
class Columns:
    """Folders and labels, as codes that index lists of values; -1 for no value."""

    folders: list[str]
    folder: npt.NDArray[np.int32]  # (N,)
    labels: dict[str, tuple[list[str], npt.NDArray[np.int32]]]


def read_columns(records: Iterable[Record], alive: Mask) -> Columns:
    """The columns of ``records``, one for each of ``alive`` (N,)."""
    normal: dict[str, str] = {}  # folders by folder as written, since a Path for each record would take longer
    folders: dict[str, int] = {}
    folder = np.full(len(alive), -1, np.int32)
    values: dict[str, dict[str, int]] = {}
    codes: dict[str, npt.NDArray[np.int32]] = {}
    for row, record in enumerate(records):
        if not alive[row]:
            continue
        written, name = os.path.split(record.path)
        if name in ("", "."):  # Path leaves them out
            parent = str(Path(record.path).parent)
        else:
            parent = normal.get(written) or normal.setdefault(written, str(Path(written)))
        folder[row] = folders.setdefault(parent, len(folders))
        for name, value in record.labels.items():
            if name not in codes:
                values[name], codes[name] = {}, np.full(len(alive), -1, np.int32)
            codes[name][row] = values[name].setdefault(value, len(values[name]))
    return Columns(list(folders), folder, {name: (list(values[name]), codes[name]) for name in codes})


def open_index(folder: Path | str, progress: Progress, model: str = "", weights: str = "") -> Collection:
    """Open the index in ``folder`` with its own model, or with ``model`` if that is the same model.

    Raises IndexFolderError if the index is missing, empty or without a readable image, or was built with another model
    (both are named).
    """
    path = expand_user(folder)
    progress("opening the index", 0, 0)
    reader = IndexReader(path)
    identity = reader.manifest.identity
    notes = []
    if reader.images.nbytes + reader.texts.nbytes <= MAX_CHECKED_BYTES:
        reader.check()
    if reader.damaged or reader.lost:
        notes.append(
            f"{len(reader.damaged) + reader.lost} of {len(reader.manifest.segments) + reader.lost} segments of {path} "
            "are damaged and were skipped; run `index` again to rebuild them."
        )
    if not reader.manifest.complete:
        notes.append(
            f"the index {path} is being built, or its build was interrupted; only its existing part is searched."
        )
    alive = reader.alive()
    unreadable = np.flatnonzero(reader.valid_rows() & (reader.facts["state"] != HAS_VECTOR))
    if len(unreadable):
        first = reader.records([int(unreadable[0])])[0]
        if not alive.any():
            raise IndexFolderError(f"no image can be read, such as {first.path}: {first.reason.rstrip('.')}.")
        notes.append(
            f"{len(unreadable)} of {int(reader.valid_rows().sum())} images cannot be read and are not searched, such "
            f"as {first.path}: {first.reason.rstrip('.')}."
        )
    if not alive.any():
        raise IndexFolderError(f"the index {path} is empty; add images with sdgui-core index first.")
    name, exact_weights = exact_name(model, weights) if model else (identity.model, identity.weights)
    progress("loading the model", 0, 0)
    if not model:
        check_downloaded(name)
    encoder = open_encoder(name, exact_weights)
    check_identity(identity, encoder.identity, path)
    collection = Collection(
        title=str(path),
        encoder=encoder,
        images=_bank(reader, "images"),
        alive=alive,
        texts=_bank(reader, "texts") if reader.manifest.texts else None,
        owner=reader.text_rows(),
        records=reader.records,
        sizes=reader.facts["size"].astype(np.int64),
        times=reader.facts["time"].astype(np.int64),
        search_method=describe(reader.manifest),
        notes=tuple(notes),
    )
    release_pages(reader.facts)
    return collection


def _undamaged_vectors(reader: IndexReader, bank: Literal["images", "texts"]) -> Vectors:
    """The vectors of ``bank``, with zeros in damaged segments, which may contain any bytes, such as NaN."""
    vectors: Vectors = getattr(reader, bank)
    if not reader.damaged:
        return vectors
    vectors = np.array(vectors)
    width = vectors.itemsize * vectors.shape[1]  # bytes per vector
    all_spans = list(spans(reader.manifest))
    for number in reader.damaged:
        first, end = all_spans[number].extents(vectors.shape[1])[bank]
        vectors[first // width : end // width] = 0
    return vectors


def _bank(reader: IndexReader, bank: Literal["images", "texts"]) -> Nearest:
    """Vectors of images or texts with the search method of the manifest; in memory without acceleration files."""
    vectors = _undamaged_vectors(reader, bank)
    manifest = reader.manifest
    files = manifest.nearest.get("files", {})
    parts = layout(len(vectors), manifest.identity.dim)
    if not parts:
        return Exact(vectors)
    # in a growing index, parts without a file are searched in memory
    encoded_parts = list(takewhile(lambda part: part.name(manifest.generation, bank) in files, parts))
    covered = encoded_parts[-1].stop if encoded_parts else 0
    memory = [Part("memory", covered, len(vectors))] if covered < len(vectors) else []
    names = [reader.folder / part.name(manifest.generation, bank) for part in encoded_parts]
    return Scanned(vectors, [*encoded_parts, *memory], [*names, *(None for _ in memory)])


def encode_source(model: Model, name: str, source: str, progress: Progress, limit: int = 0) -> Collection:
    """A collection with the pairs of ``source`` encoded in memory in float32, such as a run's held-out data.

    The features are cached on disk: if ``progress`` raises to cancel, the next call continues. ``limit``: encode only
    about this many rows of a larger source, evenly spread (0: all); `Collection.remaining` is the number of the others.
    Raises DataError if ``source`` cannot be read.
    """
    encoder = Encoder(model, name)
    towers = model.network.towers
    opened = open_source(source, progress=progress)
    step = len(opened.rows) // limit if limit else 1
    subset = replace(opened, rows=opened.rows[step // 2 :: step]) if step > 1 else opened
    dataset = open_rows(
        subset, model.data, model.network.image_size, towers.tokenize, pad_id=towers.pad_id, progress=progress,
        build_cache=subset is opened,
    )  # fmt: skip
    features = extract_pairs(model, dataset, progress)
    for vectors in (features.images, features.texts):
        check_finite(vectors, name)
    pairs = [dataset.rows[row] for row in features.rows.tolist()]
    records = [Record(pair.file, pair.captions, pair.labels) for pair in pairs]
    facts = [size_and_time(record.path) for record in records]
    bad_rows = dataset.all_bad()
    return Collection(
        title=source,
        encoder=encoder,
        images=Exact(features.images.numpy()),
        alive=np.ones(len(records), np.bool_),
        texts=Exact(features.texts.numpy()) if len(features.texts) else None,
        owner=features.text_to_image.numpy(),
        records=lambda rows: [records[row] for row in rows],
        sizes=np.array([max(size, 0) for size, _ in facts], np.int64),
        times=np.array([time for _, time in facts], np.int64),
        search_method="exact, in memory",
        notes=(f"{len(bad_rows)} rows cannot be used and were skipped, such as {bad_rows[0]}.",) if bad_rows else (),
        remaining=len(opened.rows) - len(subset.rows),
    )
