"""Loads features and class labels of images, with notes on skipped rows.

Flow: a data source -> **labelled** -> `core.evaluation.evaluate` and the Classify panel.

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
from core.data.images import image_header
from core.data.sources.rows import Source
from core.inference.extraction import extract_layers
from core.metrics.classification.labels import Labels, index_labels
from core.metrics.classification.logistic import ProbeData
from core.spec.errors import UserError
from core.spec.reporter import Progress

_SIZE_SAMPLE = 32  # number of images whose size is checked


@dataclass(frozen=True)
class LabelledFeatures:
    """The features of a data set's readable images, and the labels of labelled images."""

    dataset: PairDataset
    label: str  # the label column
    rows: list[int]  # the data set row of each feature
    features: Mapping[str, Tensor]  # layer -> (N, D)
    labels: Labels
    part: tuple[int, ...] | None = None  # positions of the features in a split of the data; None: all

    def data(self, layer: str) -> ProbeData:
        """The features of one layer, with labels."""
        return ProbeData(self.features[layer], self.labels)

    def with_classes(self, classes: tuple[str, ...]) -> LabelledFeatures:
        """The same images with labels matched to ``classes``. Raises EvaluationError if no label matches.

        Only images of the split get labels, since others may be training data.
        """
        part = range(len(self.rows)) if self.part is None else self.part
        labels = index_labels([self.dataset.labels(self.rows[i]).get(self.label) for i in part], classes)
        return replace(self, labels=replace(labels, rows=torch.tensor(part)[labels.rows]))

    def split(self, positions: Tensor) -> LabelledFeatures:
        """A split with the labelled images at ``positions`` in the labels."""
        labels = replace(self.labels, rows=self.labels.rows[positions], targets=self.labels.targets[positions])
        return replace(self, labels=labels, part=tuple(labels.rows.tolist()))

    def path(self, row: int) -> str:
        """The path of the image of feature ``row``."""
        return str(self.dataset.path(self.rows[row]))

    def digest(self) -> str:
        """A digest of the labelled images, which is equal for reports on the same images."""
        classes = self.labels.classes
        pairs = zip(self.labels.rows.tolist(), self.labels.targets.tolist(), strict=True)
        return queries_digest([[self.dataset.path(self.rows[i]).name, classes[target]] for i, target in pairs])


def open_images(model: Model, source: str, progress: Progress, log: Log) -> PairDataset:
    """Open the images of ``source`` for ``model``; images are decoded on demand unless they are cached."""
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
) -> LabelledFeatures:
    """Extract features of ``layers`` for the images of ``source``, with labels in ``classes`` (default: all labels).

    Raises UserError for invalid data or labels, if possible before images are encoded.
    """
    dataset = open_images(model, source, progress, log)
    name = label_name(dataset, label)

    def match_labels(rows: Sequence[int]) -> Labels:
        return index_labels([dataset.labels(row).get(name) for row in rows], classes)

    match_labels(range(len(dataset)))
    extracted = extract_layers(model, dataset, layers, progress)
    dataset.check(model.data.max_bad_share)
    rows = extracted.rows.tolist()
    return LabelledFeatures(dataset, name, rows, extracted.values, match_labels(rows))


def label_name(dataset: PairDataset | Source, requested: str) -> str:
    """The label column ``requested``, or the only one. Raises UserError with the available columns."""
    names = dataset.label_names
    available = ", ".join(names)
    if not names:
        raise UserError(
            f"{dataset.origin} has no labels; add a column with the class of each image, or use class folders."
        )
    if requested and requested not in names:
        raise UserError(f"{dataset.origin} has no label column {requested!r}; available: {available}.")
    if not requested and len(names) > 1:
        raise UserError(f"{dataset.origin} has several label columns; choose one with --label: {available}.")
    return requested or names[0]


def unreadable(dataset: PairDataset) -> tuple[str, ...]:
    """A note on rows that cannot be used; empty if all rows can be used."""
    bad_rows = dataset.all_bad()
    if not bad_rows:
        return ()
    return (f"{len(bad_rows)} rows of {dataset.origin} cannot be used and were skipped, such as {bad_rows[0]}.",)


def size_notes(dataset: PairDataset, image_size: int) -> tuple[str, ...]:
    """A note if the images, in an even sample, are much smaller than the model's input."""
    step = max(1, len(dataset) // _SIZE_SAMPLE)
    sides = []
    for row in range(0, len(dataset), step):
        try:
            sides.append(min(image_header(dataset.rows[row].file, dataset.decoding.max_megapixels)[0]))
        except ImageError:
            continue  # already reported with the unreadable rows
    if not sides or (typical := round(statistics.median(sides))) * 2 > image_size:
        return ()
    return (
        f"the images of {dataset.origin} have about {typical} pixels per side and are enlarged to the model's "
        f"{image_size}; the model was trained on sharper images.",
    )


def queries_digest(queries: Sequence[Sequence[str]]) -> str:
    """A digest of the evaluated data; 16 hex digits."""
    text = json.dumps(queries).encode()  # JSON escapes names that are not valid Unicode
    return hashlib.sha256(text).hexdigest()[:16]
