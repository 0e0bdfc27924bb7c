"""Features of labelled images: data opened, labels matched with classes, features extracted; notes on skipped rows.

Flow: a data source -> **labelled** -> `core.evaluation.evaluate` and the Classify panel's desk.

Legend: N images, D width of the features.
"""

from __future__ import annotations

import hashlib
import json
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from core.checkpoint.opening import Model
from core.data.dataset import Log, PairDataset, open_dataset
from core.data.errors import ImageError
from core.data.images import image_file_size
from core.inference.extraction import extract_layers
from core.metrics.classification.labels import Labels, index_labels
from core.metrics.classification.logistic import ProbeData
from core.spec.errors import UserError
from core.spec.reporter import Progress

_SIZED = 32  # images whose size is checked


@dataclass(frozen=True)
class Labelled:
    """The readable images of a data set as features, and the labels of those that have one."""

    dataset: PairDataset
    label: str  # the column
    rows: list[int]  # the data set's row of each feature
    features: Mapping[str, Tensor]  # (N, D) of each layer
    labels: Labels
    part: tuple[int, ...] | None = None  # features of a split of the data; None: all belong to it

    def data(self, layer: str) -> ProbeData:
        """Features of one layer with the labels."""
        return ProbeData(self.features[layer], self.labels)

    def among(self, classes: tuple[str, ...]) -> Labelled:
        """The same images with their labels matched with ``classes``; EvaluationError when none is among them.

        Of a split only its own images are labelled: the others may have been trained on.
        """
        part = range(len(self.rows)) if self.part is None else self.part
        found = index_labels([self.dataset.labels(self.rows[i]).get(self.label) for i in part], classes)
        return replace(self, labels=replace(found, rows=torch.tensor(part)[found.rows]))

    def split(self, positions: Tensor) -> Labelled:
        """Only those labelled images whose numbers among the labels are ``positions``, as a split of its own."""
        labels = replace(self.labels, rows=self.labels.rows[positions], targets=self.labels.targets[positions])
        return replace(self, labels=labels, part=tuple(labels.rows.tolist()))

    def path(self, row: int) -> str:
        """Of the image with feature ``row``."""
        return str(self.dataset.path(self.rows[row]))

    def digest(self) -> str:
        """Digest of the labelled images: reports on the same ones have the same."""
        classes = self.labels.classes
        pairs = zip(self.labels.rows.tolist(), self.labels.targets.tolist(), strict=True)
        return queries_digest([[self.dataset.path(self.rows[i]).name, classes[target]] for i, target in pairs])


def open_images(model: Model, source: str, progress: Progress, log: Log) -> PairDataset:
    """The images of ``source`` for ``model``; decoded as they are needed, unless they are cached already."""
    towers = model.network.towers
    return open_dataset(
        source,
        model.data,
        model.network.image_size,
        towers.tokenize,
        pad_id=towers.pad_id,
        progress=progress,
        log=log,
        build_cache=False,
    )


def open_labelled(
    model: Model,
    source: str,
    label: str,
    layers: Sequence[str],
    progress: Progress,
    log: Log,
    classes: tuple[str, ...] | None = None,
) -> Labelled:
    """The images of ``source`` as features of ``layers``, with labels among ``classes`` (by default all there are).

    Raises UserError for data or labels that cannot be used, where possible before any image is encoded.
    """
    dataset = open_images(model, source, progress, log)
    name = label_name(dataset, label)

    def indexed(rows: Sequence[int]) -> Labels:
        return index_labels([dataset.labels(row).get(name) for row in rows], classes)

    indexed(range(len(dataset)))
    found = extract_layers(model, dataset, layers, progress)
    dataset.check(model.data.max_bad_share)
    rows = found.rows.tolist()
    return Labelled(dataset, name, rows, found.values, indexed(rows))


def label_name(dataset: PairDataset, wanted: str) -> str:
    """The label column ``wanted``, or the only one; UserError naming those there are."""
    names = dataset.label_names
    there = ", ".join(names)
    if not names:
        raise UserError(
            f"{dataset.origin} has no labels; add a column with the class of each image, or give class folders."
        )
    if wanted and wanted not in names:
        raise UserError(f"{dataset.origin} has no label column {wanted!r}; there are {there}.")
    if not wanted and len(names) > 1:
        raise UserError(f"{dataset.origin} has several label columns; choose one with --label: {there}.")
    return wanted or names[0]


def unreadable(dataset: PairDataset) -> tuple[str, ...]:
    """A sentence on the rows that cannot be used; nothing where all can."""
    bad = dataset.all_bad()
    if not bad:
        return ()
    return (f"{len(bad)} rows of {dataset.origin} cannot be used and were left out, such as {bad[0]}.",)


def size_notes(dataset: PairDataset, image_size: int) -> tuple[str, ...]:
    """A sentence where the images are much smaller than the model's, by an even sample of them."""
    step = max(1, len(dataset) // _SIZED)
    sides = []
    for row in range(0, len(dataset), step):
        try:
            sides.append(min(image_file_size(dataset.rows[row].file, dataset.decoding.max_megapixels)))
        except ImageError:
            continue  # it is listed among the unreadable ones
    if not sides or (typical := round(statistics.median(sides))) * 2 > image_size:
        return ()
    return (
        f"the images of {dataset.origin} are about {typical} pixels per side and are enlarged to the model's "
        f"{image_size}; it was trained on sharper ones.",
    )


def queries_digest(queries: Sequence[Sequence[str]]) -> str:
    """Digest of the evaluated data; 16 hex digits."""
    text = json.dumps(queries).encode()  # names that are not Unicode are escaped
    return hashlib.sha256(text).hexdigest()[:16]
